//! Storing what became of tasks, in batches, one after the other.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use windlass::core::{Record, State, TaskId, Token};
use windlass::{Retention, Timestamp};

use crate::Result;
use crate::floor::Floor;
use crate::options::Options;
use crate::sample::Sample;
use crate::target::Target;

const WAYS: [(&str, usize); 2] = [("save in batches of 100", 100), ("save in batches of 1000", 1_000)];
const RESULT: &[u8] = b"88";
const TTL: Duration = Duration::from_secs(300);

/// Saves, reads one back, and removes all.
pub(super) async fn ours(options: &Options) -> Result<Vec<Sample>> {
    let target = Target::connect(options, true).await?;
    let backend = target.client.client().backend().ok_or("this probe stores results: --backend says where")?;
    let mut samples = Vec::new();
    for (name, batch) in WAYS {
        let records: Vec<Record> = (0..options.tasks()).map(record).collect();
        let start = Instant::now();
        for records in records.chunks(batch) {
            backend.save(records).await?;
        }
        samples.push(Sample::rate(name, records.len(), start.elapsed()));
        let last = records.last().map(|record| record.id.clone()).into_iter().collect::<Vec<_>>();
        let stored = backend.load(&last).await?;
        if stored.iter().flatten().filter_map(|record| record.result.as_deref()).ne(last.iter().map(|_| RESULT)) {
            return Err("a record was saved and is not there".into());
        }
        for records in records.chunks(1_000) {
            let ids: Vec<TaskId> = records.iter().map(|record| record.id.clone()).collect();
            backend.forget(&ids).await?;
        }
    }
    target.close().await;
    Ok(samples)
}

/// The same straight on the driver.
pub(super) async fn floor(options: &Options, floor: &mut Floor) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (name, batch) in WAYS {
        floor.clear().await?;
        let took = floor.save(options.tasks(), batch).await?;
        samples.extend(took.map(|took| Sample::rate(name, options.tasks(), took)));
    }
    Ok(samples)
}

/// What a worker writes when a task has succeeded.
fn record(number: usize) -> Record {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut unique = [0; 10];
    unique[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Record {
        id: TaskId::v7(u64::try_from(now.as_millis()).unwrap_or_default(), unique),
        token: Token(1),
        state: State::Succeeded,
        attempt: 1,
        at: Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap_or_default()),
        result: Some(RESULT.into()),
        failure: None,
        status_ttl: Retention::For(TTL),
        result_ttl: Retention::For(TTL),
    }
}
