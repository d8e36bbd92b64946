//! From an error of the driver to a kind, whether trying again can help, and what to do next.

use redis::{ErrorKind as Driver, RedisConnectionInfo, RedisError, ServerErrorKind as Server};
use windlass_core::{Error, ErrorKind};

/// What the connection does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// The connection is of no use any more.
    Reconnect,
    /// The same request can succeed later.
    Wait,
    /// The server does not know the script.
    Load,
    /// A key has a foreign type; look which.
    Inspect,
    /// Tell the caller.
    Report,
}

/// An error, and what is known about the request that met it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) reaction: Reaction,
    /// The request may have been applied.
    pub(crate) maybe_applied: bool,
}

impl Failed {
    /// A request that was not sent.
    pub(crate) fn unsent(error: Error) -> Self {
        Self { error, reaction: Reaction::Report, maybe_applied: false }
    }
}

/// Names an error of a request. `sent`: it has left this process; `unknown`: its caller must know
/// when it cannot be told whether it was applied.
pub(crate) fn failed(operation: &'static str, cause: RedisError, sent: bool, unknown: bool, address: &str) -> Failed {
    let (mut kind, reaction) = classify(&cause);
    let lost = kind == ErrorKind::Unavailable && reaction == Reaction::Reconnect && sent;
    if lost && unknown {
        kind = ErrorKind::Unknown;
    }
    let error = Error::new(kind, operation, text(&cause, sent)).with("redis", address);
    let refused_for_now = matches!(reaction, Reaction::Reconnect | Reaction::Wait);
    let error = if refused_for_now { error.retryable(true) } else { error };
    Failed { error: error.with_source(cause), reaction, maybe_applied: lost }
}

/// Names an error of an attempt to connect. The driver's own text is not passed on as the cause:
/// some servers repeat the command that they refuse, and it may hold the password.
pub(crate) fn not_connected(cause: RedisError, settings: &RedisConnectionInfo, address: &str) -> Error {
    let Failed { error, .. } = failed("connect", cause, false, false, address);
    let text = match settings.password().filter(|password| !password.is_empty()) {
        Some(password) => error.message().replace(password, "***"),
        None => error.message().to_owned(),
    };
    Error::new(error.kind(), "connect", text).retryable(error.is_retryable()).with("redis", address)
}

/// How a server begins the refusal of a command or key inside a script.
const NOT_IN_SCRIPT: &str = "The user executing the script can't";

/// The table: what each error of the driver means.
fn classify(error: &RedisError) -> (ErrorKind, Reaction) {
    match error.kind() {
        Driver::Io | Driver::Parse => (ErrorKind::Unavailable, Reaction::Reconnect),
        Driver::AuthenticationFailed => (ErrorKind::Denied, Reaction::Report),
        // "No address found for host" comes as this kind too, but the URL was checked before.
        Driver::InvalidClientConfig => (ErrorKind::Unavailable, Reaction::Reconnect),
        Driver::RESP3NotSupported => (ErrorKind::Config, Reaction::Report),
        Driver::UnexpectedReturnType | Driver::Client => (ErrorKind::Internal, Reaction::Report),
        Driver::Server(_) if error.detail().is_some_and(|text| text.starts_with(NOT_IN_SCRIPT)) => {
            (ErrorKind::Denied, Reaction::Report)
        }
        Driver::Server(server) => classify_server(server),
        Driver::Extension => classify_code(error.code().unwrap_or_default()),
        _ => (ErrorKind::Rejected, Reaction::Report),
    }
}

fn classify_server(error: Server) -> (ErrorKind, Reaction) {
    match error {
        Server::BusyLoading | Server::TryAgain | Server::MasterDown | Server::ClusterDown => {
            (ErrorKind::Unavailable, Reaction::Wait)
        }
        Server::ReadOnly => (ErrorKind::Rejected, Reaction::Reconnect),
        Server::NoScript => (ErrorKind::Unavailable, Reaction::Load),
        Server::NoPerm => (ErrorKind::Denied, Reaction::Report),
        _ => (ErrorKind::Rejected, Reaction::Report),
    }
}

/// Codes that the driver has no name for.
fn classify_code(code: &str) -> (ErrorKind, Reaction) {
    match code {
        "BUSY" => (ErrorKind::Unavailable, Reaction::Wait),
        "NOAUTH" | "WRONGPASS" => (ErrorKind::Denied, Reaction::Report),
        "NOPROTO" => (ErrorKind::Config, Reaction::Report),
        "WRONGTYPE" => (ErrorKind::Rejected, Reaction::Inspect),
        // A blocked read was ended because its key went away.
        "UNBLOCKED" => (ErrorKind::Unavailable, Reaction::Wait),
        // No memory, no disk, no replica: these end by the hand of an operator.
        "OOM" | "MISCONF" | "NOREPLICAS" => (ErrorKind::Rejected, Reaction::Wait),
        _ => (ErrorKind::Rejected, Reaction::Report),
    }
}

