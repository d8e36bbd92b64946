use std::time::Duration;

use windlass_core::periodic::{Cadence, Entry, MissedTicks, check_name};
use windlass_core::{Call, Error, IntoDuration, Message, QueueName, Result, Schedule, Timestamp};

use super::calendar::Calendar;
use crate::client::Client;

/// The longest jitter.
const JITTER: Duration = Duration::from_secs(86_400);

/// When a task comes: a cron expression with its time zone, or a fixed interval.
///
/// What is wrong with it (an expression, a time zone, an interval) is told by the method of
/// [`super::PeriodicTasks`] that it is given to, before anything is sent.
///
/// ```
/// use windlass_runtime::periodic::{MissedTicks, Periodic};
/// let nightly = Periodic::cron("0 3 * * *").tz("Europe/Berlin").named("nightly").missed(MissedTicks::Skip);
/// let often = Periodic::every("10m").jitter("30s");
/// ```
#[doc(alias = "crontab")]
#[doc(alias = "PeriodicTask")]
#[doc(alias = "beat_schedule")]
#[must_use = "it does nothing until it is added"]
#[derive(Debug)]
pub struct Periodic {
    name: Option<String>,
    when: Result<When>,
    missed: MissedTicks,
    jitter: Duration,
}

#[derive(Debug)]
enum When {
    Cron { expression: String, zone: Option<String> },
    Every { span: Duration, anchor: Option<Timestamp> },
}

/// An entry that is to be written.
#[derive(Debug)]
pub(super) struct Defined {
    pub(super) name: String,
    pub(super) entry: Entry,
    /// Whether the anchor of an interval is only the present, because none was chosen.
    pub(super) floats: bool,
}

impl Periodic {
    /// By a cron expression, in UTC unless [`Periodic::tz`] names a time zone.
    ///
    /// Five fields: minute, hour, day, month, weekday (0 and 7 are Sunday); with six, the first is the
    /// second; with seven, the last is the year. `*`, `,`, `-`, `/`, names (`MON`, `JAN`), `L` (the last), `W` (the
    /// nearest weekday), `5#2` (the second Friday), and `@yearly`, `@monthly`, `@weekly`, `@daily`, `@hourly`.
    /// Where both day and weekday are limited, either is enough; `+` before the weekday asks for both.
    pub fn cron(expression: impl Into<String>) -> Self {
        Self::new(Ok(When::Cron { expression: expression.into(), zone: None }))
    }

    /// Every so often: the first time one interval after it is added. At least a second.
    pub fn every(span: impl IntoDuration) -> Self {
        let span = span.into_duration().map_err(|error| Error::new(error.kind(), "every", error.message()));
        Self::new(span.map(|span| When::Every { span, anchor: None }))
    }

    fn new(when: Result<When>) -> Self {
        Self { name: None, when, missed: MissedTicks::default(), jitter: Duration::ZERO }
    }

    fn when(mut self, change: impl FnOnce(&mut When) -> Result<()>) -> Self {
        if let Ok(when) = &mut self.when
            && let Err(error) = change(when)
        {
            self.when = Err(error);
        }
        self
    }

    /// The time zone in which a cron expression is read, by its IANA name, such as `Europe/Berlin`.
    #[doc(alias = "timezone")]
    pub fn tz(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.when(|when| match when {
            When::Cron { zone, .. } => {
                *zone = Some(name);
                Ok(())
            }
            When::Every { .. } => Err(Error::invalid(
                "tz",
                format_args!("{name:?}"),
                "only for a cron expression; intervals know no place",
            )),
        })
    }

    /// Where an interval counts from: it comes at this time, and every interval before and after it.
    pub fn anchor(self, at: impl Into<Timestamp>) -> Self {
        let at = at.into();
        self.when(|when| match when {
            When::Every { anchor, .. } => {
                *anchor = Some(at);
                Ok(())
            }
            When::Cron { .. } => {
                Err(Error::invalid("anchor", "an anchor of a cron expression", "only for an interval"))
            }
        })
    }

    /// The name of the entry, by which it is found again; without it, the name of the task.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What becomes of ticks during which no scheduler ran.
    pub fn missed(mut self, missed: MissedTicks) -> Self {
        self.missed = missed;
        self
    }

