use bytes::Bytes;
use windlass_core::{
    Failure, Message, Receipt, Record, Retention, Settlement, State, TaskName, Timestamp, Token, Transition,
};

/// A run that has ended, and what must be done about it.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) receipt: Receipt,
    pub(super) task: Option<TaskName>,
    pub(super) ending: Ending,
}

#[derive(Debug)]
pub(super) enum Ending {
    /// Save and settle it so.
    Settle(Box<Conclusion>),
    /// The claim was lost while it ran: another worker has it, nothing may be written.
    Lost,
}

#[derive(Debug)]
pub(super) struct Conclusion {
    pub(super) transition: Transition,
    /// The number of the run; 0 if it did not run.
    pub(super) attempt: u32,
    pub(super) at: Timestamp,
    pub(super) result: Option<Bytes>,
    pub(super) failure: Option<Failure>,
    pub(super) status_ttl: Retention,
    pub(super) result_ttl: Retention,
    pub(super) remember: Option<std::time::Duration>,
    /// The claim that it ran under; the default if it did not run.
    pub(super) token: Token,
    /// The place of the run in the history of its task.
    pub(super) place: u32,
    /// Somebody has asked for it to be cancelled.
    pub(super) requested: bool,
    /// It is that of a second copy of the message, and not of the task.
    pub(super) is_copy: bool,
    /// The run has told of its progress.
    pub(super) reported: bool,
    /// The message, where somebody needs it after the record is saved: callbacks, a workflow.
    pub(super) message: Option<Box<Message>>,
}

impl Conclusion {
    pub(super) fn state(&self) -> State {
        self.transition.next.state
    }

    /// What the backend keeps, if anything changed that it should know; for what is not saved again, and
    /// whose result nobody needs afterwards.
    pub(super) fn only_record(&mut self, receipt: &Receipt) -> Option<Record> {
        let result = self.result.take();
        self.record(receipt).map(|record| Record { result, ..record })
    }

    /// As [`Conclusion::only_record`], any number of times.
    pub(super) fn record(&self, receipt: &Receipt) -> Option<Record> {
        self.transition.effects.save.then(|| Record {
            id: receipt.id.clone(),
            token: receipt.token,
            state: self.state(),
            attempt: self.attempt,
            at: self.at,
            result: self.result.clone(),
            failure: self.failure.clone(),
            status_ttl: self.status_ttl,
            result_ttl: self.result_ttl,
        })
    }

    /// What the broker is told.
    pub(super) fn settlement(self, receipt: Receipt) -> Option<Settlement> {
        let disposition = self.transition.effects.settle?;
        Some(Settlement {
            receipt,
            disposition,
            progress: self.transition.next.progress,
            state: self.transition.next.state,
            remember: self.remember,
            reason: self.failure.map(|failure| failure.to_string()),
        })
    }
}
