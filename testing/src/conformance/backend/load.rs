//! Many at once.

use std::sync::Arc;

use tokio::task::JoinSet;
use windlass_core::limits::BATCH_ITEMS;
use windlass_core::{Backend, Record, State};

use super::{load_all, save, stripped};
use crate::fixture;

/// A thousand records in one call come back in one call.
pub async fn a_thousand_records_in_one_call(backend: Arc<dyn Backend>) {
    let records: Vec<Record> = (0..1_000_u32)
        .map(|number| Record { result: Some(number.to_string().into()), ..fixture::record(State::Succeeded) })
        .collect();
    save(&backend, &records).await;
    let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
    let loaded: Vec<Record> = load_all(&backend, &ids).await.into_iter().flatten().collect();
    assert_eq!(loaded, records.iter().map(stripped).collect::<Vec<_>>());
}

/// Ten thousand records are kept and come back, each with its own result.
pub async fn ten_thousand_records_are_kept(backend: Arc<dyn Backend>) {
    let records: Vec<Record> = (0..10_000_u32)
        .map(|number| Record { result: Some(number.to_string().into()), ..fixture::record(State::Succeeded) })
        .collect();
    for batch in records.chunks(BATCH_ITEMS) {
        save(&backend, batch).await;
    }
    for batch in records.chunks(BATCH_ITEMS) {
        let ids: Vec<_> = batch.iter().map(|record| record.id.clone()).collect();
        let loaded: Vec<Record> = load_all(&backend, &ids).await.into_iter().flatten().collect();
        assert!(loaded.iter().eq(batch.iter().map(stripped).collect::<Vec<_>>().iter()), "each is its own");
        backend.forget(&ids).await.expect("forget answers");
    }
}

/// Many who save and load at the same time get their own answers.
pub async fn concurrent_calls_get_their_own_answers(backend: Arc<dyn Backend>) {
    let mut callers = JoinSet::new();
    for caller in 0..16_u32 {
        let backend = Arc::clone(&backend);
        callers.spawn(async move {
            for round in 0..10_u32 {
                let result = Some(format!("{caller} {round}").into());
                let records = [State::Succeeded, State::Cancelled, State::Running].map(fixture::record);
                let records = records.map(|record| Record { result: result.clone(), ..record });
                save(&backend, &records).await;
                let ids = records.each_ref().map(|record| record.id.clone());
                let loaded: Vec<Record> = load_all(&backend, &ids).await.into_iter().flatten().collect();
                assert_eq!(loaded, records.each_ref().map(stripped));
            }
        });
    }
    callers.join_all().await;
}
