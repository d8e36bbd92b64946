//! Fills and reads the places of sets.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use redis::Cmd;
use windlass_core::limits::{self, BATCH_ITEMS};
use windlass_core::notebook::PLACES;
use windlass_core::{Error, NoteKey, Place, Result, Retention};

use crate::notes::{check_count, check_value};
use crate::scripts;
use crate::store::{Store, lifetime};

/// What a place needs beside its value: its set and numbers.
const PLACE_BYTES: usize = 384;

impl Store {
    /// Fills places; answers how many places of the set of each are filled.
    pub(crate) async fn gather(&self, places: &[Place]) -> Result<Vec<u32>> {
        for place in places {
            check_value(place.value.len())?;
            check_place(place.place < PLACES, place.place)?;
        }
        let mut filled = Vec::with_capacity(places.len());
        for batch in limits::batches(places, |place| PLACE_BYTES + place.value.len()) {
            let call = self.gather_call(batch);
            let send = |mut connection| async move { scripts::run(&self.scripts.gather, &call, &mut connection).await };
            let counts: Vec<u32> = self.link.ask("gather", true, send).await?;
            check_count("gather", counts.len(), batch.len())?;
            filled.extend(counts);
        }
        Ok(filled)
    }

    fn gather_call(&self, places: &[Place]) -> Cmd {
        let mut numbers: HashMap<&NoteKey, usize> = HashMap::new();
        let mut sets = Vec::new();
        for Place { set, .. } in places {
            numbers.entry(set).or_insert_with(|| {
                sets.push(set);
                sets.len()
            });
        }
        let bytes = places.iter().map(|place| PLACE_BYTES + place.value.len()).sum();
        let mut call = scripts::call(&self.scripts.gather, sets.len(), 4 * places.len(), bytes);
        for set in sets {
            call.arg(self.keys.set(set));
        }
        for Place { set, place, value, keep } in places {
            call.arg(numbers[set]).arg(place).arg(lifetime(Retention::For(*keep))).arg(&value[..]);
        }
        call
    }

    /// The values of a range of places.
    pub(crate) async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>> {
        check_place(range.end <= PLACES, range.end)?;
        let places: Vec<u32> = range.collect();
        let mut values = Vec::with_capacity(places.len());
        for places in places.chunks(BATCH_ITEMS) {
            let mut call = redis::cmd("HMGET");
            call.arg(self.keys.set(set)).arg(places);
            let send = |mut connection| async move { call.query_async(&mut connection).await };
            let found: Vec<Option<Bytes>> = self.link.ask("gathered", false, send).await?;
            check_count("gathered", found.len(), places.len())?;
            values.extend(found);
        }
        Ok(values)
    }
}

fn check_place(is_allowed: bool, place: u32) -> Result<()> {
    if is_allowed { Ok(()) } else { Err(Error::invalid("place", place, format_args!("below {PLACES}"))) }
}
