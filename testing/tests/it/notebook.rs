//! What the notebook in memory does beyond the suite: virtual time, nothing left behind, and its price.

use std::time::Duration;

use tokio::time::advance;
use windlass_core::{Backend, Expected, Heard, NoteChange, NoteKey, Notebook, Place, Retention, WriteOutcome};
use windlass_testing::{MemoryBackend, fixture};

const DAY: Duration = Duration::from_secs(86_400);

fn key(shelf: &'static str, name: impl ToString) -> NoteKey {
    NoteKey::new(shelf, name.to_string()).unwrap()
}

fn note(key: NoteKey, keep: Retention) -> NoteChange {
    NoteChange { key, expected: Expected::Anything, value: Some("1".into()), keep }
}

fn place(set: &NoteKey, place: u32, keep: Duration) -> Place {
    Place { set: set.clone(), place, value: "1".into(), keep }
}

#[tokio::test(start_paused = true)]
async fn a_notebook_holds_nothing_when_all_has_ended() {
    let backend = MemoryBackend::new();
    let shelf = fixture::shelf();
    for hours in 1..=50_u32 {
        let keep = hours * DAY / 24;
        backend.write(&[note(key(shelf, hours), Retention::For(keep))]).await.unwrap();
        backend.gather(&[place(&key(shelf, hours), hours, keep)]).await.unwrap();
    }
    assert!(!backend.is_empty());
    advance(25 * DAY / 24).await;
    assert_eq!(backend.list(shelf, None, 100).await.unwrap().notes.len(), 25);
    advance(26 * DAY / 24).await;
    assert!(backend.is_empty(), "{backend:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_again_and_again_leaves_nothing_behind() {
    let backend = MemoryBackend::new();
    let key = key(fixture::shelf(), "a");
    for _ in 0..100 {
        backend.write(&[note(key.clone(), Retention::For(DAY))]).await.unwrap();
        backend.gather(&[place(&key, 0, DAY)]).await.unwrap();
        advance(Duration::from_secs(1)).await;
    }
    // What it holds besides the two would be shown, too.
    assert!(format!("{backend:?}").len() < 2_000, "{backend:?}");
    let removal = NoteChange { value: None, ..note(key.clone(), Retention::Forever) };
    assert_eq!(backend.write(&[removal]).await.unwrap(), [WriteOutcome::Written(0)]);
    advance(DAY + Duration::from_secs(1)).await;
    assert!(backend.is_empty(), "{backend:?}");
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_gone_at_once_however_much_it_is() {
    let backend = MemoryBackend::new();
    let shelf = fixture::shelf();
    let keys: Vec<NoteKey> = (0..10_000).map(|number| key(shelf, number)).collect();
    let changes: Vec<NoteChange> = keys.iter().map(|key| note(key.clone(), Retention::For(DAY))).collect();
    let places: Vec<Place> = keys.iter().map(|key| place(key, 0, DAY)).collect();
    backend.write(&changes).await.unwrap();
    backend.gather(&places).await.unwrap();
    advance(DAY + Duration::from_secs(1)).await;
    // A step sweeps only some of them; none of the others may be seen.
    assert_eq!(backend.list(shelf, None, 100).await.unwrap().notes, []);
    let last = &keys[9_999];
    assert_eq!(backend.read(std::slice::from_ref(last)).await.unwrap(), [None]);
    assert_eq!(backend.gathered(last, 0..1).await.unwrap(), [None]);
    let anew = NoteChange { expected: Expected::Absent, ..note(last.clone(), Retention::Forever) };
    assert!(matches!(backend.write(&[anew]).await.unwrap()[..], [WriteOutcome::Written(1..)]));
    assert_eq!(backend.gather(&[place(last, 1, DAY)]).await.unwrap(), [1]);
    for _ in 0..30 {
        backend.read(&[]).await.unwrap();
    }
    assert_eq!(backend.list(shelf, None, 100).await.unwrap().notes.len(), 1, "what is new outlives the sweep");
    assert_eq!(backend.gathered(last, 0..2).await.unwrap(), [None, Some("1".into())]);
}

#[tokio::test]
async fn a_step_costs_the_same_with_many_notes() {
    let backend = MemoryBackend::new();
    let shelf = fixture::shelf();
    let one = async || {
        let start = std::time::Instant::now();
        for number in 0..1_000 {
            backend.write(&[note(key(shelf, "a"), Retention::For(DAY))]).await.unwrap();
            backend.list(shelf, Some("0"), 3).await.unwrap();
            backend.gather(&[place(&key(shelf, "set"), number, DAY)]).await.unwrap();
        }
        start.elapsed()
    };
    let small = one().await;
    let changes = (0..30_000).map(|number| note(key(shelf, number), Retention::For(DAY)));
    backend.write(&changes.collect::<Vec<_>>()).await.unwrap();
    let places: Vec<Place> = (0..30_000).map(|number| place(&key(shelf, number), 0, DAY)).collect();
    backend.gather(&places).await.unwrap();
    let large = one().await;
    // A step that walks over all notes would be hundreds of times slower.
    assert!(large < 50 * small + Duration::from_millis(100), "{small:?} and {large:?} for a thousand steps");
}

#[tokio::test]
async fn who_is_too_far_behind_is_told_so() {
    let backend = MemoryBackend::new();
    let topic = fixture::topic();
    let mut listener = backend.listen(&topic).await.unwrap();
    for number in 0..1_000 {
        backend.signal(&topic, number.to_string().into()).await.unwrap();
    }
    assert_eq!(listener.next().await.unwrap(), Heard::Missed);
    let mut last = Heard::Missed;
    while last != Heard::Signal("999".into()) {
        last = listener.next().await.unwrap();
    }
}

#[tokio::test]
async fn topics_end_with_their_listeners() {
    let backend = MemoryBackend::new();
    let topic = fixture::topic();
    let listeners = [backend.listen(&topic).await.unwrap(), backend.listen(&topic).await.unwrap()];
    assert_eq!((backend.listeners(&topic), backend.listeners("another")), (2, 0));
    drop(listeners);
    assert_eq!(backend.listeners(&topic), 0);
    assert!(!format!("{backend:?}").contains(&topic), "{backend:?}");
    backend.close().await;
    assert!(backend.listen(&topic).await.is_err());
}
