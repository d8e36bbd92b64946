//! Periodic tasks over the stores: two schedulers, each tick one task.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use windlass::{Cadence, Config, Context, Ensured, ErrorKind, MissedTicks, Periodic, State, Windlass};

use crate::stores::{Pair, Servers};

const LIMIT: Duration = Duration::from_secs(60);

/// How often each tick of each entry has come.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<(String, String), u32>>>);

impl Seen {
    fn of(&self, name: &str) -> Vec<(String, u32)> {
        let seen = self.0.lock().expect("nobody panics with it");
        seen.iter().filter(|((entry, _), _)| entry == name).map(|((_, tick), count)| (tick.clone(), *count)).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < LIMIT, "not in time: {what}: {:?}", self.0);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[windlass::task(name = "periodic:note")]
async fn note(context: Context, seen: State<Seen>, what: String) -> String {
    let header = |name: &str| context.headers().get(name).cloned().unwrap_or_default();
    let key = (header("periodic.name"), header("periodic.tick"));
    *seen.0.0.lock().expect("nobody panics with it").entry(key).or_default() += 1;
    what
}

async fn connect(toml: &str) -> Windlass {
    let config = Config::from_toml(toml, None).expect("it is right");
    Windlass::builder().config(config).connect().await.expect("the servers run")
}

/// Two processes in one: each with connections, a worker and a scheduler of its own.
async fn program(toml: &str) {
    let apps = [connect(toml).await, connect(toml).await];
    let seen = Seen::default();
    let mut workers = Vec::new();
    for app in &apps {
        workers.push(app.worker().state(seen.clone()).register::<note>().start().await.expect("it starts"));
    }
    let [here, there] = [apps[0].periodic(), apps[1].periodic()];
    let often = || Periodic::every("1s").named("often").missed(MissedTicks::All { max: 1000 });
    let call = || note::call("x".into());
    assert_eq!(here.ensure(often(), call()).await.expect("it is added"), Ensured::Added);
    assert_eq!(there.ensure(often(), call()).await.expect("it is there"), Ensured::Unchanged);
    let yearly = Periodic::cron("0 0 1 1 *").tz("America/New_York").named("yearly");
    there.add(yearly, note::call("now".into())).await.expect("it is added");

    seen.until("five ticks", |seen| seen.of("often").len() >= 5).await;
    let now = here.run_now::<String>("yearly").await.expect("it is sent");
    assert_eq!(now.result().await.expect("it ends"), "now");

    // One of the two goes, the other one goes on.
    workers.pop().expect("there are two").shutdown().await;
    let before = seen.of("often").len();
    seen.until("three more ticks", |seen| seen.of("often").len() >= before + 3).await;

    there.pause("often").await.expect("it is there");
    let paused = there.get("often").await.expect("it is asked for").expect("it is there");
    assert!(paused.paused && paused.next.is_none());
    // What was claimed before the pause still comes: each tick up to the last one, none twice.
    let Cadence::Every { anchor, .. } = paused.cadence else { panic!("{paused:?}") };
    let count = paused.last.since(anchor).as_secs();
    seen.until("all of them", |seen| seen.of("often").len() as u64 >= count).await;
    assert!(seen.of("often").iter().all(|(_, times)| *times == 1), "{seen:?}");
    assert_eq!(seen.of("often").len() as u64, count, "{seen:?}");

    let names = |page: windlass::PeriodicPage| page.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(names(there.list(None).await.expect("it is asked for")), ["often", "yearly"]);
    for name in ["often", "yearly"] {
        assert!(there.remove(name).await.expect("it is asked for"));
    }
    assert!(names(here.list(None).await.expect("it is asked for")).is_empty());
    workers.pop().expect("there is one").shutdown().await;
    for app in &apps {
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schedulers_bring_each_tick_once_on_every_pair() {
    let servers = Servers::default();
    for pair in Pair::ALL {
        println!("{pair:?}");
        program(&servers.toml(pair)).await;
    }
}

#[tokio::test]
async fn sections_of_the_configuration_become_entries() {
    let toml = "
        [broker]
        url = 'memory://'
        [[periodic]]
        task = 'report'
        args = ['all', 7, { deep = true }]
        cron = '0 3 * * *'
        tz = 'Europe/Berlin'
        missed = 'all 5'
        queue = 'reports'
        [[periodic]]
        name = 'often'
        task = 'sync'
        every = '10m'
    ";
    let app = connect(toml).await;
    let page = app.periodic().list(None).await.expect("memory keeps entries");
    let [often, report] = &page.entries[..] else { panic!("{page:?}") };
    assert_eq!((often.name.as_str(), often.cadence.to_string()), ("often", "every 600s".to_owned()));
    assert_eq!(report.cadence.to_string(), "0 3 * * * (Europe/Berlin)");
    assert_eq!(&report.message.payload[..], br#"["all",7,{"deep":true}]"#);
    assert_eq!((report.message.queue.as_str(), report.missed), ("reports", MissedTicks::All { max: 5 }));
}

#[tokio::test]
async fn a_bad_section_is_refused_before_anything_is_connected() {
    let table = [
        ("cron = '0 3 * *'", "(4 fields)"),
        ("cron = '0 25 * * *'", "the hour, \"25\" at byte 2"),
        ("cron = '0 3 * * *'\ntz = 'Europe/Berln'", "Europe/Berlin"),
        ("cron = '0 3 * * *'\nevery = '10m'", "either cron or every"),
        ("queue = 'x'", "either cron or every"),
        ("every = '10m'\nmissed = 'never'", "skip, once, or all and a number"),
        ("every = '10m'\nmissed = 'all 0'", "all up to 1"),
        ("every = '10ms'", "1s to 366d"),
        ("every = '10m'\nqueue = 'a b'", "queue"),
    ];
    for (lines, part) in table {
        // Nobody is there: what is wrong is told all the same.
        let toml = format!("[broker]\nurl = 'redis://127.0.0.1:1'\n[[periodic]]\ntask = 'report'\n{lines}\n");
        let config = Config::from_toml(&toml, None).expect("it can be read");
        let error = Windlass::builder().config(config).connect().await.expect_err("it is wrong");
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Config), "{error}");
        assert!(error.to_string().contains(part) && error.to_string().contains("report"), "{part:?}: {error}");
    }
}

#[tokio::test]
async fn without_a_backend_entries_are_refused() {
    let toml = "[broker]\nurl = 'memory://'\n[backend]\nurl = 'none'\n";
    let app = connect(toml).await;
    assert_eq!(app.scheduler().map(drop).expect_err("no entries").kind(), ErrorKind::Unsupported);
    let toml = format!("{toml}[[periodic]]\ntask = 'x'\nevery = '1m'\n");
    let config = Config::from_toml(&toml, None).expect("it can be read");
    let error = Windlass::builder().config(config).connect().await.expect_err("no entries");
    assert!(error.to_string().contains("set backend.url"), "{error}");
}
