use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::time::millis;
use crate::{Error, Result, limits};

/// The pause before a retry.
///
/// The default, exponential from 1 s by 3 up to 1 h with a quarter of jitter, spreads ten retries
/// over about three hours: long enough for most outages of what a task depends on.
///
/// As text: `<kind> <base ms> <factor> <cap ms> <jitter>`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// How the pause grows.
    pub growth: Growth,
    /// The pause before the first retry.
    pub base: Duration,
    /// The longest pause.
    pub cap: Duration,
    /// The part of a pause (0 to 1) that is left to chance, so that tasks that failed together do
    /// not come back together: 0.25 means 75 % to 100 % of the pause.
    pub jitter: f64,
}

/// How the pause grows from retry to retry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Growth {
    /// Always `base`.
    Fixed,
    /// `base`, 2 × `base`, 3 × `base`, …
    Linear,
    /// `base`, `base` × factor, `base` × factor², …
    Exponential(f64),
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            growth: Growth::Exponential(3.0),
            base: Duration::from_secs(1),
            cap: Duration::from_secs(3600),
            jitter: 0.25,
        }
    }
}

impl Backoff {
    /// Always the same pause, without jitter.
    pub const fn fixed(pause: Duration) -> Self {
        Self { growth: Growth::Fixed, base: pause, cap: pause, jitter: 0.0 }
    }

    /// A pause that grows by `base` each time, up to `cap`, without jitter.
    pub const fn linear(base: Duration, cap: Duration) -> Self {
        Self { growth: Growth::Linear, base, cap, jitter: 0.0 }
    }

    /// A pause that grows by `factor` each time, up to `cap`, with a quarter of jitter.
    pub const fn exponential(base: Duration, factor: f64, cap: Duration) -> Self {
        Self { growth: Growth::Exponential(factor), base, cap, jitter: 0.25 }
    }

    /// This backoff with another share of jitter.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// The pause before retry `retry` (the first is 1); `random` is from 0 to 1.
    ///
    /// ```
    /// use std::time::Duration;
    /// use windlass_core::Backoff;
    /// let backoff = Backoff::exponential(Duration::from_secs(1), 2.0, Duration::from_secs(60));
    /// assert_eq!(backoff.pause(3, 0.0), Duration::from_secs(4));
    /// assert_eq!(backoff.pause(99, 1.0), Duration::from_secs(45));
    /// ```
    pub fn pause(&self, retry: u32, random: f64) -> Duration {
        let steps = retry.max(1) - 1;
        let factor = match self.growth {
            Growth::Fixed => 1.0,
            Growth::Linear => f64::from(steps) + 1.0,
            Growth::Exponential(factor) => factor.powf(f64::from(steps)),
        };
        let cap = self.cap.min(limits::DELAY).as_secs_f64();
        let pause = (self.base.as_secs_f64() * factor).min(cap);
        let part = 1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0);
        // Only a backoff that `check` refuses can be no span of time.
        Duration::try_from_secs_f64(pause * part).unwrap_or(self.cap.min(limits::DELAY))
    }

    /// Refuses factors and jitters that make no sense.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] that names the value and what is allowed.
    pub fn check(&self) -> Result<()> {
        if let Growth::Exponential(factor) = self.growth
            && !(1.0..=1000.0).contains(&factor)
        {
            return Err(Error::invalid("backoff factor", factor, "1 to 1000"));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(Error::invalid("backoff jitter", self.jitter, "0 to 1"));
        }
        limits::check_delay(self.cap)
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, factor) = match self.growth {
            Growth::Fixed => ("fixed", 1.0),
            Growth::Linear => ("linear", 1.0),
            Growth::Exponential(factor) => ("exponential", factor),
        };
        write!(f, "{kind} {} {factor} {} {}", millis(self.base), millis(self.cap), self.jitter)
    }
}

impl FromStr for Backoff {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::invalid("backoff", format_args!("{text:?}"), "<kind> <base ms> <factor> <cap ms> <jitter>");
        let parts: Vec<&str> = text.split(' ').collect();
        let [kind, base, factor, cap, jitter] = parts[..] else { return Err(wrong()) };
        let span = |part: &str| part.parse().map(Duration::from_millis).map_err(|_| wrong());
        let number = |part: &str| part.parse::<f64>().map_err(|_| wrong());
        let growth = match kind {
            "fixed" => Growth::Fixed,
            "linear" => Growth::Linear,
            "exponential" => Growth::Exponential(number(factor)?),
            _ => return Err(wrong()),
        };
        let backoff = Self { growth, base: span(base)?, cap: span(cap)?, jitter: number(jitter)? };
        backoff.check().map(|()| backoff)
    }
}
