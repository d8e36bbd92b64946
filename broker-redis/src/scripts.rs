//! The server-side steps: one script each, and how a call of one is written.

use std::sync::LazyLock;

use redis::{Cmd, Script, Value};
use windlass_core::{Error, ErrorKind, Result};

use crate::keys::{Keys, Part};

/// A script, the keys it always gets, and what a lost answer means.
#[derive(Debug)]
pub(crate) struct Step {
    /// For error texts.
    pub(crate) operation: &'static str,
    /// Whether nobody can tell, after a lost answer, if it was applied, and the caller must know.
    pub(crate) unknown: bool,
    parts: &'static [Part],
    script: LazyLock<Script>,
}

macro_rules! step {
    ($name:ident, $operation:literal, unknown: $unknown:literal, $($file:literal)+, [$($part:ident)+]) => {
        pub(crate) static $name: Step = Step {
            operation: $operation,
            unknown: $unknown,
            parts: &[$(Part::$part),+],
            script: LazyLock::new(|| Script::new(concat!($(include_str!($file)),+))),
        };
    };
}

step!(PUBLISH, "publish", unknown: true, "lua/levels.lua" "lua/bury.lua" "lua/drop.lua" "lua/publish.lua",
    [Ready Critical High Low Level Body Sched Bell Dead]);
step!(FETCH, "fetch", unknown: false, "lua/levels.lua" "lua/fetch.lua",
    [Ready Critical High Low Level Body Sched Lease Solo Claims Left Owner Meta Seq Bell Lost]);
step!(EXTEND, "extend", unknown: false, "lua/extend.lua", [Lease Solo Left Owner]);
step!(SETTLE, "settle", unknown: true, "lua/levels.lua" "lua/bury.lua" "lua/settle.lua",
    [Ready Critical High Low Level Body Sched Lease Solo Claims Left Owner Meta Bell Lost Dead DeadBody DeadInfo]);
step!(CANCEL, "cancel", unknown: true, "lua/cancel.lua", [Body Owner Sched Meta Level]);
step!(LOCATE, "locate", unknown: false, "lua/locate.lua", [Body Owner Sched Meta Dead]);
step!(DEAD, "dead_letters", unknown: false, "lua/dead.lua", [Dead DeadBody DeadInfo]);
step!(REPLAY, "replay", unknown: true, "lua/levels.lua" "lua/replay.lua",
    [Ready Critical High Low Level Body Bell Dead DeadBody DeadInfo]);
step!(DISCARD, "discard", unknown: true, "lua/discard.lua", [Dead DeadBody DeadInfo]);
step!(RING, "ring", unknown: false, "lua/ring.lua", [Bell]);

/// A step with its keys and arguments, ready to be sent, more than once if need be.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) step: &'static Step,
    pub(crate) command: Cmd,
}

impl Step {
    /// Begins a call. `more` writes further keys; `arguments` and `bytes` are estimates.
    pub(crate) fn begin(
        &'static self,
        keys: &mut Keys,
        more: usize,
        write_more: impl FnOnce(&mut Keys, &mut Cmd),
        arguments: usize,
        bytes: usize,
    ) -> Call {
        let count = self.parts.len() + more;
        let mut command = Cmd::with_capacity(3 + count + arguments, 64 * (1 + count) + bytes);
        command.arg("EVALSHA").arg(self.script.get_hash()).arg(count);
        for part in self.parts {
            command.arg(keys.part(*part));
        }
        write_more(keys, &mut command);
        Call { step: self, command }
    }

    /// Begins a call without further keys.
    pub(crate) fn call(&'static self, keys: &mut Keys, arguments: usize, bytes: usize) -> Call {
        self.begin(keys, 0, |_, _| {}, arguments, bytes)
    }

    /// The script itself, for a server that does not know it (any more).
    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    /// An answer that none of our scripts gives.
    pub(crate) fn unexpected(&self, answer: &Value) -> Error {
        let shape = match answer {
            Value::Nil => "nothing",
            Value::Int(_) => "a number",
            Value::BulkString(_) | Value::SimpleString(_) => "a text",
            Value::Array(_) => "a list",
            _ => "something else",
        };
        Error::new(ErrorKind::Internal, self.operation, format!("the script answered {shape}, which it never does"))
    }

    /// The answer of a script that answers with bytes.
    pub(crate) fn bytes(&self, answer: Value) -> Result<Vec<u8>> {
        match answer {
            Value::BulkString(bytes) => Ok(bytes),
            other => Err(self.unexpected(&other)),
        }
    }

    /// The answer of a script that answers with one character for each of `count` items.
    pub(crate) fn characters(&self, answer: Value, count: usize) -> Result<Vec<u8>> {
        let bytes = self.bytes(answer)?;
        if bytes.len() == count {
            return Ok(bytes);
        }
        let text = format!("the script answered for {} items instead of {count}", bytes.len());
        Err(Error::new(ErrorKind::Internal, self.operation, text))
    }
}
