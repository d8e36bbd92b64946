//! Which queues are paused: a note for each, and a signal to those who look.

use bytes::Bytes;
use windlass_core::{Expected, NoteChange, NoteKey, Notebook, QueueName, Result, Retention};

/// What is told when a queue is paused or resumed: its name.
pub(crate) const TOPIC: &str = "queues";
const SHELF: &str = "queue";

fn key(queue: &QueueName) -> Result<NoteKey> {
    NoteKey::new(SHELF, queue.as_str())
}

/// Whether these queues are paused, in one call.
pub(crate) async fn are(notebook: &dyn Notebook, queues: &[QueueName]) -> Result<Vec<bool>> {
    let keys = queues.iter().map(key).collect::<Result<Vec<_>>>()?;
    Ok(notebook.read(&keys).await?.iter().map(Option::is_some).collect())
}

/// Notes that a queue is paused, or takes the note away, and tells the workers.
pub(crate) async fn set(notebook: &dyn Notebook, queue: &QueueName, paused: bool) -> Result<()> {
    let change = NoteChange {
        key: key(queue)?,
        expected: Expected::Anything,
        value: paused.then(|| Bytes::from_static(b"paused")),
        keep: Retention::Forever,
    };
    notebook.write(&[change]).await?;
    if let Err(error) = notebook.signal(TOPIC, Bytes::copy_from_slice(queue.as_str().as_bytes())).await {
        tracing::warn!(target: "windlass::client", %queue, %error, "workers see it within seconds, not at once");
    }
    Ok(())
}
