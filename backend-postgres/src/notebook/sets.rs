use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, Row as _};
use windlass_core::limits::batches;
use windlass_core::{Error, ErrorKind, NoteKey, Place, Result, Retention};

use super::notes::{add_keys, not_understood};
use super::{ATTEMPTS, ITEMS};
use crate::connection::Work;
use crate::lane::Statement;
use crate::row::{arguments, lifetime};
use crate::store::Store;

/// What is to be filled of one set.
#[derive(Default)]
struct Share<'a> {
    keep: Duration,
    /// The places and their first values.
    places: BTreeMap<u32, &'a Bytes>,
}

/// What a statement has filled of one set.
struct Filled {
    /// How many places were filled before it.
    before: u32,
    places: HashSet<u32>,
}

impl Store {
    /// Fills places; the answers are in the order of `places`.
    pub(crate) async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        let mut sizes = Vec::with_capacity(places.len());
        let weight = |place: &Place| place.set.name().len() + place.value.len();
        for part in batches(places, weight).into_iter().flat_map(|batch| batch.chunks(ITEMS)) {
            let mut filled = self.fill(part).await?;
            sizes.extend(part.iter().map(|place| {
                let set = filled.get_mut(&place.set).expect("every set is filled");
                set.before += u32::from(set.places.remove(&place.place));
                set.before
            }));
        }
        Ok(sizes)
    }

    /// Fills places with one statement, and those of sets that were ending with another one.
    async fn fill<'a>(&self, places: &'a [Place]) -> Result<HashMap<&'a NoteKey, Filled>> {
        let mut open: BTreeMap<&NoteKey, Share<'_>> = BTreeMap::new();
        for place in places {
            let share = open.entry(&place.set).or_default();
            share.keep = share.keep.max(place.keep);
            share.places.entry(place.place).or_insert(&place.value);
        }
        let mut done = HashMap::with_capacity(open.len());
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                let over = arguments("gather", |arguments| add_keys(arguments, open.keys().copied()))?;
                self.link.ask("gather", Work::Write, Statement::new(&self.notebook.retire, over)).await?;
            }
            let statement = Statement::new(&self.notebook.gather, fill_arguments(&open)?);
            let rows = self.link.ask("gather", Work::Write, statement).await?;
            let keys: Vec<&NoteKey> = open.keys().copied().collect();
            for row in &rows {
                let (number, filled) = read(row).map_err(|error| not_understood("gather", error))?;
                open.remove(keys[number]);
                done.insert(keys[number], filled);
            }
            if open.is_empty() {
                return Ok(done);
            }
        }
        Err(self.link.at(Error::new(
            ErrorKind::Unknown,
            "gather",
            "the sets end again and again while they are filled",
        )))
    }

    /// The values of a range of places.
    pub(crate) async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        let mut values = vec![None; range.len()];
        let mut from = range.start;
        while from < range.end {
            let bound = |place: u32| i32::try_from(place).unwrap_or(i32::MAX);
            let arguments = arguments("gathered", |arguments| {
                arguments.add(set.shelf())?;
                arguments.add(set.name())?;
                arguments.add(bound(from))?;
                arguments.add(bound(range.end))
            })?;
            let rows =
                self.link.ask("gathered", Work::Read, Statement::new(&self.notebook.gathered, arguments)).await?;
            let mut seen = 0;
            for row in &rows {
                let (place, value, count) = read_value(row).map_err(|error| not_understood("gathered", error))?;
                values[(place - range.start) as usize] = Some(value);
                (from, seen) = (place + 1, count);
            }
            if seen < ITEMS && seen == rows.len() {
                break;
            }
        }
        Ok(values)
    }
}

fn fill_arguments(shares: &BTreeMap<&NoteKey, Share<'_>>) -> Result<PgArguments> {
    let (mut keeps, mut counts) = (Vec::new(), Vec::new());
    let (mut numbers, mut places, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (number, share) in (1_i64..).zip(shares.values()) {
        keeps.push(lifetime(Retention::For(share.keep)));
        counts.push(i32::try_from(share.places.len()).unwrap_or(i32::MAX));
        for (place, value) in &share.places {
            numbers.push(number);
            places.push(i32::try_from(*place).unwrap_or(i32::MAX));
            values.push(&value[..]);
        }
    }
    arguments("gather", |arguments| {
        add_keys(arguments, shares.keys().copied())?;
        arguments.add(keeps)?;
        arguments.add(counts)?;
        arguments.add(numbers)?;
        arguments.add(places)?;
        arguments.add(values)
    })
}

/// The place of a set among those of the statement, and what was filled of it.
fn read(row: &PgRow) -> Result<(usize, Filled), sqlx::error::BoxDynError> {
    let number = usize::try_from(row.try_get::<i64, _>(0)? - 1)?;
    let size = u32::try_from(row.try_get::<i32, _>(1)?)?;
    let places: Vec<i32> = row.try_get(2)?;
    let places = places.into_iter().map(u32::try_from).collect::<Result<HashSet<u32>, _>>()?;
    let before = size.saturating_sub(u32::try_from(places.len())?);
    Ok((number, Filled { before, places }))
}

/// A place, its value, and how many places there were in the part.
fn read_value(row: &PgRow) -> Result<(u32, Bytes, usize), sqlx::error::BoxDynError> {
    let place = u32::try_from(row.try_get::<i32, _>(0)?)?;
    let value: Vec<u8> = row.try_get(1)?;
    Ok((place, value.into(), usize::try_from(row.try_get::<i64, _>(2)?)?))
}
