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
    /// Tell the caller.
    Report,
}

/// What the connection does about this error.
pub(crate) fn reaction(cause: &RedisError) -> Reaction {
    classify(cause).1
}

/// Whether the server is of no use at the moment, not even for reading.
pub(crate) fn is_away(cause: &RedisError) -> bool {
    classify(cause).0 == ErrorKind::Unavailable
}

/// Names an error of a request that has left this process. `unknown`: its caller must know when it
/// cannot be told whether it was applied.
pub(crate) fn failed(operation: &'static str, cause: RedisError, unknown: bool, address: &str) -> Error {
    let (kind, reaction) = match classify(&cause) {
        (ErrorKind::Unavailable, Reaction::Reconnect) if unknown => (ErrorKind::Unknown, Reaction::Reconnect),
        other => other,
    };
    let text = if cause.is_io_error() { format!("the connection was lost: {cause}") } else { text(&cause) };
    let error = Error::new(kind, operation, text).retryable(reaction != Reaction::Report);
    error.with("redis", address).with_source(cause)
}

/// Names an error of an attempt to connect.
pub(crate) fn not_connected(cause: &RedisError, settings: &RedisConnectionInfo, address: &str) -> Error {
    let kind = match classify(cause).0 {
        kind @ (ErrorKind::Denied | ErrorKind::Config) => kind,
        _ => ErrorKind::Unavailable,
    };
    let mut text = if cause.is_io_error() { format!("cannot connect: {cause}") } else { text(cause) };
    // Some servers repeat the command that they refuse.
    if let Some(password) = settings.password().filter(|password| !password.is_empty()) {
        text = text.replace(password, "***");
    }
    let error = Error::new(kind, "connect", text).with("redis", address);
    match settings.username() {
        Some(user) if kind == ErrorKind::Denied => error.with("user", user),
        _ => error,
    }
}

/// The table: what each error of the driver means.
fn classify(error: &RedisError) -> (ErrorKind, Reaction) {
    match error.kind() {
        Driver::Io | Driver::Parse => (ErrorKind::Unavailable, Reaction::Reconnect),
        Driver::AuthenticationFailed => (ErrorKind::Denied, Reaction::Report),
        Driver::RESP3NotSupported => (ErrorKind::Config, Reaction::Report),
        Driver::UnexpectedReturnType | Driver::Client => (ErrorKind::Internal, Reaction::Report),
        // "No address found for host" comes as this kind too, but the URL was checked before.
        Driver::InvalidClientConfig => (ErrorKind::Unavailable, Reaction::Reconnect),
        Driver::Server(server) if server != Server::ResponseError => classify_server(server),
        Driver::Server(_) | Driver::Extension => classify_code(code(error)),
        _ => (ErrorKind::Rejected, Reaction::Report),
    }
}

fn classify_server(error: Server) -> (ErrorKind, Reaction) {
    match error {
        Server::BusyLoading | Server::TryAgain | Server::MasterDown | Server::ClusterDown => {
            (ErrorKind::Unavailable, Reaction::Wait)
        }
        Server::ReadOnly => (ErrorKind::Rejected, Reaction::Reconnect),
        // The script was given to the server just before, so it was flushed again in between.
        Server::NoScript => (ErrorKind::Unavailable, Reaction::Wait),
        Server::NoPerm => (ErrorKind::Denied, Reaction::Report),
        // Nodes of a Redis Cluster answer so; this backend does not follow them.
        Server::Moved | Server::Ask | Server::CrossSlot => (ErrorKind::Config, Reaction::Report),
        _ => (ErrorKind::Rejected, Reaction::Report),
    }
}

/// Codes that the driver has no name for, or that were hidden.
fn classify_code(code: &str) -> (ErrorKind, Reaction) {
    match code {
        "BUSY" => (ErrorKind::Unavailable, Reaction::Wait),
        "READONLY" => (ErrorKind::Rejected, Reaction::Reconnect),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => (ErrorKind::Denied, Reaction::Report),
        "NOPROTO" => (ErrorKind::Config, Reaction::Report),
        // No memory, no disk, no replica: these end by the hand of an operator.
        "OOM" | "MISCONF" | "NOREPLICAS" => (ErrorKind::Rejected, Reaction::Wait),
        _ => (ErrorKind::Rejected, Reaction::Report),
    }
}

