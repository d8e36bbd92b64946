//! Adapters that fail when a test says so.
//!
//! A wrapper passes everything on until its [`Faults`] tell otherwise. Rules name a call and count
//! from the moment at which they are added: 1 is the next call of that kind.

mod backend;
mod broker;
mod notebook;

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

pub use backend::{BackendCall, FaultyBackend};
pub use broker::{BrokerCall, FaultyBroker};
use tokio::sync::watch;
use windlass_core::{Error, ErrorKind, Result};

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing is applied, and the answer is an error of this kind.
    Before(ErrorKind),
    /// It is applied, and the answer is an error that says that nobody knows.
    After,
    /// It is applied, and no answer ever comes.
    Silence,
    /// It is applied this much later.
    Delay(Duration),
}

#[derive(Debug)]
struct Rule<C> {
    call: C,
    /// Calls until it holds; 1 is the next.
    left: usize,
    fault: Fault,
}

#[derive(Debug)]
struct Script<C> {
    rules: Vec<Rule<C>>,
    outage: watch::Sender<bool>,
    counts: HashMap<C, usize>,
}

/// What shall go wrong with the calls `C` of an adapter.
#[derive(Debug)]
pub struct Faults<C>(Mutex<Script<C>>);

impl<C> Default for Faults<C> {
    fn default() -> Self {
        Self(Mutex::new(Script { rules: Vec::new(), outage: watch::Sender::default(), counts: HashMap::new() }))
    }
}

impl<C: Copy + Eq + Hash + Into<&'static str>> Faults<C> {
    /// The nth call from now is not applied and answers an error of this kind.
    pub fn fail_before(&self, call: C, nth: usize, kind: ErrorKind) {
        self.add(call, nth, Fault::Before(kind));
    }

    /// The nth call from now is applied and answers [`ErrorKind::Unknown`].
    pub fn fail_after(&self, call: C, nth: usize) {
        self.add(call, nth, Fault::After);
    }

    /// The nth call from now is applied and never answers, as over a line that went dead.
    pub fn lose_answer(&self, call: C, nth: usize) {
        self.add(call, nth, Fault::Silence);
    }

    /// The nth call from now is applied this much later.
    pub fn delay(&self, call: C, nth: usize, span: Duration) {
        self.add(call, nth, Fault::Delay(span));
    }

    /// From now on nothing is applied and everything answers [`ErrorKind::Unavailable`]; until it is
    /// called with `false`.
    pub fn outage(&self, on: bool) {
        self.lock().outage.send_replace(on);
    }

    /// How many calls of this kind there were.
    pub fn calls(&self, call: C) -> usize {
        self.lock().counts.get(&call).copied().unwrap_or(0)
    }

    /// Tells when an outage begins and ends.
    fn outages(&self) -> watch::Receiver<bool> {
        self.lock().outage.subscribe()
    }

    fn add(&self, call: C, nth: usize, fault: Fault) {
        assert!(nth > 0, "calls are counted from 1");
        self.lock().rules.push(Rule { call, left: nth, fault });
    }

    fn lock(&self) -> MutexGuard<'_, Script<C>> {
        self.0.lock().expect("no step panics while it holds the script")
    }

    /// Counts a call and takes the faults that it meets.
    fn next(&self, call: C) -> Vec<Fault> {
        let mut script = self.lock();
        *script.counts.entry(call).or_default() += 1;
        for rule in script.rules.iter_mut().filter(|rule| rule.call == call) {
            rule.left -= 1;
        }
        let mut faults: Vec<Fault> =
            script.rules.extract_if(.., |rule| rule.left == 0).map(|rule| rule.fault).collect();
        if *script.outage.borrow() {
            faults.insert(0, Fault::Before(ErrorKind::Unavailable));
        }
        faults
    }

    /// Carries out `apply` with what goes wrong.
    async fn around<T>(&self, call: C, apply: impl Future<Output = Result<T>>) -> Result<T> {
        let operation = call.into();
        let faults = self.next(call);
        for fault in &faults {
            match *fault {
                Fault::Before(kind) => return Err(Error::new(kind, operation, "a fault before it was applied")),
                Fault::Delay(span) => tokio::time::sleep(span).await,
                Fault::After | Fault::Silence => {}
            }
        }
        let answer = apply.await?;
        if faults.contains(&Fault::Silence) {
            std::future::pending::<()>().await;
        }
        if faults.contains(&Fault::After) {
            return Err(Error::new(ErrorKind::Unknown, operation, "a fault after it was applied"));
        }
        Ok(answer)
    }
}
