//! Batches over the stores, each call in its time.

use windlass_core::flow::{FlowNode, NODE_SHELF};
use windlass_core::limits::{BATCH_ITEMS, batches};
use windlass_core::{
    Error, ErrorKind, Message, NoteChange, NoteKey, Place, PublishOutcome, Record, Result, SaveOutcome, TaskId,
};

use super::Flows;
use crate::pause::in_time;

impl Flows<'_> {
    /// What is stored of these nodes; `None` for what is not (any more) there.
    pub(super) async fn nodes(&self, ids: &[TaskId]) -> Result<Vec<Option<FlowNode>>> {
        let mut nodes = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH_ITEMS) {
            let keys: Vec<NoteKey> =
                ids.iter().map(|id| NoteKey::new(NODE_SHELF, id.to_string())).collect::<Result<_>>()?;
            let notes = in_time("read", self.notebook.read(&keys)).await?;
            for (id, note) in ids.iter().zip(notes) {
                nodes.push(note.map(|note| FlowNode::decode(id.clone(), &note.value)).transpose()?);
            }
        }
        Ok(nodes)
    }

    pub(super) async fn write(&self, changes: &[NoteChange]) -> Result<()> {
        for changes in batches(changes, |change| change.value.as_ref().map_or(0, bytes::Bytes::len)) {
            in_time("write", self.notebook.write(changes)).await?;
        }
        Ok(())
    }

    /// How many places of each set are filled.
    pub(super) async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        let mut filled = Vec::with_capacity(places.len());
        for places in batches(places, |place| place.value.len()) {
            filled.extend(in_time("gather", self.notebook.gather(places)).await?);
        }
        Ok(filled)
    }

    pub(super) async fn records(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        let mut records = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH_ITEMS) {
            records.extend(in_time("load", self.backend.load(ids)).await?);
        }
        Ok(records)
    }

    pub(super) async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        let mut outcomes = Vec::with_capacity(records.len());
        for records in batches(records, Record::weight) {
            outcomes.extend(in_time("save", self.backend.save(records)).await?);
        }
        Ok(outcomes)
    }

    /// Publishes tasks; one that is there already is as good as one that was taken.
    ///
    /// # Errors
    /// That of the first which was refused, with its id.
    pub(super) async fn publish(&self, messages: &[Message]) -> Result<()> {
        for messages in batches(messages, |message| message.payload.len()) {
            let outcomes = in_time("enqueue", self.broker.publish(messages)).await?;
            for (message, outcome) in messages.iter().zip(outcomes) {
                match outcome {
                    PublishOutcome::Accepted | PublishOutcome::Duplicate => {}
                    PublishOutcome::Full { waiting } => {
                        let text = format!("the queue {} is full: {waiting} tasks wait", message.queue);
                        return Err(Error::new(ErrorKind::Full, "enqueue", text).with_task(message.id.clone()));
                    }
                    PublishOutcome::Rejected(error) => return Err(error.with_task(message.id.clone())),
                }
            }
        }
        Ok(())
    }
}
