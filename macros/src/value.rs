//! The texts that keys take. Times, retentions and names follow the rules of `windlass-core`; the
//! tests below hold the two together.

use std::time::Duration;

/// What a text says, or why it is refused: `<value> is not allowed: <what is>`.
pub(crate) type Checked<T> = Result<T, String>;

const NAME_BYTES: usize = 128;
const LONGEST_DELAY: Duration = Duration::from_secs(366 * 24 * 3600);

fn refused<T>(text: &str, allowed: &str) -> Checked<T> {
    Err(format!("{text:?} is not allowed: {allowed}"))
}

/// The wire name of a task.
pub(crate) fn task_name(text: &str) -> Checked<String> {
    name(text, "._-:", "1 to 128 bytes of A-Z a-z 0-9 . _ - :")
}

/// The name of a queue.
pub(crate) fn queue_name(text: &str) -> Checked<String> {
    name(text, "._-", "1 to 128 bytes of A-Z a-z 0-9 . _ -")
}

/// How urgent a task is.
pub(crate) fn priority(text: &str) -> Checked<&'static str> {
    let known = ["low", "normal", "high", "critical"].into_iter().find(|known| *known == text);
    known.map_or_else(|| refused(text, "low, normal, high, critical"), Ok)
}

fn name(text: &str, extra: &str, allowed: &str) -> Checked<String> {
    if text.is_empty() || text.len() > NAME_BYTES {
        return refused(text, allowed);
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !(c.is_ascii_alphanumeric() || extra.contains(*c))) {
        return Err(format!("{text:?} (character {c:?} at byte {at}) is not allowed: {allowed}"));
    }
    if text.starts_with("amq.") {
        return refused(text, "the prefix amq. is reserved by RabbitMQ");
    }
    Ok(text.to_owned())
}

/// A span of time.
pub(crate) fn span(text: &str) -> Checked<Duration> {
    match parse_span(text.trim()) {
        Some(span) => Ok(span),
        None => refused(text, "a number and a unit (ms, s, m, h, d), such as 30s or 1h30m, not negative"),
    }
}

/// A span of time that is a limit: zero would stop everything.
pub(crate) fn limit(text: &str) -> Checked<Duration> {
    match span(text)? {
        Duration::ZERO => refused(text, "more than 0"),
        limit => Ok(limit),
    }
}

/// A span of time that a message can wait.
pub(crate) fn delay(text: &str) -> Checked<Duration> {
    let delay = span(text)?;
    if delay > LONGEST_DELAY { refused(text, "at most 366d") } else { Ok(delay) }
}

fn parse_span(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Retention {
    None,
    For(Duration),
    Forever,
}

/// How long something is kept.
pub(crate) fn retention(text: &str) -> Checked<Retention> {
    match (text, parse_span(text.trim())) {
        ("none", _) | (_, Some(Duration::ZERO)) => Ok(Retention::None),
        ("forever", _) => Ok(Retention::Forever),
        (_, Some(span)) => Ok(Retention::For(span)),
        _ => refused(text, "none, forever, or a time such as 1h"),
    }
}

/// Whether errors, timeouts and panics are retried.
pub(crate) fn retry_on(text: &str) -> Checked<[bool; 3]> {
    let mut on = [false; 3];
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match ["errors", "timeouts", "panics"].iter().position(|known| *known == name) {
            Some(index) => on[index] = true,
            None => return refused(name, "errors, timeouts, panics"),
        }
    }
    Ok(on)
}

/// How the pause before a retry grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Growth {
    Fixed,
    Linear,
    Exponential(f64),
}

/// The pause before each retry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) growth: Growth,
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
    pub(crate) jitter: Option<f64>,
}

/// The pause before each retry.
pub(crate) fn backoff(text: &str) -> Checked<Backoff> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (words, jitter) = match words[..] {
        [ref words @ .., "jitter", share] => (words, Some(number(share, 0.0, 1.0, "a jitter from 0 to 1")?)),
        ref words => (words, None),
    };
    let (growth, base, cap) = match *words {
        ["fixed", pause] => (Growth::Fixed, pause, pause),
        ["linear", base, cap] => (Growth::Linear, base, cap),
        ["exponential", base, factor, cap] => {
            (Growth::Exponential(number(factor, 1.0, 1000.0, "a factor from 1 to 1000")?), base, cap)
        }
        _ => {
            let forms = "\"fixed 10s\", \"linear 10s 10m\" or \"exponential 1s 3 1h\", then \"jitter 0.5\" if wanted";
            return refused(text, forms);
        }
    };
    Ok(Backoff { growth, base: span(base)?, cap: delay(cap)?, jitter })
}

fn number(text: &str, min: f64, max: f64, allowed: &str) -> Checked<f64> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => refused(text, allowed),
    }
}

#[cfg(test)]
#[path = "value_test.rs"]
mod tests;
