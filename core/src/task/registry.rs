use std::collections::HashMap;

use super::Erased;
use crate::{Error, ErrorKind, Options, Result, TaskName};

/// A handler and what its task asks for.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The handler.
    pub handler: Erased,
    /// The options of the task level.
    pub options: Options,
}

/// Which handler runs which task.
#[derive(Debug, Clone, Default)]
pub struct Registry(HashMap<TaskName, Registered>);

impl Registry {
    /// Adds a handler.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a bad name or backoff, [`ErrorKind::Config`] for a name that is taken.
    pub fn insert(&mut self, name: &str, handler: Erased, options: Options) -> Result<()> {
        let name = TaskName::new(name)?;
        if let Some(backoff) = &options.backoff {
            backoff.check().map_err(|error| error.with("task", &name))?;
        }
        if self.0.contains_key(&name) {
            return Err(Error::new(ErrorKind::Config, "register", format!("two handlers for the task {name:?}")));
        }
        self.0.insert(name, Registered { handler, options });
        Ok(())
    }

    /// The handler of that task.
    pub fn get(&self, name: &TaskName) -> Option<&Registered> {
        self.0.get(name)
    }

    /// The names that are known, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().map(TaskName::as_str).collect();
        names.sort_unstable();
        names
    }
}
