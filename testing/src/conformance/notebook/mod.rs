//! What every [`Notebook`](windlass_core::Notebook) guarantees.
//!
//! The adapter is the backend that has the notebook.

mod close;
mod gather;
mod instances;
mod keep;
mod list;
mod pages;
mod race;
mod reconnect;
mod refusal;
mod scene;
mod signal;
mod write;

use windlass_core::Backend;

pub use close::*;
pub use gather::*;
pub use instances::*;
pub use keep::*;
pub use pages::*;
pub use race::*;
pub use reconnect::*;
pub use refusal::*;
pub use signal::*;
pub use write::*;

use super::expand::guarantee_table;
use super::{Guarantee, Need, Trial};

/// Every guarantee of a notebook.
pub const GUARANTEES: &[Guarantee] = crate::notebook_guarantees!([guarantee_table] { "notebook" });

/// The trial of one guarantee with the notebook of this backend, under the first of `names` or its own.
#[doc(hidden)]
pub fn trial(guarantee: &str, names: &[&str], backend: &dyn Backend) -> Trial {
    let capabilities = backend.capabilities();
    let name = names.first().copied().unwrap_or(capabilities.name);
    let offered: &[Need] = if capabilities.push { &[Need::Push] } else { &[] };
    Trial::new(GUARANTEES, guarantee, name, offered)
}