/// The code of a server's error. Before version 7, Redis hides what stopped a script in a text
/// such as `ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed`.
fn code(error: &RedisError) -> &str {
    let code = error.code().unwrap_or_default();
    let hidden = error.detail().filter(|_| code == "ERR").and_then(|detail| detail.split_once(": -"));
    hidden.map_or(code, |(_, text)| text.split(' ').next().unwrap_or_default())
}

fn text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An error as the server sends it: its first word is the code.
    fn server(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error line");
        value.extract_error().expect_err("an error")
    }

    #[test]
    fn every_error_has_a_kind_and_a_reaction() {
        use ErrorKind::{Config, Denied, Rejected, Unavailable, Unknown};
        use Reaction::{Reconnect, Report, Wait};

        let hidden = |line: &str| server(&format!("ERR Error running script (call to f_1): @user_script:7: -{line}"));
        let table = [
            (io::Error::from(io::ErrorKind::ConnectionReset).into(), Unknown, Reconnect),
            (io::Error::from(io::ErrorKind::BrokenPipe).into(), Unknown, Reconnect),
            (io::Error::from(io::ErrorKind::TimedOut).into(), Unknown, Reconnect),
            (server("LOADING Redis is loading the dataset in memory"), Unavailable, Wait),
            (server("BUSY Redis is busy running a script."), Unavailable, Wait),
            (server("TRYAGAIN Multiple keys request during rehashing of slot"), Unavailable, Wait),
            (server("MASTERDOWN Link with MASTER is down"), Unavailable, Wait),
            (server("CLUSTERDOWN The cluster is down"), Unavailable, Wait),
            (server("NOSCRIPT No matching script."), Unavailable, Wait),
            (server("READONLY You can't write against a read only replica."), Rejected, Reconnect),
            (server("OOM command not allowed when used memory > 'maxmemory'."), Rejected, Wait),
            (server("MISCONF Redis is configured to save RDB snapshots"), Rejected, Wait),
            (server("NOREPLICAS Not enough good replicas to write."), Rejected, Wait),
            (hidden("OOM command not allowed when used memory > 'maxmemory'."), Rejected, Wait),
            (hidden("READONLY You can't write against a read only replica."), Rejected, Reconnect),
            (server("WRONGTYPE Operation against a key"), Rejected, Report),
            (server("NOPERM this user has no permissions"), Denied, Report),
            (server("NOAUTH Authentication required."), Denied, Report),
            (server("WRONGPASS invalid username-password pair"), Denied, Report),
            (server("NOPROTO unsupported protocol version"), Config, Report),
            (server("MOVED 3999 127.0.0.1:6381"), Config, Report),
            (server("CROSSSLOT Keys in request don't hash to the same slot"), Config, Report),
            (server("ERR syntax error"), Rejected, Report),
            (server("NEW code"), Rejected, Report),
        ];
        for (cause, kind, expected) in table {
            let name = cause.to_string();
            assert_eq!(reaction(&cause), expected, "{name}");
            let error = failed("save", cause, true, "localhost:6379");
            assert_eq!((error.kind(), error.is_retryable()), (kind, expected != Report), "{name}");
        }
    }

    #[test]
    fn a_lost_answer_is_unknown_only_to_callers_that_must_know() {
        let lost = || RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failed("load", lost(), false, "r:1").kind(), ErrorKind::Unavailable);
        assert_eq!(failed("save", lost(), true, "r:1").kind(), ErrorKind::Unknown);
    }

    #[test]
    fn the_text_says_what_where_and_why_and_no_secret() {
        let oom = failed("save", server("OOM command not allowed"), true, "localhost:6379");
        assert_eq!(oom.to_string(), "save: OOM command not allowed (redis: localhost:6379)");
        let settings = RedisConnectionInfo::default().set_username("u").set_password("pa55");
        let echo = not_connected(&server("ERR unknown command `HELLO`, with: `AUTH`, `u`, `pa55`"), &settings, "r:1");
        assert_eq!(echo.to_string(), "connect: ERR unknown command `HELLO`, with: `AUTH`, `u`, `***` (redis: r:1)");
        let denied = not_connected(&server("WRONGPASS invalid username"), &settings, "r:1");
        assert_eq!(denied.to_string(), "connect: WRONGPASS invalid username (redis: r:1, user: u)");
    }
}
