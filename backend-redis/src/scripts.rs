//! The scripts that run inside Redis, and how they are called.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, Script, ServerErrorKind};

/// All scripts of this backend; the head of each file says what it takes and returns.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) save: Script,
    pub(crate) register: Script,
    pub(crate) unregister: Script,
    pub(crate) note: Script,
    pub(crate) tidy: Script,
    pub(crate) gather: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            save: Script::new(include_str!("lua/save.lua")),
            register: Script::new(include_str!("lua/register.lua")),
            unregister: Script::new(include_str!("lua/unregister.lua")),
            note: Script::new(include_str!("lua/note.lua")),
            tidy: Script::new(include_str!("lua/tidy.lua")),
            gather: Script::new(include_str!("lua/gather.lua")),
        }
    }
}

/// A call of `script` with `keys` keys; the caller adds those, then the arguments.
///
/// Built by hand because the driver's own builder copies every argument once more.
pub(crate) fn call(script: &Script, keys: usize, arguments: usize, bytes: usize) -> Cmd {
    // The names and lengths in front of the caller's own.
    let mut call = Cmd::with_capacity(3 + keys + arguments, 64 + bytes);
    call.arg("EVALSHA").arg(script.get_hash()).arg(keys);
    call
}

/// Runs a call; a server that does not know the script (any more) is given it.
pub(crate) async fn run<T: FromRedisValue>(
    script: &Script,
    call: &Cmd,
    connection: &mut MultiplexedConnection,
) -> RedisResult<T> {
    match call.query_async(connection).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            script.load_async(connection).await?;
            call.query_async(connection).await
        }
        answer => answer,
    }
}
