use serde::{Deserialize, Deserializer};
use windlass_core::{Backoff, Error, IntoDuration, Options, Priority, QueueName, Result, Retention, RetryOn};

/// Options of tasks that say nothing else: the section `defaults`. All keys are optional.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DefaultsConfig {
    /// The queue that tasks wait in.
    pub queue: Option<String>,
    /// How urgent tasks are among those that wait in their queue: `low`, `normal`, `high` or `critical`.
    pub priority: Option<String>,
    /// Retries after the first run.
    pub max_retries: Option<u32>,
    /// The pause before each retry: `fixed 5s`, `linear 5s 1h`, or `exponential 1s 3 1h`
    /// (base, factor, cap), each with an optional `jitter 0.25` (the part left to chance) at its end.
    pub backoff: Option<String>,
    /// What is retried: any of `errors`, `timeouts`, `panics`, separated by commas.
    pub retry_on: Option<String>,
    /// Stop a run after this long.
    #[serde(deserialize_with = "text")]
    pub timeout: Option<String>,
    /// Signal a run after this long.
    #[serde(deserialize_with = "text")]
    pub soft_timeout: Option<String>,
    /// Do not start later than this long after enqueueing.
    #[serde(deserialize_with = "text")]
    pub expires: Option<String>,
    /// How long the final state is kept: a time, `forever` or `none`.
    #[serde(deserialize_with = "text")]
    pub status_ttl: Option<String>,
    /// How long the result is kept: a time, `forever` or `none`.
    #[serde(deserialize_with = "text")]
    pub result_ttl: Option<String>,
}

/// A bare number is a number of seconds.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Number(i64),
        Text(String),
    }
    Ok(Option::<Raw>::deserialize(deserializer)?.map(|raw| match raw {
        Raw::Number(number) => number.to_string(),
        Raw::Text(text) => text,
    }))
}

impl DefaultsConfig {
    /// The options that the section names.
    ///
    /// # Errors
    /// `Invalid` with the key, the value and what is allowed.
    pub fn options(&self) -> Result<Options> {
        Ok(Options {
            queue: read("defaults.queue", &self.queue, QueueName::new)?,
            priority: read("defaults.priority", &self.priority, str::parse::<Priority>)?,
            max_retries: self.max_retries,
            backoff: read("defaults.backoff", &self.backoff, backoff)?,
            retry_on: read("defaults.retry_on", &self.retry_on, str::parse::<RetryOn>)?,
            timeout: read("defaults.timeout", &self.timeout, IntoDuration::into_duration)?,
            soft_timeout: read("defaults.soft_timeout", &self.soft_timeout, IntoDuration::into_duration)?,
            expires: read("defaults.expires", &self.expires, IntoDuration::into_duration)?,
            status_ttl: read("defaults.status_ttl", &self.status_ttl, Retention::from_setting)?,
            result_ttl: read("defaults.result_ttl", &self.result_ttl, Retention::from_setting)?,
            ..Options::default()
        })
    }
}

fn read<'a, T>(
    key: &'static str,
    value: &'a Option<String>,
    parse: impl FnOnce(&'a str) -> Result<T>,
) -> Result<Option<T>> {
    value.as_deref().map(parse).transpose().map_err(|error| Error::new(error.kind(), key, error.message()))
}

fn backoff(text: &str) -> Result<Backoff> {
    let wrong = || {
        Error::invalid(
            "backoff",
            format_args!("{text:?}"),
            "fixed 5s, linear 5s 1h, or exponential 1s 3 1h jitter 0.25",
        )
    };
    let (text, jitter) = match text.split_once(" jitter ") {
        Some((text, jitter)) => (text, Some(jitter.trim().parse().map_err(|_| wrong())?)),
        None => (text, None),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let span = |word: &str| word.into_duration().map_err(|_| wrong());
    let backoff = match words[..] {
        ["fixed", pause] => Backoff::fixed(span(pause)?),
        ["linear", base, cap] => Backoff::linear(span(base)?, span(cap)?),
        ["exponential", base, factor, cap] => {
            Backoff::exponential(span(base)?, factor.parse().map_err(|_| wrong())?, span(cap)?)
        }
        _ => return Err(wrong()),
    };
    let backoff = jitter.map_or(backoff, |jitter| backoff.with_jitter(jitter));
    backoff.check().map(|()| backoff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(text: &str) -> Result<Option<Priority>> {
        DefaultsConfig { priority: Some(text.to_owned()), ..DefaultsConfig::default() }
            .options()
            .map(|options| options.priority)
    }

    #[test]
    fn a_priority_is_read_or_refused_with_its_key() {
        assert_eq!(DefaultsConfig::default().options().expect("nothing is said").priority, None);
        for level in Priority::ALL {
            assert_eq!(priority(level.as_str()).expect("a name"), Some(level));
        }
        for text in ["", "High", "urgent"] {
            let error = priority(text).expect_err("no name").to_string();
            assert_eq!(error, format!("defaults.priority: {text:?} is not allowed: low, normal, high, critical"));
        }
    }
}
