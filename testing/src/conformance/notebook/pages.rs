//! The notes of a shelf, in order and page by page.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_core::{Backend, Expected, NoteChange};

use super::scene::{Scene, put, removal};

/// Notes are listed in the order of the bytes of their names, with value and version.
pub async fn notes_are_listed_in_the_order_of_their_names(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    // As bytes they are in this order; as words or numbers, they would not be.
    let expected = ["-", ".a", "0", "10", "9", ":", "A", "Z", "_", "a", "a-b", "aB", "a_b", "aa", "ab", "b", "b0"];
    let mut shuffled = expected;
    fastrand::shuffle(&mut shuffled);
    for name in shuffled {
        scene.put(name, name).await;
    }
    let listed = scene.list(100).await;
    assert_eq!(listed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
    for (name, note) in listed {
        assert_eq!((&note.value[..], Some(&note)), (name.as_bytes(), scene.read(&name).await.as_ref()));
    }
}

/// Pages of any size show every note once, in order.
pub async fn pages_show_every_note_once(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    let names: BTreeSet<String> = (0..250).map(|number| format!("n:{number}")).collect();
    let changes: Vec<NoteChange> =
        names.iter().rev().map(|name| put(&scene.key(name), Expected::Absent, "1")).collect();
    scene.write(&changes).await;
    for size in [1, 7, 50, 250, 1_000] {
        assert!(scene.names(size).await.iter().eq(&names), "pages of {size}");
    }
}

/// Pages go on at their place while notes come and go, also if the note that a page ended with is gone.
pub async fn pages_go_on_while_notes_come_and_go(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    for name in ["b", "d", "f", "h", "j", "l"] {
        scene.put(name, "1").await;
    }
    let first = scene.page(None, 2).await;
    for gone in ["b", "d", "h"] {
        scene.change(removal(&scene.key(gone), Expected::Anything)).await;
    }
    for come in ["c", "e", "k"] {
        scene.put(come, "1").await;
    }
    let mut shown: Vec<String> = first.notes.into_iter().map(|(name, _)| name).collect();
    let mut next = first.next;
    while let Some(after) = next {
        let page = scene.page(Some(&after), 2).await;
        shown.extend(page.notes.into_iter().map(|(name, _)| name));
        next = page.next;
    }
    assert_eq!(shown, ["b", "d", "e", "f", "j", "k", "l"]);
}

/// A shelf without notes has one empty page.
pub async fn an_empty_shelf_has_an_empty_page(backend: Arc<dyn Backend>) {
    let scene = Scene::new(backend);
    assert_eq!(scene.page(None, 10).await, windlass_core::NotePage::default());
    scene.put("a", "1").await;
    assert_eq!(scene.page(None, 10).await.next, None, "there is no second page");
}
