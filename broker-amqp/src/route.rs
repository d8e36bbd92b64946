//! Where a message goes, and what it takes with it.

use std::time::SystemTime;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use windlass_core::message::wire;
use windlass_core::{Message, Priority, QueueName, Schedule, TaskId, Timestamp};

use crate::delay;
use crate::envelope::Stamp;
use crate::level::{Names, Slot};

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Slot(QueueName, Slot),
    /// To its level after so many seconds.
    Later(QueueName, Priority, u32),
    Dead(QueueName),
}

impl Target {
    /// A level of a queue, at once or after some seconds.
    pub(crate) fn level(queue: &QueueName, priority: Priority, seconds: u32) -> Self {
        match seconds {
            0 => Self::Slot(queue.clone(), Slot::Level(priority)),
            _ => Self::Later(queue.clone(), priority, seconds),
        }
    }

    /// The AMQP queue that it ends in.
    pub(crate) fn destination(&self, names: &Names) -> String {
        match self {
            Self::Slot(queue, slot) => names.slot(queue, *slot),
            Self::Later(queue, priority, _) => names.slot(queue, Slot::Level(*priority)),
            Self::Dead(queue) => names.dead(queue),
        }
    }

    /// Exchange and routing key.
    pub(crate) fn route(&self, names: &Names) -> (ShortString, ShortString) {
        let destination = self.destination(names);
        match self {
            Self::Later(_, _, seconds) => {
                let exchange = names.rung(delay::first_rung(*seconds), 0);
                (exchange.into(), delay::key(*seconds, &destination).into())
            }
            // The default exchange routes by the name of the queue.
            Self::Slot(..) | Self::Dead(_) => ("".into(), destination.into()),
        }
    }
}

/// One message on its way into a queue.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) target: Target,
    pub(crate) properties: BasicProperties,
    pub(crate) bytes: Bytes,
}

impl Outgoing {
    pub(crate) fn new(target: Target, id: &TaskId, stamp: &Stamp, bytes: Bytes) -> Self {
        Self { target, properties: stamp.properties(id), bytes }
    }

    /// A message that comes from a client. A point in time is one of the client's clock.
    pub(crate) fn of(message: &Message) -> Self {
        let target = Target::level(&message.queue, message.priority(), delay_of(message));
        Self::new(target, &message.id, &Stamp::fresh(), wire::encode(message))
    }
}

/// How many seconds a message waits until it is due.
pub(crate) fn delay_of(message: &Message) -> u32 {
    match message.schedule {
        Schedule::Now => 0,
        Schedule::After(delay) => delay::seconds(delay),
        Schedule::At(at) => delay::seconds(at.since(Timestamp::from(SystemTime::now()))),
    }
}
