use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::{Instant, timeout, timeout_at};

use super::pause::Pause;
use super::{Shared, TARGET};

/// An attempt to listen that takes longer is given up.
const CONNECT: Duration = Duration::from_secs(5);
/// A listener younger than this is not doubted.
const TRUST: Duration = Duration::from_secs(60);

/// Why a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nobody rang; it is time to look.
    Nothing,
    /// Somebody wrote, or may have while nobody listened.
    Written,
    /// Somebody wants refused rows tried again.
    Retry,
}

/// Wakes a relay when a transaction that wrote to the outbox has committed.
///
/// Only a hint. The listener has a connection of its own, so that it takes none from the
/// application's pool; whatever is wrong with it, it is thrown away and made anew.
pub(super) struct Bell {
    shared: Arc<Shared>,
    listener: Option<PgListener>,
    since: Instant,
    pause: Pause,
    not_before: Instant,
}

impl Bell {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self { shared, listener: None, since: now, pause: Pause::default(), not_before: now }
    }

    /// Waits for a ring, at most `poll`.
    ///
    /// # Cancel safety
    /// A ring may be lost.
    pub(super) async fn wait(&mut self, poll: Duration) -> Heard {
        let until = Instant::now() + poll;
        if self.listener.is_none() && self.listen().await {
            // What was written before somebody listened has rung for nobody.
            return Heard::Written;
        }
        let Some(listener) = &mut self.listener else {
            tokio::time::sleep_until(until).await;
            return Heard::Nothing;
        };
        let mut heard = match timeout_at(until, listener.try_recv()).await {
            Err(_) => return Heard::Nothing,
            Ok(Ok(Some(ring))) => read(ring.payload()),
            Ok(lost) => return self.lost(lost.err()),
        };
        // Many transactions may have committed meanwhile; one look finds them all.
        while let Ok(more) = timeout(Duration::ZERO, listener.try_recv()).await {
            match more {
                Ok(Some(ring)) if read(ring.payload()) == Heard::Retry => heard = Heard::Retry,
                Ok(Some(_)) => {}
                lost => {
                    self.lost(lost.err());
                    break;
                }
            }
        }
        heard
    }

    /// A poll has found what nobody has announced: the connection may be dead without a sign.
    pub(super) fn doubt(&mut self) {
        if self.since.elapsed() > TRUST {
            self.listener = None;
        }
    }

    async fn listen(&mut self) -> bool {
        // Behind a proxy that cannot pass notifications on, there are no options.
        let due = Instant::now() >= self.not_before;
        let Some(options) = self.shared.listen_options().filter(|_| due) else { return false };
        match timeout(CONNECT, connect(options, &self.shared.channel)).await {
            Ok(Ok(listener)) => {
                self.listener = Some(listener);
                self.since = Instant::now();
                self.pause.reset();
                true
            }
            Ok(Err(error)) => self.not_listening(&error),
            Err(elapsed) => self.not_listening(&elapsed),
        }
    }

    fn not_listening(&mut self, error: &dyn std::error::Error) -> bool {
        if self.pause.is_news() {
            tracing::warn!(target: TARGET, %error, "cannot listen for written messages; looking at intervals");
        }
        self.not_before = Instant::now() + self.pause.next();
        false
    }

    fn lost(&mut self, error: Option<sqlx::Error>) -> Heard {
        self.listener = None;
        self.not_before = Instant::now();
        match error {
            Some(error) => tracing::debug!(target: TARGET, %error, "the listening connection was lost"),
            None => tracing::debug!(target: TARGET, "the listening connection was lost"),
        }
        Heard::Written
    }
}

fn read(payload: &str) -> Heard {
    if payload == "stuck" { Heard::Retry } else { Heard::Written }
}

async fn connect(options: PgConnectOptions, channel: &str) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    Ok(listener)
}