fn text(error: &RedisError, sent: bool) -> String {
    if error.is_io_error() {
        let what = if error.is_timeout() { "it did not answer in time".to_owned() } else { error.to_string() };
        return if sent { format!("the connection was lost: {what}") } else { format!("cannot reach Redis: {what}") };
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::make_extension_error;

    use super::*;

    /// An error as the server sends it: its first word is the code.
    fn server(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error line");
        value.extract_error().expect_err("an error")
    }

    #[test]
    fn every_error_has_a_kind_and_a_reaction() {
        use ErrorKind::{Config, Denied, Rejected, Unavailable, Unknown};
        use Reaction::{Inspect, Load, Reconnect, Report, Wait};

        let reset = || RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset));
        let timeout = || RedisError::from(io::Error::from(io::ErrorKind::TimedOut));
        let table = [
            (reset(), true, Unknown, true, Reconnect),
            (reset(), false, Unavailable, true, Reconnect),
            (timeout(), true, Unknown, true, Reconnect),
            (timeout(), false, Unavailable, true, Reconnect),
            (server("LOADING Redis is loading the dataset in memory"), true, Unavailable, true, Wait),
            (server("BUSY Redis is busy running a script."), true, Unavailable, true, Wait),
            (server("TRYAGAIN Multiple keys request during rehashing of slot"), true, Unavailable, true, Wait),
            (server("MASTERDOWN Link with MASTER is down"), true, Unavailable, true, Wait),
            (server("CLUSTERDOWN The cluster is down"), true, Unavailable, true, Wait),
            (server("UNBLOCKED the stream key no longer exists"), true, Unavailable, true, Wait),
            (server("READONLY You can't write against a read only replica."), true, Rejected, true, Reconnect),
            (server("NOSCRIPT No matching script."), true, Unavailable, true, Load),
            (server("OOM command not allowed when used memory > 'maxmemory'."), true, Rejected, true, Wait),
            (server("MISCONF Errors writing to the AOF file"), true, Rejected, true, Wait),
            (server("NOREPLICAS Not enough good replicas to write."), true, Rejected, true, Wait),
            (server("WRONGTYPE Operation against a key"), true, Rejected, false, Inspect),
            (server("NOPERM this user has no permissions"), true, Denied, false, Report),
            (server("ERR The user executing the script can't run this command"), true, Denied, false, Report),
            (server("NOAUTH Authentication required."), true, Denied, false, Report),
            (server("WRONGPASS invalid username-password pair"), false, Denied, false, Report),
            (server("NOPROTO unsupported protocol version"), false, Config, false, Report),
            (server("ERR unknown command"), true, Rejected, false, Report),
            (make_extension_error("NEW".into(), None), true, Rejected, false, Report),
        ];
        for (cause, sent, kind, retryable, reaction) in table {
            let name = cause.to_string();
            let failed = failed("publish", cause, sent, true, "localhost:6379");
            assert_eq!(failed.error.kind(), kind, "{name}");
            assert_eq!(failed.error.is_retryable(), retryable, "{name}");
            assert_eq!(failed.reaction, reaction, "{name}");
            assert_eq!(failed.maybe_applied, kind == Unknown, "{name}");
        }
    }

    #[test]
    fn a_lost_answer_is_unknown_only_to_callers_that_must_know() {
        let lost = || RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failed("fetch", lost(), true, false, "r:1").error.kind(), ErrorKind::Unavailable);
        assert_eq!(failed("settle", lost(), true, true, "r:1").error.kind(), ErrorKind::Unknown);
    }

    #[test]
    fn a_password_that_the_server_repeats_is_not_told() {
        let settings = RedisConnectionInfo::default().set_username("u").set_password("pa55");
        let echo = server("ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `u`, `pa55`");
        let text = format!("{:?}", not_connected(echo, &settings, "localhost:6379"));
        assert!(text.contains("HELLO") && !text.contains("pa55"), "{text}");
    }

    #[test]
    fn the_text_says_what_where_and_why() {
        let oom = failed("publish", server("OOM command not allowed"), true, true, "localhost:6379");
        assert_eq!(oom.error.to_string(), "publish: OOM command not allowed (redis: localhost:6379)");
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        let refused = failed("connect", refused, false, false, "localhost:6379");
        assert_eq!(
            refused.error.to_string(),
            "connect: cannot reach Redis: connection refused (redis: localhost:6379)"
        );
    }
}
