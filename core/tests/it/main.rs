//! Tests of the core.
use windlass_core::task::{Erased, State};
use windlass_core::{Context, TaskError};

async fn add(a: i64, b: i64) -> i64 { a + b }
async fn two(_cx: Context, _db: State<String>, a: String) -> Result<i64, std::num::ParseIntError> { a.parse() }
fn sync_fn(a: u8) -> Result<String, TaskError> { Ok(a.to_string()) }
fn sync_str(a: u8) -> Result<String, String> { Ok(a.to_string()) }

fn of<A: windlass_core::message::Arguments, O: serde::Serialize + Send + 'static, M>(_d: windlass_core::TaskDef<A, O>, h: impl windlass_core::task::Handler<A, O, M>) -> Erased { Erased::of_fn(h) }

#[test]
fn infer() {
    use windlass_core::TaskDef;
    of(TaskDef::<(i64, i64), i64>::new("x"), add);
    of(TaskDef::<(String,), i64>::new("x"), two);
    of(TaskDef::<(u8,), String>::new("x"), sync_fn);
    of(TaskDef::<(u8,), String>::new("x"), sync_str);
    of(TaskDef::<(), ()>::new("x"), || ());
    of(TaskDef::<(i64, i64), i64>::new("x"), |a: i64, b: i64| async move { a + b });
    of(TaskDef::<(i64, i64), i64>::new("x"), |a: i64, b: i64| async move { Err::<i64, TaskError>(TaskError::permanent(format!("{a}{b}"))) });
}
