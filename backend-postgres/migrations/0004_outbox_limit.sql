-- How many messages may wait in the queue of a message, and what happens beyond: "100 reject".

ALTER TABLE {schema}.outbox ADD COLUMN queue_limit text;
ALTER TABLE {schema}.outbox_stuck ADD COLUMN queue_limit text;
