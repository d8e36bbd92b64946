use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::TaskId;
use crate::time::millis;

/// What a message knows about the flow that its task belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowPart {
    /// The whole.
    pub flow: TaskId,
    /// How long what the flow needs is kept.
    pub keep: Duration,
    /// What the task is given as its first argument; `None` if its payload is all.
    pub input: Option<Input>,
    /// What follows when it has ended.
    pub next: Vec<Link>,
}

/// The first argument of a task, which other tasks make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// How many results it is made of.
    pub places: u32,
    /// How they are put together.
    pub shape: Shape,
}

/// How results are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// The only one, as it is.
    One,
    /// A list, in the order of the places.
    List,
    /// A tuple, in the order of the places.
    Tuple,
}

/// A task that follows from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which task.
    pub to: TaskId,
    /// Which place of its input the result takes.
    pub place: u32,
    /// How many places there are.
    pub of: u32,
    /// After which end it follows.
    pub when: When,
}

/// After which end of a task another one follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It succeeded; otherwise the follower fails too.
    Success,
    /// It failed, was cancelled or expired; otherwise the follower is not needed.
    Failure,
    /// It ended, however that was: the follower is given a `Result`.
    End,
}

impl Shape {
    const ALL: [Self; 3] = [Self::One, Self::List, Self::Tuple];

    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::List => "list",
            Self::Tuple => "tuple",
        }
    }
}

impl When {
    const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::End];

    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::End => "end",
        }
    }
}

impl FlowPart {
    /// A part that needs nothing and that nothing follows from.
    pub fn new(flow: TaskId, keep: Duration) -> Self {
        Self { flow, keep, input: None, next: Vec::new() }
    }

    /// The value of the line `flow`: the id of the whole and how long it is kept, in milliseconds.
    pub(crate) fn head(&self) -> String {
        format!("{} {}", self.flow, millis(self.keep))
    }

    /// Reads what [`FlowPart::head`] has written.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (flow, keep) = text.split_once(' ')?;
        Some(Self::new(TaskId::new(flow).ok()?, Duration::from_millis(keep.parse().ok()?)))
    }
}

/// `<places> <shape>`.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.places, self.shape.as_str())
    }
}

impl FromStr for Input {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (places, shape) = text.split_once(' ').ok_or(())?;
        let shape = Shape::ALL.into_iter().find(|known| known.as_str() == shape).ok_or(())?;
        Ok(Self { places: places.parse().map_err(drop)?, shape })
    }
}

/// `<id> <place>/<of> <when>`.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} {}", self.to, self.place, self.of, self.when.as_str())
    }
}

impl FromStr for Link {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(());
        let to = TaskId::new(word()?).map_err(drop)?;
        let (place, of) = word()?.split_once('/').ok_or(())?;
        let when = word()?;
        let when = When::ALL.into_iter().find(|known| known.as_str() == when).ok_or(())?;
        Ok(Self { to, place: place.parse().map_err(drop)?, of: of.parse().map_err(drop)?, when })
    }
}
