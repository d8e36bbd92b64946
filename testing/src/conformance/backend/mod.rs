//! What every [`Backend`] guarantees.

mod close;
mod guard;
mod instances;
mod list;
mod load;
mod reconnect;
mod retention;
mod save;
mod wait;

use std::sync::Arc;

use windlass_core::{Backend, BackendCapabilities, Record, Retention, SaveOutcome, TaskId};

pub use close::*;
pub use guard::*;
pub use instances::*;
pub use load::*;
pub use reconnect::*;
pub use retention::*;
pub use save::*;
pub use wait::*;

use super::expand::guarantee_table;
use super::{Guarantee, Need, Trial};

/// Every guarantee of a backend.
pub const GUARANTEES: &[Guarantee] = crate::backend_guarantees!([guarantee_table] { "backend" });

/// What a backend of these capabilities offers.
fn offered(capabilities: &BackendCapabilities) -> Vec<Need> {
    let offers = [(Need::Push, capabilities.push), (Need::Expiry, capabilities.expiry)];
    offers.into_iter().filter(|(_, offered)| *offered).map(|(need, _)| need).collect()
}

/// The trial of one guarantee with this backend, under the first of `names` or its own.
#[doc(hidden)]
pub fn trial(guarantee: &str, names: &[&str], backend: &dyn Backend) -> Trial {
    let capabilities = backend.capabilities();
    let name = names.first().copied().unwrap_or(capabilities.name);
    Trial::new(GUARANTEES, guarantee, name, &offered(&capabilities))
}

type Adapter = Arc<dyn Backend>;

async fn outcomes(backend: &Adapter, records: &[Record]) -> Vec<SaveOutcome> {
    let outcomes = backend.save(records).await.expect("save answers");
    assert_eq!(outcomes.len(), records.len(), "one answer for each record");
    outcomes
}

/// Saves; every record must be stored.
async fn save(backend: &Adapter, records: &[Record]) {
    let outcomes = outcomes(backend, records).await;
    for (record, outcome) in records.iter().zip(outcomes) {
        assert_eq!(outcome, SaveOutcome::Saved, "{record:?}");
    }
}

async fn load_all(backend: &Adapter, ids: &[TaskId]) -> Vec<Option<Record>> {
    let records = backend.load(ids).await.expect("load answers");
    assert_eq!(records.len(), ids.len(), "one answer for each id");
    records.into_iter().map(|record| record.as_ref().map(stripped)).collect()
}

async fn load(backend: &Adapter, id: &TaskId) -> Option<Record> {
    load_all(backend, std::slice::from_ref(id)).await.remove(0)
}

/// The record without its retentions, which a store need not give back.
fn stripped(record: &Record) -> Record {
    Record { status_ttl: Retention::Forever, result_ttl: Retention::Forever, ..record.clone() }
}
