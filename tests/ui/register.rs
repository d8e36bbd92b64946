//! Only tasks can be registered as types.

async fn plain(a: i64) -> i64 {
    a
}

struct NotATask;

fn worker(app: windlass::Windlass) {
    let _ = app.worker().register::<NotATask>();
    let _ = app.worker().register::<plain>();
}

fn main() {}
