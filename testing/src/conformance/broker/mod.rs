//! What every [`Broker`] guarantees.

mod cancel;
mod claim;
mod close;
mod counts;
mod dead;
mod delay;
mod fetch;
mod full;
mod identity;
mod instances;
mod lease;
mod limits;
mod list;
mod load;
mod locate;
mod priority;
mod publish;
mod ready;
mod reconnect;
mod refusal;
mod reserve;
mod scene;
mod settle;
mod unknown;

use windlass_core::{Broker, Capabilities};

pub use cancel::*;
pub use claim::*;
pub use close::*;
pub use counts::*;
pub use dead::*;
pub use delay::*;
pub use fetch::*;
pub use full::*;
pub use identity::*;
pub use instances::*;
pub use lease::*;
pub use limits::*;
pub use load::*;
pub use locate::*;
pub use priority::*;
pub use publish::*;
pub use ready::*;
pub use reconnect::*;
pub use refusal::*;
pub use reserve::*;
pub use settle::*;
pub use unknown::*;

use super::expand::guarantee_table;
use super::{Guarantee, Need, Trial};

/// Every guarantee of a broker.
pub const GUARANTEES: &[Guarantee] = crate::broker_guarantees!([guarantee_table] { "broker" });

/// What a broker of these capabilities offers.
fn offered(capabilities: &Capabilities) -> Vec<Need> {
    let offers = [
        (Need::Delay, capabilities.delay),
        (Need::Priority, capabilities.priority),
        (Need::Lease, capabilities.lease),
        (Need::NoLease, !capabilities.lease),
        (Need::Fencing, capabilities.fencing),
        (Need::Cancel, capabilities.cancel),
        (Need::Locate, capabilities.locate),
        (Need::DeadLetters, capabilities.dead_letters),
        (Need::Idempotent, capabilities.idempotent),
        (Need::Limit, capabilities.limit),
        (Need::DropOldest, capabilities.drop_oldest),
    ];
    offers.into_iter().filter(|(_, offered)| *offered).map(|(need, _)| need).collect()
}

/// The trial of one guarantee with this broker, under the first of `names` or its own.
#[doc(hidden)]
pub fn trial(guarantee: &str, names: &[&str], broker: &dyn Broker) -> Trial {
    let capabilities = broker.capabilities();
    let name = names.first().copied().unwrap_or(capabilities.name);
    Trial::new(GUARANTEES, guarantee, name, &offered(&capabilities))
}
