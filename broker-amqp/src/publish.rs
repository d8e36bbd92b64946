//! Putting messages into queues.

use std::sync::Arc;

use tokio::time::Instant;
use windlass_core::{Error, ErrorKind, Message, PublishOutcome, Result, limits};

use crate::broker::Shared;
use crate::gauge::{self, Admission, Ticket};
use crate::route::Outgoing;

/// Bytes that the envelope adds to a payload, roughly.
const ENVELOPE: usize = 128;

/// What is known of one message.
#[derive(Debug)]
enum Answer {
    /// It was sent, or is refused with an error.
    Sent(Result<()>),
    /// So many wait in its queue already.
    Full(u64),
}

pub(crate) async fn publish(shared: &Arc<Shared>, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
    let deadline = Instant::now() + shared.config.send_timeout;
    let refused = |message| too_large(message, shared.config.payload).map(|error| Answer::Sent(Err(error)));
    let mut answers: Vec<Option<Answer>> = messages.iter().map(refused).collect();
    let tickets = admit(shared, messages, &mut answers, deadline).await?;
    let open: Vec<usize> = (0..messages.len()).filter(|place| answers[*place].is_none()).collect();
    for places in limits::batches(&open, |place| messages[*place].payload.len() + ENVELOPE) {
        let items: Vec<Outgoing> = places.iter().map(|place| Outgoing::of(&messages[*place])).collect();
        let worker = Arc::clone(shared);
        let sent = shared.spawner.start(async move { worker.parts.sender.send(&items, deadline).await }).await?;
        places.iter().zip(sent).for_each(|(place, answer)| answers[*place] = Some(Answer::Sent(answer)));
    }
    for (place, ticket) in tickets {
        if let Some(Answer::Sent(answer)) = &answers[place] {
            ticket.end(answer);
        }
    }
    outcomes(answers.into_iter().flatten().collect())
}

/// Takes places for the messages that have a limit, and answers for those that get none.
async fn admit(
    shared: &Arc<Shared>,
    messages: &[Message],
    answers: &mut [Option<Answer>],
    deadline: Instant,
) -> Result<Vec<(usize, Ticket)>> {
    let limited = |place: &usize| messages[*place].limit.is_some() && answers[*place].is_none();
    let limited: Vec<usize> = (0..messages.len()).filter(limited).collect();
    let mut tickets = Vec::new();
    if limited.is_empty() {
        return Ok(tickets);
    }
    let asking: Vec<&Message> = limited.iter().map(|place| &messages[*place]).collect();
    for (place, admission) in limited.into_iter().zip(gauge::admit(shared, &asking, deadline).await?) {
        match admission {
            Admission::Place(ticket) => tickets.push((place, ticket)),
            Admission::Full(waiting) => answers[place] = Some(Answer::Full(waiting)),
            Admission::Refused(error) => answers[place] = Some(Answer::Sent(Err(error))),
        }
    }
    Ok(tickets)
}

/// The refusal of a message that does not fit.
fn too_large(message: &Message, limit: usize) -> Option<Error> {
    let error = limits::check_payload(message.payload.len(), limit).err()?;
    Some(error.with_task(message.id.clone()))
}

/// A message that was refused is an outcome; one of which nothing is known is an error of the call.
fn outcomes(answers: Vec<Answer>) -> Result<Vec<PublishOutcome>> {
    let count = answers.len();
    let accepted = answers.iter().filter(|answer| matches!(answer, Answer::Sent(Ok(())))).count();
    let mut outcomes = Vec::with_capacity(count);
    for answer in answers {
        let sent = match answer {
            Answer::Sent(sent) => sent,
            Answer::Full(waiting) => {
                outcomes.push(PublishOutcome::Full { waiting });
                continue;
            }
        };
        match sent {
            Ok(()) => outcomes.push(PublishOutcome::Accepted),
            Err(error) if is_refusal(error.kind()) => outcomes.push(PublishOutcome::Rejected(error)),
            Err(error) if accepted == 0 => return Err(error),
            Err(error) => {
                let text = format!("{accepted} of {count} messages are in the broker, then: {}", error.message());
                return Err(Error::new(ErrorKind::Unknown, "publish", text).with_source(error));
            }
        }
    }
    all_refused(outcomes)
}

fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Rejected | ErrorKind::Invalid | ErrorKind::Unsupported)
}

/// A call of which nothing was taken is refused as a whole, unless the cause is what a message asks for.
fn all_refused(mut outcomes: Vec<PublishOutcome>) -> Result<Vec<PublishOutcome>> {
    let is_refused = |outcome: &PublishOutcome| match outcome {
        PublishOutcome::Rejected(error) => error.kind() != ErrorKind::Unsupported,
        _ => false,
    };
    if outcomes.is_empty() || !outcomes.iter().all(is_refused) {
        return Ok(outcomes);
    }
    match outcomes.swap_remove(0) {
        PublishOutcome::Rejected(error) => Err(error),
        _ => Ok(outcomes),
    }
}
