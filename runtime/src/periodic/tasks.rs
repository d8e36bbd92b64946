use std::fmt;

use windlass_core::periodic::{Cadence, Entry, HEADER_NAME, MissedTicks, check_name};
use windlass_core::{Call, Error, Message, QueueLimit, QueueName, Result, Timestamp};

use super::Periodic;
use super::calendar::Calendar;
use super::definition::Defined;
use super::shelf::{Shelf, Stored};
use crate::client::Client;
use crate::clock::new_id;
use crate::handle::TaskHandle;

/// Entries of one page.
const PAGE: usize = 1000;

/// The entries of periodic tasks: shared by all processes over the same backend, and changed while
/// schedulers run, who hear of it at once.
///
/// Every method answers `Unsupported` where there is no backend, and `Unavailable` or `Unknown` where
/// it cannot be reached; each may be called again.
#[derive(Debug, Clone)]
pub struct PeriodicTasks(Client);

/// What [`PeriodicTasks::ensure`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// There was no such entry.
    Added,
    /// It said something else.
    Changed,
    /// It was there as it is wanted; nothing was written.
    Unchanged,
}

/// An entry, as it is now.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct PeriodicEntry {
    /// Its name.
    pub name: String,
    /// The task as it is sent: its name, queue, options and arguments. Its id and time are not used.
    pub message: Message,
    /// When it comes.
    pub cadence: Cadence,
    /// What becomes of ticks that were missed.
    pub missed: MissedTicks,
    /// Whether it rests.
    pub paused: bool,
    /// The newest tick that was dealt with; before the first one, when the entry was made.
    pub last: Timestamp,
    /// The next tick; `None` while it rests, if there is none any more, or if this host does not know the time zone.
    pub next: Option<Timestamp>,
}

/// Arguments are not printed.
impl fmt::Debug for PeriodicEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeriodicEntry")
            .field("name", &self.name)
            .field("task", &self.message.task)
            .field("cadence", &self.cadence)
            .field("missed", &self.missed)
            .field("paused", &self.paused)
            .field("last", &self.last)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Entries in the order of their names, and where the next page begins.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct PeriodicPage {
    /// The entries. What a newer version has written is left out.
    pub entries: Vec<PeriodicEntry>,
    /// Pass it to get the next page; `None` at the end.
    pub next: Option<String>,
}

impl PeriodicTasks {
    /// The entries in the backend of a client.
    pub fn new(client: &Client) -> Self {
        Self(client.clone())
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// `Invalid` for a bad expression (with the field and its place), an unknown time zone, an interval
    /// below a second, a bad name, a call that cannot come again and again (an id, a delay, a
    /// deadline), or a name that is taken.
    pub async fn add<O>(&self, periodic: Periodic, call: Call<O>) -> Result<()> {
        let Defined { name, entry, .. } = self.define(periodic, call)?;
        let add = |found: Option<Entry>| match found {
            Some(_) => {
                Err(Error::invalid("periodic name", format_args!("{name:?}"), "it is taken: change or ensure it"))
            }
            None => Ok((Some(entry.clone()), ())),
        };
        Shelf::of(&self.0)?.edit(&name, add).await
    }

    /// Adds an entry, or changes it if it says something else: what a program calls at its start for
    /// each entry that it wants.
    ///
    /// Neither the last tick nor a pause is touched if the cadence is the same.
    ///
    /// # Errors
    /// As [`PeriodicTasks::add`], but a name may be taken.
    pub async fn ensure<O>(&self, periodic: Periodic, call: Call<O>) -> Result<Ensured> {
        let Defined { name, entry, floats } = self.define(periodic, call)?;
        let ensure = |found: Option<Entry>| {
            let Some(found) = found else { return Ok((Some(entry.clone()), Ensured::Added)) };
            let wanted = changed(&found, &entry, floats);
            if wanted.is_defined_as(&found) {
                return Ok((None, Ensured::Unchanged));
            }
            Ok((Some(wanted), Ensured::Changed))
        };
        Shelf::of(&self.0)?.edit(&name, ensure).await
    }

    /// Changes when an entry comes and what it sends. If its cadence changes, it counts from now.
    ///
    /// # Errors
    /// As [`PeriodicTasks::add`]; `Invalid` if there is no entry of this name.
    pub async fn change<O>(&self, periodic: Periodic, call: Call<O>) -> Result<()> {
        let Defined { name, entry, floats } = self.define(periodic, call)?;
        let change = |found: Option<Entry>| {
            let found = found.ok_or_else(|| nobody(&name))?;
            Ok((Some(changed(&found, &entry, floats)), ()))
        };
        Shelf::of(&self.0)?.edit(&name, change).await
    }

    /// Lets an entry rest: its ticks pass. Tasks that were sent already are not touched.
    ///
    /// # Errors
    /// `Invalid` if there is no entry of this name.
    pub async fn pause(&self, name: &str) -> Result<()> {
        self.rest(name, true).await
    }

    /// Ends a pause: the next tick comes. Those of the pause were not missed, but passed.
    ///
    /// # Errors
    /// `Invalid` if there is no entry of this name.
    pub async fn resume(&self, name: &str) -> Result<()> {
        self.rest(name, false).await
    }

    async fn rest(&self, name: &str, paused: bool) -> Result<()> {
        check_name(name)?;
        let now = self.0.clock().now();
        let rest = |found: Option<Entry>| {
            let found = found.ok_or_else(|| nobody(name))?;
            if found.paused == paused {
                return Ok((None, ()));
            }
            let last = if paused { found.last } else { found.last.max(now) };
            Ok((Some(Entry { paused, last, ..found }), ()))
        };
        Shelf::of(&self.0)?.edit(name, rest).await
    }

    /// Removes an entry; answers whether there was one. Tasks that were sent already are not touched.
    ///
    /// # Errors
    /// `Invalid` for a bad name.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        Shelf::of(&self.0)?.remove(name).await
    }

