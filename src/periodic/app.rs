use windlass_core::{Call, Error, ErrorKind, Result, Timestamp};
use windlass_runtime::WorkerBuilder;
use windlass_runtime::periodic::{MissedTicks, Periodic, PeriodicTasks, Scheduler};

use super::PeriodicConfig;
use crate::{Builder, Windlass};

impl Windlass {
    /// The periodic tasks of the backend: to add, to change, to pause, to run now, to remove and to list.
    ///
    /// Every worker of the application runs a scheduler beside its tasks (see [`Builder::scheduler`]),
    /// and each tick is exactly one task, however many there are.
    ///
    /// ```
    /// use windlass::{MissedTicks, Periodic, Windlass};
    ///
    /// #[windlass::task]
    /// async fn report(kind: String) {}
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let app = Windlass::connect("memory://").await?;
    /// let nightly = Periodic::cron("0 3 * * *").tz("Europe/Berlin").missed(MissedTicks::Once);
    /// app.periodic().ensure(nightly, report::call("all".into()).queue("reports")).await?;
    /// assert_eq!(app.periodic().list(None).await?.entries[0].name, "report");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "cron")]
    #[doc(alias = "beat")]
    pub fn periodic(&self) -> PeriodicTasks {
        PeriodicTasks::new(self.client())
    }

    /// A scheduler without a worker, for a process that does nothing else: `app.scheduler()?.run(stop)`.
    ///
    /// # Errors
    /// `Unsupported` without a backend, which keeps the entries.
    #[doc(alias = "beat")]
    pub fn scheduler(&self) -> Result<Scheduler> {
        Scheduler::new(self.client())
    }

    /// A worker that also makes tasks of ticks, where there is a backend that keeps entries.
    pub(crate) fn with_scheduler(&self, worker: WorkerBuilder) -> WorkerBuilder {
        match self.scheduler() {
            Ok(scheduler) if !self.no_scheduler => worker.beside(|stop| scheduler.run(stop)),
            _ => worker,
        }
    }

    /// Writes the entries of the configuration where they are not there as they are wanted.
    pub(crate) async fn ensure(&self, sections: &[PeriodicConfig]) -> Result<()> {
        for section in sections {
            let answer = self.periodic().ensure(periodic(section)?, call(section)?).await;
            answer.map_err(|error| error.with("periodic", name(section)))?;
        }
        Ok(())
    }
}

impl Builder {
    /// Whether the workers of this application run a scheduler of periodic tasks beside their tasks.
    /// They do, unless they are told not to.
    pub fn scheduler(mut self, runs: bool) -> Self {
        self.no_scheduler = !runs;
        self
    }
}

/// Checks a section as far as that can be done without a client.
pub(super) fn check(section: &PeriodicConfig) -> Result<()> {
    let checked = periodic(section).and_then(|periodic| periodic.ticks(Timestamp::default(), 1));
    checked.and_then(|_| call(section)?.into_parts()).map(drop).map_err(|error| error.with("periodic", name(section)))
}

fn name(section: &PeriodicConfig) -> &str {
    section.name.as_deref().unwrap_or(&section.task)
}

fn periodic(section: &PeriodicConfig) -> Result<Periodic> {
    let mut periodic = match (&section.cron, &section.every) {
        (Some(cron), None) => Periodic::cron(cron),
        (None, Some(every)) => Periodic::every(every.as_str()),
        _ => return Err(Error::new(ErrorKind::Config, "periodic", "set either cron or every")),
    };
    if let Some(zone) = &section.tz {
        periodic = periodic.tz(zone);
    }
    if let Some(jitter) = &section.jitter {
        periodic = periodic.jitter(jitter.as_str());
    }
    let missed = section.missed.as_deref().map_or(Ok(MissedTicks::default()), missed)?;
    missed.check()?;
    Ok(periodic.named(name(section)).missed(missed))
}

fn missed(text: &str) -> Result<MissedTicks> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["skip"] => Ok(MissedTicks::Skip),
        ["once"] => Ok(MissedTicks::Once),
        ["all", max] if max.parse::<u32>().is_ok() => Ok(MissedTicks::All { max: max.parse().unwrap_or_default() }),
        _ => Err(Error::invalid(
            "periodic.missed",
            format_args!("{text:?}"),
            "skip, once, or all and a number, as in all 10",
        )),
    }
}

fn call(section: &PeriodicConfig) -> Result<Call<()>> {
    let payload = windlass_core::message::codec::encode("periodic.args", &section.args)?;
    let call = Call::raw(&section.task, payload);
    Ok(match &section.queue {
        Some(queue) => call.queue(queue),
        None => call,
    })
}
