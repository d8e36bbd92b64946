//! Tasks that follow from each other: a chain, a list of tasks whose results come together, and a graph.
//!
//! `cargo run --example workflow`, or with `-- --broker … --backend …` over other stores.

mod stores;

use windlass::{Failure, TaskError, group, join, map};

#[windlass::task]
async fn fetch(page: u32) -> String {
    format!("the text of page {page}")
}

#[windlass::task]
async fn words(text: String) -> usize {
    text.split(' ').count()
}

/// Takes the results of all pages; in a workflow they come as the first argument.
#[windlass::task]
async fn report(counts: Vec<usize>, title: String) -> String {
    format!("{title}: {} words on {} pages", counts.iter().sum::<usize>(), counts.len())
}

#[windlass::task(max_retries = 0)]
async fn translate(text: String, language: String) -> Result<String, TaskError> {
    match language.as_str() {
        "la" => Err("nobody here speaks Latin".into()),
        language => Ok(format!("[{language}] {text}")),
    }
}

#[windlass::task]
async fn publish((report, translations): (String, Vec<Result<String, Failure>>)) -> String {
    let (good, bad) = translations.iter().fold((0, 0), |(g, b), t| if t.is_ok() { (g + 1, b) } else { (g, b + 1) });
    format!("{report}; {good} translations, {bad} missing")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = stores::connect().await?;
    let worker = app.worker().register::<fetch>().register::<words>().register::<report>();
    let worker = worker.register::<translate>().register::<publish>().start().await?;

    // A chain: each takes the result of the one before as its first argument.
    let chain = fetch::call(7).then(translate::step("fr".into())).then(words::step());
    println!("a chain ends with {}", app.enqueue_flow(chain).await?.result().await?);

    // A list of chains, and a task that takes all their results when the last one has ended.
    let counted = map(1..=100, |page| fetch::call(page).then(words::step())).then(report::step("the book".into()));

    // A graph: the first page is translated twice, and one translation may fail.
    let first = fetch::call(1);
    let first = first.then(translate::step("en".into()));
    let translations =
        group([first.clone().then(translate::step("fr".into())), first.then(translate::step("la".into()))]);
    let book = join((counted, translations.settled())).then(publish::step());

    let handle = app.enqueue_flow(book).await?;
    println!("{}", handle.result().await?);
    let progress = handle.progress().await?.ok_or("it is known")?;
    println!("{} of {} tasks succeeded", progress.succeeded, progress.total());

    println!("worker: {}", worker.shutdown().await);
    app.dead("default")?.select().task("translate").discard().run().await?;
    app.close().await;
    Ok(())
}
