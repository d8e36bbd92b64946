//! What an application defines: tasks, what they are given, and what they may answer.

mod call;
mod children;
mod context;
mod definition;
mod error;
mod handler;
mod registry;

pub use call::{After, Call, CallParts, Complete, Step};
pub use children::{Children, Enqueue, Enqueued};
pub use context::{Context, ContextParts, FromContext, Interrupt, Report, Reports, Shared, Signal, State};
pub use definition::{Task, TaskDef};
pub use error::{TaskError, Verdict};
pub use handler::{Answer, Erased, Handler, IntoAnswer, Job, Work};
pub use registry::{Registered, Registry};
