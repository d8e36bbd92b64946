//! The connection that hears what is announced and signalled. It is there while somebody waits or
//! listens. Only a hint: whatever is wrong with it, it is thrown away and made anew, everything that is
//! waited for is looked up, and those who listen are told that they may have missed something.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::board::Board;
use crate::config::PostgresBackendConfig;
use crate::connection::pause;
use crate::notebook::Ears;
use crate::opener::Opener;

/// After this long, the server is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);
/// After so many polls without anybody who waits or listens, the connection is closed.
const LINGER_POLLS: u32 = 10;

/// For whom the connection hears.
pub(crate) struct Audience {
    board: Arc<Board>,
    pub(crate) ears: Arc<Ears>,
    /// Where ends are announced.
    results: String,
    signals: String,
    /// Told when somebody comes.
    pub(crate) wanted: Notify,
}

impl Audience {
    /// `channels` are those of results and of signals.
    pub(crate) fn new(board: Arc<Board>, ears: Arc<Ears>, channels: [String; 2]) -> Self {
        let [results, signals] = channels;
        Self { board, ears, results, signals, wanted: Notify::new() }
    }

    fn is_there(&self) -> bool {
        self.board.waiting() > 0 || self.ears.is_wanted()
    }
}

/// Listens as long as the backend lives.
pub(crate) async fn serve(audience: Arc<Audience>) {
    let opener = audience.board.store.link.opener().clone();
    let mut attempts = 0;
    loop {
        while !audience.is_there() {
            audience.wanted.notified().await;
        }
        match open(&opener, &audience).await {
            Ok(listener) => {
                attempts = 0;
                audience.board.hears_anew();
                audience.ears.hears_anew();
                let cause = hear(listener, &audience, &opener.config).await;
                audience.ears.is_deaf();
                tracing::debug!(target: "windlass::backend::postgres", "the listening connection has ended: {cause}");
            }
            Err(cause) => {
                if attempts == 0 {
                    tracing::warn!(target: "windlass::backend::postgres", "cannot listen, polling: {cause}");
                }
                attempts += 1;
            }
        }
        sleep(pause(attempts)).await;
    }
}

async fn open(opener: &Opener, audience: &Audience) -> Result<PgListener, String> {
    let limit = opener.config.connect_timeout;
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(limit);
    let pool = pool.connect_lazy_with(opener.options());
    let opening = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        // It reconnects for some errors only, so never by itself.
        listener.eager_reconnect(false);
        listener.listen_all([&*audience.results, &*audience.signals]).await.map(|()| listener)
    };
    match timeout(limit, opening).await {
        Ok(opened) => opened.map_err(|error: sqlx::Error| error.to_string()),
        Err(elapsed) => Err(elapsed.to_string()),
    }
}

/// Passes on what is heard, until the connection is of no use any more or nobody wants it; answers why.
async fn hear(mut listener: PgListener, audience: &Audience, config: &PostgresBackendConfig) -> String {
    let span = SILENCE.min(config.poll * LINGER_POLLS);
    let mut asked = Instant::now();
    let mut check = asked + span;
    loop {
        match timeout_at(check, listener.try_recv()).await {
            Ok(Ok(Some(notice))) if notice.channel() == audience.signals => audience.ears.heard(notice.payload()),
            Ok(Ok(Some(notice))) => audience.board.announced(notice.payload()),
            Ok(Ok(None)) => return "closed by the server".to_owned(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) if !audience.is_there() => return "nobody waits".to_owned(),
            Err(_) => {
                if asked.elapsed() >= SILENCE {
                    match timeout(config.connect_timeout, listener.execute("SELECT")).await {
                        Ok(Ok(_)) => asked = Instant::now(),
                        Ok(Err(error)) => return error.to_string(),
                        Err(elapsed) => return elapsed.to_string(),
                    }
                }
                check = Instant::now() + span;
            }
        }
    }
}
