//! The connection that hears what is announced. Only a hint: whatever is wrong with it, it is thrown
//! away and made anew, and everything that is waited for is looked up.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};

use crate::board::Board;
use crate::connection::pause;
use crate::opener::Opener;

/// After this long without a word, the server is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);

/// Listens as long as the backend lives.
pub(crate) async fn serve(board: Arc<Board>, channel: String) {
    let opener = board.store.link.opener().clone();
    let mut attempts = 0;
    loop {
        match open(&opener, &channel).await {
            Ok(listener) => {
                attempts = 0;
                board.hears_anew();
                let cause = hear(listener, &board, opener.config.connect_timeout).await;
                tracing::debug!(target: "windlass::backend::postgres", "the listening connection was lost: {cause}");
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

async fn open(opener: &Opener, channel: &str) -> Result<PgListener, String> {
    let limit = opener.config.connect_timeout;
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(limit);
    let pool = pool.connect_lazy_with(opener.options());
    let opening = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        // It reconnects for some errors only, so never by itself.
        listener.eager_reconnect(false);
        listener.listen(channel).await.map(|()| listener)
    };
    match timeout(limit, opening).await {
        Ok(opened) => opened.map_err(|error: sqlx::Error| error.to_string()),
        Err(elapsed) => Err(elapsed.to_string()),
    }
}

/// Passes on what is announced, until the connection is of no use any more; answers why.
async fn hear(mut listener: PgListener, board: &Board, patience: Duration) -> String {
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(notice))) => board.announced(notice.payload()),
            Ok(Ok(None)) => return "closed by the server".to_owned(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => match timeout(patience, listener.execute("SELECT")).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(elapsed) => return elapsed.to_string(),
            },
        }
    }
}
