//! What stands around a task must not matter.

use windlass_core::{Shared, Task};

use crate::support::{now, run, sent};

/// A module that hides everything the expansion might lean on, and denies what it might cause.
#[deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    unused_qualifications
)]
mod hostile {
    #![allow(dead_code, non_camel_case_types, clippy::unused_async, reason = "these things are here to be in the way")]

    pub(crate) struct Option;
    pub(crate) struct Box;
    pub(crate) struct Send;
    pub(crate) struct Call;
    pub(crate) struct Task;
    pub(crate) struct TaskError;
    pub(crate) struct Options;
    pub(crate) struct Work;
    pub(crate) mod std {}
    pub(crate) mod core {}
    pub(crate) mod windlass {}
    #[allow(non_snake_case, reason = "it is in the way")]
    pub(crate) fn Some() {}
    pub(crate) const CONTEXT: u8 = 1;
    pub(crate) type Wanted<T> = ::std::result::Result<T, ::std::string::String>;

    /// Its parameters have the names of the locals of the expansion, of itself, and of prelude values.
    #[crate::task(queue = "math", timeout = "1s", result_ttl = "1h", retry_on = "errors", backoff = "fixed 1s")]
    pub(crate) async fn argument0(context: u8, argument1: u8, argument0: u8, given0: u8) -> u8 {
        context + argument1 + argument0 + given0
    }

    /// As above, on a thread.
    #[crate::task]
    pub(crate) fn context(call: u8, run: u8) -> ::std::result::Result<u8, ::std::string::String> {
        call.checked_add(run).ok_or_else(|| "too much".into())
    }

    /// Takes more than seven arguments, by value.
    #[crate::task]
    #[allow(clippy::too_many_arguments, clippy::many_single_char_names, reason = "a task may")]
    pub(crate) async fn many(a: ::std::string::String, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> usize {
        a.len() + [b, c, d, e, f, g, h].map(usize::from).iter().sum::<usize>()
    }

    #[crate::task]
    #[deprecated(note = "use another")]
    pub(crate) async fn old() {}
}

#[test]
fn names_around_it_do_not_matter() {
    assert_eq!(run::<hostile::argument0>(Shared::default(), "[1,2,3,4]"), Ok("10".to_owned()));
    assert_eq!(run::<hostile::context>(Shared::default(), "[1,2]"), Ok("3".to_owned()));
    assert_eq!(sent(hostile::argument0::call(1, 2, 3, 4)).1, "[1,2,3,4]");
    assert_eq!(now(hostile::many(String::new(), 1, 2, 3, 4, 5, 6, 7)), 28);
    assert_eq!(hostile::Wanted::<u8>::Ok(hostile::CONTEXT), Ok(1));
}

#[test]
#[expect(deprecated, reason = "that is what is tested")]
fn a_deprecated_function_gives_a_deprecated_type() {
    assert_eq!(<hostile::old as Task>::NAME, "old");
}

mod renamed {
    pub(crate) mod queue {
        pub(crate) use crate::__private;
    }
}

#[windlass::task(crate = "crate::hygiene::renamed::queue")]
async fn elsewhere(a: u8) -> u8 {
    a
}

#[test]
fn the_facade_may_have_another_path() {
    assert_eq!(run::<elsewhere>(Shared::default(), "[1]"), Ok("1".to_owned()));
}

macro_rules! tasks {
    ($($name:ident: $ty:ty),*) => {
        $(#[windlass::task]
        async fn $name(value: $ty) -> $ty {
            value
        })*
    };
}

tasks!(first: u8, second: String);

#[test]
fn other_macros_may_write_tasks() {
    assert_eq!(run::<first>(Shared::default(), "[1]"), Ok("1".to_owned()));
    assert_eq!(sent(second::call("x".to_owned())), ("second".to_owned(), "[\"x\"]".to_owned()));
}
