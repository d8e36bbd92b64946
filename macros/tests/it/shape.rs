//! What the generated type is.

use windlass::task;
use windlass_core::Task;

use crate::support::{now, sent};

mod inner {
    use super::task;

    /// Adds.
    #[task]
    #[must_use]
    pub(crate) async fn visible(a: u8) -> u8 {
        a
    }

    pub(super) mod deeper {
        #[crate::task]
        pub(in crate::shape) async fn scoped() {}
    }
}

#[test]
fn the_type_is_as_visible_as_the_function() {
    assert_eq!(sent(inner::visible::call(1)).0, "visible");
    assert_eq!(sent(inner::deeper::scoped::call()).0, "scoped");
    assert_eq!(now(inner::visible(1)), 1);
}

#[test]
fn one_import_brings_function_and_type() {
    use inner::visible;
    assert_eq!(now(visible(1)), 1);
    assert_eq!(sent(visible::call(1)).1, "[1]");
}

#[task(queue = "math", max_retries = 3)]
async fn three(_context: windlass_core::Context, a: u8, b: String, c: bool) -> usize {
    usize::from(a) + b.len() + usize::from(c)
}

#[test]
fn a_step_lacks_the_first_argument_and_asks_for_the_same() {
    let step: windlass_core::task::Step<u8, usize> = three::step("x".to_owned(), true);
    let parts = step.into_parts().unwrap();
    assert_eq!((parts.task.as_str(), &parts.payload[..]), ("three", &b"[\"x\",true]"[..]));
    assert_eq!((parts.task_options.max_retries, parts.task_options.queue.unwrap().as_str()), (Some(3), "math"));
    let alone: windlass_core::task::Step<u8, u8> = inner::visible::step();
    assert_eq!(&alone.into_parts().unwrap().payload[..], b"[]");
}

#[test]
fn the_type_is_small_and_ordinary() {
    fn ordinary<T: Copy + std::fmt::Debug + Send + Sync + Unpin + 'static>(_: T) -> usize {
        size_of::<T>()
    }
    assert_eq!(ordinary(inner::visible {}), 0);
    assert_eq!(format!("{:?}", inner::visible {}), "visible");
}

#[test]
fn a_task_may_stand_inside_a_function() {
    struct Local;
    #[task(name = "local")]
    async fn local(number: i32) -> i32 {
        let _ = Local;
        number
    }
    assert_eq!(local::NAME, "local");
    assert_eq!(now(local(1)), 1);
}

#[task]
#[cfg(any())]
async fn absent(missing: DoesNotExist) {}

#[task]
#[cfg(not(any()))]
async fn present() {}

#[test]
fn cfg_below_the_attribute_counts_for_the_type_too() {
    // `absent` compiles although its type does not exist.
    assert_eq!(present::NAME, "present");
}

#[task]
async fn r#type(r#match: u8) -> u8 {
    r#match
}

#[test]
fn raw_names_lose_their_mark() {
    assert_eq!(r#type::NAME, "type");
    assert_eq!(sent(r#type::call(1)).1, "[1]");
}
