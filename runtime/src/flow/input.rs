use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use windlass_core::flow::{INPUT_BYTES, Input, Reference, Stored, frame, payload};
use windlass_core::{Error, ErrorKind, Result, TaskId};

use super::Flows;
use crate::pause::in_time;

/// Places in one call.
const PAGE: u32 = 500;

impl Flows<'_> {
    /// The arguments of a task: what others have made for it, and then `rest`.
    ///
    /// # Errors
    /// Retryable if the store is away; otherwise it can never be given them, and the text says why.
    pub(crate) async fn arguments(&self, id: &TaskId, input: Input, rest: &[u8]) -> Result<Bytes> {
        let mut out = Vec::new();
        self.collect(Reference { id: id.clone(), input }, &mut out).await?;
        payload(&out, rest)
    }

    /// The values of a set, put together.
    pub(super) fn collect<'a>(
        &'a self,
        from: Reference,
        out: &'a mut Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(async move {
            let set = from.set()?;
            let (before, between, behind) = frame(from.input);
            out.extend_from_slice(before);
            let mut place = 0;
            while place < from.input.places {
                let page = place..from.input.places.min(place + PAGE);
                for value in in_time("gathered", self.notebook.gathered(&set, page.clone())).await? {
                    let value = value.ok_or_else(|| missing(&from, place))?;
                    if place > 0 {
                        out.extend_from_slice(between);
                    }
                    self.value(&value, out).await?;
                    place += 1;
                }
                if place < page.end {
                    return Err(missing(&from, place));
                }
            }
            out.extend_from_slice(behind);
            Ok(())
        })
    }

    async fn value(&self, value: &Bytes, out: &mut Vec<u8>) -> Result<()> {
        match Stored::decode(value)? {
            Stored::Json(json) => out.extend_from_slice(&json),
            Stored::Set(from) => self.collect(from, out).await?,
            Stored::OkSet(from) => {
                out.extend_from_slice(b"{\"Ok\":");
                self.collect(from, out).await?;
                out.push(b'}');
            }
        }
        if out.len() > INPUT_BYTES {
            let allowed = format_args!("at most {INPUT_BYTES} B of results for one task").to_string();
            return Err(Error::invalid("input", "more", allowed));
        }
        Ok(())
    }
}

fn missing(from: &Reference, place: u32) -> Error {
    let of = from.input.places;
    let text = format!("result {} of {of} that it needs is not kept any more (setting: Flow::keep)", place + 1);
    Error::new(ErrorKind::Invalid, "input", text)
}