    /// Enqueues the task of an entry at once, beside its ticks, also while it rests. `O` is what the
    /// result is read as.
    ///
    /// # Errors
    /// `Invalid` if there is no entry of this name; as [`Client::enqueue`].
    pub async fn run_now<O>(&self, name: &str) -> Result<TaskHandle<O>> {
        let entry = self.find(name).await?.ok_or_else(|| nobody(name))?;
        let now = self.0.clock().now();
        let mut message = Message { id: new_id(now), enqueued_at: now, ..entry.message };
        message.limit = limit(&self.0, &message.queue)?;
        message.options.headers.insert(HEADER_NAME.to_owned(), name.to_owned());
        self.0.send(message).await
    }

    /// The entry of that name.
    ///
    /// # Errors
    /// `Invalid` for a bad name.
    pub async fn get(&self, name: &str) -> Result<Option<PeriodicEntry>> {
        Ok(self.find(name).await?.map(|entry| view(name.to_owned(), entry)))
    }

    /// Entries in the order of their names, up to 1,000; `cursor` is [`PeriodicPage::next`] of the page
    /// before.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn list(&self, cursor: Option<&str>) -> Result<PeriodicPage> {
        let (found, next) = Shelf::of(&self.0)?.list(cursor, PAGE).await?;
        let known = |(name, Stored { entry, .. }): (String, Stored)| Some(view(name, entry.ok()?));
        Ok(PeriodicPage { entries: found.into_iter().filter_map(known).collect(), next })
    }

    async fn find(&self, name: &str) -> Result<Option<Entry>> {
        check_name(name)?;
        let found = Shelf::of(&self.0)?.read(&[name.to_owned()]).await?.pop().flatten();
        found.map(|found| found.entry).transpose()
    }

    /// Without a backend, that is what is to be said, and not what is wrong with the entry.
    fn define<O>(&self, periodic: Periodic, call: Call<O>) -> Result<Defined> {
        Shelf::of(&self.0)?;
        periodic.define(&self.0, call)
    }
}

/// `found` with what `entry` says. An interval without an anchor of its own keeps the one it has.
fn changed(found: &Entry, entry: &Entry, floats: bool) -> Entry {
    let cadence = match (&found.cadence, &entry.cadence) {
        (Cadence::Every { span, .. }, Cadence::Every { span: wanted, .. }) if floats && span == wanted => {
            &found.cadence
        }
        _ => &entry.cadence,
    };
    let last = if *cadence == found.cadence { found.last } else { found.last.max(entry.last) };
    Entry { cadence: cadence.clone(), paused: found.paused, last, claim: found.claim.clone(), ..entry.clone() }
}

/// What the client limits a queue to.
pub(super) fn limit(client: &Client, queue: &QueueName) -> Result<Option<QueueLimit>> {
    let call = Call::<()>::raw("limit", "").queue(queue);
    Ok(client.prepare(call)?.0.limit)
}

fn view(name: String, entry: Entry) -> PeriodicEntry {
    let calendar = Calendar::of(&entry.cadence).ok().filter(|_| !entry.paused);
    let next = calendar.and_then(|calendar| calendar.after(entry.last));
    let Entry { message, cadence, missed, paused, last, .. } = entry;
    PeriodicEntry { name, message, cadence, missed, paused, last, next }
}

fn nobody(name: &str) -> Error {
    Error::invalid("periodic name", format_args!("{name:?}"), "the name of an entry; there is none of this name")
}