    /// Each task waits for a part of this time after its tick, always the same for the same tick, so
    /// that many entries do not come at once. At most a day.
    pub fn jitter(mut self, span: impl IntoDuration) -> Self {
        match span.into_duration() {
            Ok(span) if span <= JITTER => self.jitter = span,
            Ok(span) => return self.when(|_| Err(Error::invalid("jitter", format_args!("{span:?}"), "at most 1d"))),
            Err(error) => return self.when(|_| Err(Error::new(error.kind(), "jitter", error.message()))),
        }
        self
    }

    /// The first `count` ticks after a point in time, to see what an expression means.
    ///
    /// ```
    /// use windlass_core::{Timestamp, periodic::rfc3339};
    /// use windlass_runtime::periodic::Periodic;
    /// // The night in which Berlin has no half past two.
    /// let spring = Timestamp::from_micros(1_774_700_000_000_000);
    /// let ticks = Periodic::cron("30 2 * * *").tz("Europe/Berlin").ticks(spring, 2)?;
    /// assert_eq!(ticks.into_iter().map(rfc3339).collect::<Vec<_>>(), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    /// # Ok::<_, windlass_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for what is wrong with it.
    pub fn ticks(self, after: Timestamp, count: usize) -> Result<Vec<Timestamp>> {
        let calendar = Calendar::of(&self.when?.cadence(after)?)?;
        Ok(std::iter::successors(calendar.after(after), |tick| calendar.after(*tick)).take(count).collect())
    }

    /// Checks everything, and makes the entry.
    pub(super) fn define<O>(self, client: &Client, call: Call<O>) -> Result<Defined> {
        let when = self.when?;
        self.missed.check()?;
        // Ticks and ids are in whole milliseconds.
        let now = Timestamp::from_micros(client.clock().now().as_millis().saturating_mul(1000));
        let (message, _) = client.prepare(call)?;
        let name = self.name.unwrap_or_else(|| message.task.to_string());
        check_name(&name)?;
        let floats = matches!(when, When::Every { anchor: None, .. });
        let cadence = when.cadence(now)?;
        if Calendar::of(&cadence)?.after(now).is_none() {
            return Err(Error::invalid("cron", format_args!("\"{cadence}\""), "an expression that ever comes (again)"));
        }
        let message = template(&name, message)?;
        let (missed, jitter) = (self.missed, self.jitter);
        let entry = Entry { message, cadence, missed, jitter, paused: false, last: now, claim: None };
        // What is read back is what is compared with: times travel in milliseconds.
        let entry = Entry::decode(&name, &entry.encode()?)?;
        check_size(&name, &entry, now, client)?;
        Ok(Defined { name, entry, floats })
    }
}

impl When {
    fn cadence(self, now: Timestamp) -> Result<Cadence> {
        match self {
            Self::Cron { expression, zone } => Ok(Cadence::Cron {
                expression: expression.trim().to_owned(),
                zone: zone.unwrap_or_else(|| "UTC".into()),
            }),
            Self::Every { span, anchor } => Cadence::every(span, anchor.unwrap_or(now)),
        }
    }
}

/// What of a call does not fit to a task that comes again and again.
fn template(name: &str, message: Message) -> Result<Message> {
    let refuse = |field, why| Err(Error::invalid(field, "a call with it", why));
    if message.remember.is_some() {
        return refuse("id", "a periodic task without: each tick has an id of its own, made of name and time");
    }
    if message.schedule != Schedule::Now {
        return refuse("delay", "a periodic task without: it comes at its ticks");
    }
    if message.options.deadline.is_some() {
        return refuse("deadline", "a periodic task without: a point in time passes once; use expires or timeout");
    }
    Ok(Message { id: Entry::template_id(name)?, enqueued_at: Timestamp::default(), limit: None, ..message })
}

/// The headers of a tick come on top of those of the call.
fn check_size(name: &str, entry: &Entry, now: Timestamp, client: &Client) -> Result<()> {
    let queue: &QueueName = &entry.message.queue;
    entry.task_of(name, now, queue, now)?.check(client.broker().capabilities().max_payload)
}
