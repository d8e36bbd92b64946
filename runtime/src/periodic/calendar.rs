//! Cron expressions and time zones. The only file that knows croner and jiff.

use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use jiff::tz::{self, TimeZone};
use windlass_core::periodic::Cadence;
use windlass_core::{Error, ErrorKind, Result, Timestamp};

/// Longest expression, in bytes.
const EXPRESSION_BYTES: usize = 255;

const ALLOWED: &str = "five fields (minute hour day month weekday), or six with the second first, or seven with the \
                       year last, of numbers and * , - /, names such as MON and JAN, L, W and #; or @yearly, @monthly, \
                       @weekly, @daily, @hourly";

const FIELDS: [&str; 7] = ["second", "minute", "hour", "day of the month", "month", "day of the week", "year"];

/// croner gives up at a gap of more than two hours, such as a day that a place leaves out to change the
/// side of the date line. The search goes on behind it.
const STRIDES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(43_200), Duration::from_secs(86_400)];

/// What gives the ticks of a cadence.
#[derive(Debug)]
pub(super) enum Calendar {
    Cron(Box<Cron>, TimeZone),
    Every(Duration, Timestamp),
}

impl Calendar {
    /// Reads expression and time zone.
    ///
    /// # Errors
    /// `Invalid` that names the field and its place, or time zones that look like the one that is not known.
    pub(super) fn of(cadence: &Cadence) -> Result<Self> {
        match cadence {
            Cadence::Cron { expression, zone } => Ok(Self::Cron(Box::new(parse(expression)?), find_zone(zone)?)),
            Cadence::Every { span, anchor } => Ok(Self::Every(*span, *anchor)),
            other => Err(Error::new(ErrorKind::Unsupported, "periodic", format!("this version does not know {other}"))),
        }
    }

    /// The first tick after a point in time, if there is one.
    pub(super) fn after(&self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron, zone) => STRIDES.iter().find_map(|stride| next(cron, zone, at.plus(*stride))),
            Self::Every(span, anchor) => Cadence::paced(*span, *anchor, at),
        }
    }
}

fn next(cron: &Cron, zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?.to_zoned(zone.clone());
    let tick = cron.find_next_occurrence(&at, false).ok()?;
    Some(Timestamp::from_micros(tick.timestamp().as_microsecond()))
}

fn parse(expression: &str) -> Result<Cron> {
    if expression.len() > EXPRESSION_BYTES {
        let text = format!("an expression of {} bytes", expression.len());
        return Err(Error::invalid("cron", text, format_args!("at most {EXPRESSION_BYTES} bytes")));
    }
    expression.parse().map_err(|error| explain(expression, &error))
}

/// Which field is wrong: the one that is refused alone too.
fn explain(expression: &str, error: &CronError) -> Error {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let refused = |with: &dyn Fn(usize) -> String| {
        (0..fields.len()).find_map(|index| with(index).parse::<Cron>().err().map(|error| (index, error)))
    };
    let alone = |index: usize| {
        let field = |place: usize| if place == index { fields[place] } else { "*" };
        (0..fields.len()).map(field).collect::<Vec<_>>().join(" ")
    };
    let is_field_count = (5..=7).contains(&fields.len());
    let why = match refused(&alone).filter(|_| is_field_count) {
        Some((index, error)) => {
            let field = fields[index];
            let at = field.as_ptr() as usize - expression.as_ptr() as usize;
            let name = FIELDS[index + usize::from(fields.len() == 5)];
            format!("the {name}, {field:?} at byte {at}: {}", text_of(&error))
        }
        None if expression.trim_start().starts_with('@') => "unknown name".to_owned(),
        None if is_field_count => text_of(error),
        None => format!("{} fields", fields.len()),
    };
    Error::invalid("cron", format_args!("{expression:?} ({why})"), ALLOWED)
}

fn text_of(error: &CronError) -> String {
    match error {
        CronError::InvalidPattern(text) | CronError::ComponentError(text) => text.trim_end_matches('.').to_lowercase(),
        CronError::IllegalCharacters(_) => "a character that is not allowed there".to_owned(),
        other => other.to_string(),
    }
}

fn find_zone(name: &str) -> Result<TimeZone> {
    TimeZone::get(name).map_err(|_| {
        let near = near_zones(name);
        let hint = if near.is_empty() { String::new() } else { format!("; near it are {}", near.join(", ")) };
        let allowed = format!("a name of the IANA time zone database, such as Europe/Berlin or UTC{hint}");
        Error::invalid("tz", format_args!("{name:?}"), allowed)
    })
}

/// Up to three time zones whose names are almost this one, or whose place is.
fn near_zones(name: &str) -> Vec<String> {
    let place = |name: &str| name.rsplit('/').next().unwrap_or_default().to_lowercase().replace(' ', "_");
    let wanted = (name.to_lowercase(), place(name));
    let distance = |known: &str| {
        let whole = edits(&wanted.0, &known.to_lowercase());
        whole.min(edits(&wanted.1, &place(known)) + 1)
    };
    let mut near: Vec<(usize, String)> = tz::db()
        .available()
        .map(|known| (distance(known.as_str()), known.as_str().to_owned()))
        .filter(|(distance, _)| *distance <= 3.min(wanted.1.len() / 2))
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, known)| known).collect()
}

/// How many letters are put in, left out or exchanged to make one of the other.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (place, known) in other.iter().enumerate() {
            let exchanged = diagonal + usize::from(*known != letter);
            diagonal = row[place + 1];
            row[place + 1] = exchanged.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}
