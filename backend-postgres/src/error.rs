//! From an error of the driver to a kind, whether trying again can help, and what to do next.

use windlass_core::{Error, ErrorKind};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// The same statement again, at once: another one was in its way.
    Repeat,
    /// The connection is of no use any more; another one may be.
    Reconnect,
    /// The same statement can succeed later.
    Wait,
    /// Tell the caller.
    Report,
}

/// Names an error of a statement that has left this process.
pub(crate) fn failed(operation: &'static str, cause: sqlx::Error) -> Error {
    let (kind, reaction) = classify(&cause);
    let text = match &cause {
        sqlx::Error::Io(cause) => format!("the connection was lost: {cause}"),
        sqlx::Error::Database(cause) => hint(&cause.code().unwrap_or_default(), cause.message()),
        cause => cause.to_string(),
    };
    let error = Error::new(kind, operation, text).retryable(reaction != Reaction::Report);
    match &cause {
        // Only code and text: the details of the server can hold values.
        sqlx::Error::Database(cause) => match cause.code() {
            Some(code) => error.with("sqlstate", code),
            None => error,
        },
        sqlx::Error::Io(_) => error.with_source(cause),
        _ => error,
    }
}

/// Names an error of an attempt to connect.
pub(crate) fn not_connected(operation: &'static str, cause: sqlx::Error) -> Error {
    let kind = match classify(&cause).0 {
        kind @ (ErrorKind::Denied | ErrorKind::Config | ErrorKind::Closed) => kind,
        _ => ErrorKind::Unavailable,
    };
    let text = match &cause {
        sqlx::Error::Io(cause) => format!("cannot connect: {cause}"),
        sqlx::Error::Database(cause) => format!("cannot connect: {}", cause.message()),
        cause => format!("cannot connect: {cause}"),
    };
    match cause.as_database_error().and_then(sqlx::error::DatabaseError::code) {
        Some(code) => Error::new(kind, operation, text).with("sqlstate", code),
        None => Error::new(kind, operation, text),
    }
}

/// What to do about this error.
pub(crate) fn reaction(cause: &sqlx::Error) -> Reaction {
    classify(cause).1
}

/// The server's text, and the cure where it is not obvious.
fn hint(code: &str, message: &str) -> String {
    match code {
        "42P01" | "3F000" | "42703" => {
            format!("{message}: the tables of windlass are missing or old; see migrations_sql")
        }
        "26000" | "42P05" => {
            format!("{message}: if a transaction-pooling proxy stands before the server, set backend.pooler = true")
        }
        _ => message.to_owned(),
    }
}

/// The table: what each error of the driver means.
fn classify(error: &sqlx::Error) -> (ErrorKind, Reaction) {
    use sqlx::Error as Driver;
    match error {
        Driver::Database(error) => classify_code(&error.code().unwrap_or_default()),
        // A statement had been sent; whether it was carried out is not known.
        Driver::Io(_) | Driver::Protocol(_) | Driver::WorkerCrashed => (ErrorKind::Unknown, Reaction::Reconnect),
        Driver::BeginFailed => (ErrorKind::Unavailable, Reaction::Reconnect),
        Driver::PoolTimedOut => (ErrorKind::Unavailable, Reaction::Wait),
        Driver::PoolClosed => (ErrorKind::Closed, Reaction::Report),
        Driver::Tls(_) | Driver::Configuration(_) => (ErrorKind::Config, Reaction::Report),
        _ => (ErrorKind::Internal, Reaction::Report),
    }
}

