//! From an error of the driver to a kind, and what is known about the request that met it.

use lapin::ErrorKind as Driver;
use windlass_core::{Error, ErrorKind};

use crate::config::Place;

/// Names an error of a request. `sent`: it may have been applied, and its caller must know.
pub(crate) fn failed(operation: &'static str, cause: &lapin::Error, sent: bool, address: &str) -> Error {
    let (kind, retryable) = classify(cause);
    let kind = if sent && kind == ErrorKind::Unavailable { ErrorKind::Unknown } else { kind };
    Error::new(kind, operation, text(cause)).retryable(retryable).with("rabbitmq", address)
}

/// Names an error of an attempt to connect. The cause is not passed on: its text could repeat the URL.
pub(crate) fn not_connected(cause: &lapin::Error, place: &Place) -> Error {
    let (kind, retryable) = classify(cause);
    let text = match place.password() {
        "" | "guest" => text(cause),
        password => text(cause).replace(password, "***"),
    };
    let text = match cause.kind() {
        Driver::IOError(_) => format!("cannot reach RabbitMQ: {text}"),
        _ => text,
    };
    unreachable(place, kind, text).retryable(retryable)
}

/// An attempt to connect that came to nothing, with whom and where.
pub(crate) fn unreachable(place: &Place, kind: ErrorKind, text: String) -> Error {
    Error::new(kind, "connect", text)
        .with("rabbitmq", &place.address)
        .with("user", place.user())
        .with("vhost", &place.uri.vhost)
}

/// No answer within the time that is allowed.
pub(crate) fn too_slow(operation: &'static str, sent: bool, address: &str) -> Error {
    let kind = if sent { ErrorKind::Unknown } else { ErrorKind::Unavailable };
    Error::new(kind, operation, "RabbitMQ did not answer in time").with("rabbitmq", address)
}

/// The reply code of the server, if it was the server that complained.
pub(crate) fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        Driver::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

pub(crate) const ACCESS_REFUSED: u16 = 403;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const PRECONDITION_FAILED: u16 = 406;
pub(crate) const CONTENT_TOO_LARGE: u16 = 311;
pub(crate) const RESOURCE_LOCKED: u16 = 405;
pub(crate) const INTERNAL_ERROR: u16 = 541;
const NOT_ALLOWED: u16 = 530;

/// The table: what an error means, and whether the same call can succeed later.
fn classify(error: &lapin::Error) -> (ErrorKind, bool) {
    match (error.kind(), code(error)) {
        (_, Some(ACCESS_REFUSED | NOT_ALLOWED)) => (ErrorKind::Denied, false),
        (_, Some(PRECONDITION_FAILED)) => (ErrorKind::Config, false),
        (_, Some(CONTENT_TOO_LARGE)) => (ErrorKind::Rejected, false),
        (_, Some(_)) => (ErrorKind::Unavailable, true),
        (Driver::InvalidProtocolVersion(_), _) => (ErrorKind::Config, false),
        (Driver::SerialisationError(_) | Driver::NoDefaultRuntime | Driver::FutureCompleted, _) => {
            (ErrorKind::Internal, false)
        }
        _ => (ErrorKind::Unavailable, true),
    }
}

fn text(error: &lapin::Error) -> String {
    match error.kind() {
        Driver::ProtocolError(error) => error.get_message().to_string(),
        Driver::IOError(cause) => cause.to_string(),
        Driver::MissingHeartbeatError => "the connection was lost: no heartbeat from RabbitMQ".to_owned(),
        Driver::InvalidChannelState(..) | Driver::InvalidConnectionState(_) => {
            format!("the connection was lost: {error}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;
    use crate::config::AmqpBrokerConfig;

    fn soft(error: AMQPSoftError, text: &str) -> lapin::Error {
        Driver::ProtocolError(AMQPError::new(AMQPErrorKind::Soft(error), text.into())).into()
    }

    fn hard(error: AMQPHardError, text: &str) -> lapin::Error {
        Driver::ProtocolError(AMQPError::new(AMQPErrorKind::Hard(error), text.into())).into()
    }

    #[test]
    fn every_error_has_a_kind() {
        use ErrorKind::{Config, Denied, Rejected, Unavailable, Unknown};
        let reset = || lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionReset));
        let table = [
            (reset(), true, Unknown, true),
            (reset(), false, Unavailable, true),
            (Driver::MissingHeartbeatError.into(), false, Unavailable, true),
            (soft(AMQPSoftError::ACCESSREFUSED, "ACCESS_REFUSED"), true, Denied, false),
            (soft(AMQPSoftError::NOTFOUND, "NOT_FOUND"), false, Unavailable, true),
            (soft(AMQPSoftError::PRECONDITIONFAILED, "PRECONDITION_FAILED"), true, Config, false),
            (soft(AMQPSoftError::CONTENTTOOLARGE, "CONTENT_TOO_LARGE"), true, Rejected, false),
            (soft(AMQPSoftError::RESOURCELOCKED, "RESOURCE_LOCKED"), false, Unavailable, true),
            (hard(AMQPHardError::NOTALLOWED, "NOT_ALLOWED"), false, Denied, false),
            (hard(AMQPHardError::CONNECTIONFORCED, "CONNECTION_FORCED"), true, Unknown, true),
            (hard(AMQPHardError::INTERNALERROR, "INTERNAL_ERROR"), false, Unavailable, true),
        ];
        for (cause, sent, kind, retryable) in table {
            let error = failed("publish", &cause, sent, "localhost:5672");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{cause}");
        }
    }

    #[test]
    fn the_text_says_what_where_and_who_without_the_password() {
        let place = AmqpBrokerConfig::new("amqp://anna:pa55@rabbit/jobs").check().unwrap();
        let echo = hard(AMQPHardError::NOTALLOWED, "NOT_ALLOWED - vhost jobs not found, pa55");
        assert_eq!(
            not_connected(&echo, &place).to_string(),
            "connect: NOT_ALLOWED - vhost jobs not found, *** (rabbitmq: rabbit:5672, user: anna, vhost: jobs)"
        );
        let refused = lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(
            not_connected(&refused, &place).to_string(),
            "connect: cannot reach RabbitMQ: connection refused (rabbitmq: rabbit:5672, user: anna, vhost: jobs)"
        );
    }
}
