-- What became of tasks: one row a task.

CREATE TABLE {schema}.result (
    id                text COLLATE "C" PRIMARY KEY,
    -- The claim under which it was written; above 2^63 it is shown as a negative number.
    token             bigint      NOT NULL,
    state             text        NOT NULL,
    attempt           bigint      NOT NULL,
    -- When it was written: microseconds since 1970 by the clock of the worker.
    at                bigint      NOT NULL,
    expires_at        timestamptz NOT NULL,
    -- Only if the result ends before the row does.
    result_expires_at timestamptz,
    -- JSON; not of that type, because a text of a failure may hold what that type refuses.
    failure           text,
    result            bytea
) WITH (
    -- A row is written a few times at most; some room keeps its versions on one page.
    fillfactor = 85,
    -- Rows come and go all the time: vacuum by a small share of them.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    toast.autovacuum_vacuum_scale_factor = 0.02
);

CREATE INDEX result_end ON {schema}.result (LEAST(expires_at, result_expires_at));

-- Which processes have somebody waiting. Worth nothing after a crash, so not logged.
CREATE UNLOGGED TABLE {schema}.listener (
    name  text COLLATE "C" PRIMARY KEY,
    until timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Records that are told to who waits, and not kept.
CREATE UNLOGGED TABLE {schema}.told (
    id         text COLLATE "C" PRIMARY KEY,
    record     bytea       NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX told_end ON {schema}.told (expires_at);