/// The table: what each SQLSTATE means. Those that end with the connection come before their class.
fn classify_code(code: &str) -> (ErrorKind, Reaction) {
    match code {
        // Serialization failure, deadlock.
        "40001" | "40P01" => (ErrorKind::Unavailable, Reaction::Repeat),
        // Nobody knows whether the transaction was committed: said so, or the server crashed.
        "08007" | "40003" | "08006" | "08P01" | "57P02" => (ErrorKind::Unknown, Reaction::Reconnect),
        // Shut down, starting up, ended by an administrator or for being idle.
        "57P01" | "57P03" | "57P05" | "25P03" => (ErrorKind::Unavailable, Reaction::Reconnect),
        "57P04" | "3D000" | "3F000" | "42P01" | "42703" | "26000" | "42P05" => (ErrorKind::Config, Reaction::Report),
        // Somebody left a transaction open on this connection.
        "25P02" => (ErrorKind::Unavailable, Reaction::Reconnect),
        // A plan of before a change of the tables, or a standby.
        "0A000" => (ErrorKind::Unavailable, Reaction::Reconnect),
        // A standby, or a failover that has not finished: the name may lead to another server now.
        "25006" => (ErrorKind::Rejected, Reaction::Reconnect),
        // Too many connections: ours may be among those that end soon.
        "53300" => (ErrorKind::Unavailable, Reaction::Wait),
        // A time limit: of the statement, or for a lock.
        "57014" | "55P03" => (ErrorKind::Unavailable, Reaction::Wait),
        "42501" => (ErrorKind::Denied, Reaction::Report),
        _ => match code.get(..2) {
            Some("08") => (ErrorKind::Unavailable, Reaction::Reconnect),
            Some("28") => (ErrorKind::Denied, Reaction::Report),
            // No disk, no memory, a broken disk: these end by the hand of an operator.
            Some("53" | "58") => (ErrorKind::Rejected, Reaction::Wait),
            Some("57") => (ErrorKind::Unavailable, Reaction::Wait),
            _ => (ErrorKind::Rejected, Reaction::Report),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::fmt;
    use std::io;

    use super::*;

    /// An error as the server sends it.
    #[derive(Debug)]
    struct Answer(&'static str);

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }
    }

    impl std::error::Error for Answer {}

    impl sqlx::error::DatabaseError for Answer {
        fn message(&self) -> &str {
            "a text"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    fn server(code: &'static str) -> sqlx::Error {
        sqlx::Error::Database(Box::new(Answer(code)))
    }

    #[test]
    fn every_sqlstate_has_a_kind_and_a_reaction() {
        use ErrorKind::{Config, Denied, Rejected, Unavailable, Unknown};
        use Reaction::{Reconnect, Repeat, Report, Wait};

        let table = [
            ("40001 40P01", Unavailable, Repeat),
            ("08007 40003 08006 08P01 57P02", Unknown, Reconnect),
            ("08000 08001 08003 08004 57P01 57P03 57P05 25P02 25P03 0A000", Unavailable, Reconnect),
            ("53300 57014 55P03 57000", Unavailable, Wait),
            ("25006", Rejected, Reconnect),
            ("53100 53200 53000 53400 58000 58030", Rejected, Wait),
            ("28000 28P01 42501", Denied, Report),
            ("3D000 3F000 42P01 42703 57P04 26000 42P05", Config, Report),
            ("22021 23505 42601 54000 XX000 P0001 99999", Rejected, Report),
        ];
        for (codes, kind, expected) in table {
            for code in codes.split(' ') {
                assert_eq!(reaction(&server(code)), expected, "{code}");
                let error = failed("save", server(code));
                assert_eq!((error.kind(), error.is_retryable()), (kind, expected != Report), "{code}");
                assert!(error.to_string().contains(&format!("sqlstate: {code}")), "{error}");
            }
        }
    }

    #[test]
    fn every_error_of_the_driver_has_a_kind() {
        use ErrorKind::{Closed, Config, Internal, Unavailable, Unknown};

        let table = [
            (sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()), Unknown, true),
            (sqlx::Error::Protocol("x".to_owned()), Unknown, true),
            (sqlx::Error::PoolTimedOut, Unavailable, true),
            (sqlx::Error::BeginFailed, Unavailable, true),
            (sqlx::Error::PoolClosed, Closed, false),
            (sqlx::Error::Tls("x".into()), Config, false),
            (sqlx::Error::RowNotFound, Internal, false),
        ];
        for (cause, kind, retryable) in table {
            let error = failed("save", cause);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error}");
        }
    }

    #[test]
    fn nothing_was_sent_before_there_was_a_connection() {
        let refused = not_connected("connect", sqlx::Error::Io(io::ErrorKind::ConnectionRefused.into()));
        assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Unavailable, true));
        assert_eq!(refused.to_string(), "connect: cannot connect: connection refused");
        assert_eq!(not_connected("connect", server("57P02")).kind(), ErrorKind::Unavailable);
        assert_eq!(not_connected("connect", server("28P01")).kind(), ErrorKind::Denied);
        assert_eq!(not_connected("connect", server("3D000")).kind(), ErrorKind::Config);
    }

    #[test]
    fn the_text_says_what_and_how_to_cure_it() {
        assert_eq!(failed("save", server("53100")).to_string(), "save: a text (sqlstate: 53100)");
        assert!(failed("save", server("42P01")).to_string().contains("see migrations_sql"));
        assert!(failed("save", server("26000")).to_string().contains("backend.pooler = true"));
    }
}
