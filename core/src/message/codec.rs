//! Arguments and results to bytes and back: JSON, the arguments as an array.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// The arguments of a task: a tuple of 0 to 8 values that serde can write and read.
///
/// They travel as a JSON array, so that any language can write them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a task",
    note = "arguments are a tuple of up to 8 types that serde can write and read: `(i64,)` for one, `()` for none"
)]
pub trait Arguments: Send + 'static {
    /// How many values there are.
    const COUNT: usize;

    /// The values as bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] if a value cannot be written.
    fn encode(&self) -> Result<Bytes>;

    /// The values from bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] that says what was expected and where.
    fn decode(payload: &[u8]) -> Result<Self>
    where
        Self: Sized;
}

impl Arguments for () {
    const COUNT: usize = 0;

    fn encode(&self) -> Result<Bytes> {
        Ok(Bytes::from_static(b"[]"))
    }

    fn decode(payload: &[u8]) -> Result<Self> {
        let [] = decode::<[(); 0]>("arguments", payload)?;
        Ok(())
    }
}

macro_rules! arguments {
    ($count:literal: $($name:ident)+) => {
        impl<$($name: Serialize + DeserializeOwned + Send + 'static),+> Arguments for ($($name,)+) {
            const COUNT: usize = $count;

            fn encode(&self) -> Result<Bytes> {
                encode("arguments", self)
            }

            fn decode(payload: &[u8]) -> Result<Self> {
                decode("arguments", payload)
            }
        }
    };
}

arguments!(1: A);
arguments!(2: A B);
arguments!(3: A B C);
arguments!(4: A B C D);
arguments!(5: A B C D E);
arguments!(6: A B C D E F);
arguments!(7: A B C D E F G);
arguments!(8: A B C D E F G H);

/// Arguments of which the first can come from another task: a tuple of 1 to 8 values.
#[diagnostic::on_unimplemented(
    message = "a task with the arguments `{Self}` cannot follow another one",
    note = "what follows takes the result as its first argument, so it needs at least one"
)]
pub trait FirstRest: Arguments {
    /// The first argument.
    type First;
    /// The others: a tuple.
    type Rest: Arguments;
}

macro_rules! first_rest {
    ($first:ident $($name:ident)*) => {
        impl<$first, $($name),*> FirstRest for ($first, $($name,)*)
        where
            ($first, $($name,)*): Arguments,
            ($($name,)*): Arguments,
        {
            type First = $first;
            type Rest = ($($name,)*);
        }
    };
}

first_rest!(A);
first_rest!(A B);
first_rest!(A B C);
first_rest!(A B C D);
first_rest!(A B C D E);
first_rest!(A B C D E F);
first_rest!(A B C D E F G);
first_rest!(A B C D E F G H);

/// Writes `value`; `what` names it in the error.
///
/// # Errors
/// [`ErrorKind::Codec`] if the value cannot be written.
pub fn encode<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| codec_error(what, "cannot be encoded", error))
}

/// Reads a value; `what` names it in the error.
///
/// # Errors
/// [`ErrorKind::Codec`] that says what was expected and where.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| codec_error(what, "cannot be decoded", error))
}

fn codec_error(what: &'static str, problem: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Codec, what, format!("{problem}: {error}")).with_source(error)
}
