//! Putting messages into queues.

use std::sync::Arc;

use tokio::time::Instant;
use windlass_core::{Error, ErrorKind, Message, PublishOutcome, Result, limits};

use crate::broker::Shared;
use crate::route::Outgoing;

/// Bytes that the envelope adds to a payload, roughly.
const ENVELOPE: usize = 128;

pub(crate) async fn publish(shared: &Arc<Shared>, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
    let deadline = Instant::now() + shared.config.send_timeout;
    let mut answers: Vec<Option<Result<()>>> =
        messages.iter().map(|message| too_large(message, shared.config.payload).map(Err)).collect();
    let fitting: Vec<usize> = (0..messages.len()).filter(|place| answers[*place].is_none()).collect();
    for places in limits::batches(&fitting, |place| messages[*place].payload.len() + ENVELOPE) {
        let items: Vec<Outgoing> = places.iter().map(|place| Outgoing::of(&messages[*place])).collect();
        let worker = Arc::clone(shared);
        let sent = shared.spawner.start(async move { worker.parts.sender.send(&items, deadline).await }).await?;
        places.iter().zip(sent).for_each(|(place, answer)| answers[*place] = Some(answer));
    }
    outcomes(answers.into_iter().flatten().collect())
}

/// The refusal of a message that does not fit.
fn too_large(message: &Message, limit: usize) -> Option<Error> {
    let error = limits::check_payload(message.payload.len(), limit).err()?;
    Some(error.with_task(message.id.clone()))
}

/// A message that was refused is an outcome; one of which nothing is known is an error of the call.
fn outcomes(answers: Vec<Result<()>>) -> Result<Vec<PublishOutcome>> {
    let count = answers.len();
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    let mut outcomes = Vec::with_capacity(count);
    for answer in answers {
        match answer {
            Ok(()) => outcomes.push(PublishOutcome::Accepted),
            Err(error) if matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Invalid) => {
                outcomes.push(PublishOutcome::Rejected(error));
            }
            Err(error) if accepted == 0 => return Err(error),
            Err(error) => {
                let text = format!("{accepted} of {count} messages are in the broker, then: {}", error.message());
                return Err(Error::new(ErrorKind::Unknown, "publish", text).with_source(error));
            }
        }
    }
    all_refused(outcomes)
}

/// A call of which nothing was taken is refused as a whole.
fn all_refused(mut outcomes: Vec<PublishOutcome>) -> Result<Vec<PublishOutcome>> {
    if outcomes.is_empty() || !outcomes.iter().all(|outcome| matches!(outcome, PublishOutcome::Rejected(_))) {
        return Ok(outcomes);
    }
    match outcomes.swap_remove(0) {
        PublishOutcome::Rejected(error) => Err(error),
        _ => Ok(outcomes),
    }
}
