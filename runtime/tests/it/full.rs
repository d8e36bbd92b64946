//! Queues that may hold only so much.

use windlass_core::broker::Overflow;
use windlass_core::{Capabilities, ErrorKind, QueueLimit};
use windlass_runtime::ClientSettings;
use windlass_testing::Harness;

use crate::support::{WORK, dead};

fn settings(max: u64, overflow: Overflow) -> ClientSettings {
    let mut settings = ClientSettings::default();
    settings.limits.insert("mail".parse().unwrap(), QueueLimit { max, overflow });
    settings
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_the_call_and_says_all_that_helps() {
    let harness = Harness::with_settings(settings(2, Overflow::Reject));
    let handles = harness.client().enqueue_many((0..4).map(|n| WORK.call((n,)).queue("mail"))).await;
    let accepted: Vec<bool> = handles.iter().map(Result::is_ok).collect();
    assert_eq!(accepted, [true, true, false, false]);
    let error = harness.enqueue(WORK.call((4,)).queue("mail").delay("1h").id("late")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(!error.is_retryable());
    for part in ["queue mail is full", "2 tasks wait, 2 may", "queues.mail.max_length", "nothing was enqueued", "late"]
    {
        assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
    }
    // Another queue has no limit, and a queue that was emptied has room again.
    harness.enqueue(WORK.call((5,))).await.unwrap();
    assert_eq!(harness.client().queue("mail").unwrap().purge().await.unwrap(), 2);
    assert!(harness.enqueue(WORK.call((6,)).queue("mail")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_can_drop_its_oldest_instead() {
    let harness = Harness::with_settings(settings(2, Overflow::DropOldest));
    for n in 0..5 {
        harness.enqueue(WORK.call((n,)).queue("mail")).await.unwrap();
    }
    assert_eq!(harness.broker().counts().queued, 2);
    let page = harness.client().dead("mail").unwrap().list(None, 10).await.unwrap();
    assert_eq!(page.letters.len(), 3);
    assert!(page.letters[0].reason.contains("full"), "{}", page.letters[0].reason);
    assert!(dead(&harness).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_move_is_not_held_up_by_the_limit() {
    let harness = Harness::with_settings(settings(1, Overflow::Reject));
    for n in 0..5 {
        harness.enqueue(WORK.call((n,))).await.unwrap();
    }
    assert_eq!(harness.client().queue("default").unwrap().move_to("mail").await.unwrap(), 5);
    assert_eq!(harness.enqueue(WORK.call((9,)).queue("mail")).await.unwrap_err().kind(), ErrorKind::Full);
}

#[test]
fn a_broker_that_cannot_keep_a_limit_is_refused_with_the_cure() {
    let mut capabilities = Capabilities::all("pigeons");
    assert!(settings(1, Overflow::DropOldest).check(&capabilities).is_ok());
    capabilities.drop_oldest = false;
    assert!(settings(1, Overflow::Reject).check(&capabilities).is_ok());
    let oldest = settings(1, Overflow::DropOldest).check(&capabilities).unwrap_err();
    capabilities.limit = false;
    assert!(ClientSettings::default().check(&capabilities).is_ok());
    let none = settings(1, Overflow::Reject).check(&capabilities).unwrap_err();
    for (error, parts) in [
        (oldest, ["queues.mail.overflow", "drop-oldest", "pigeons", "\"reject\""]),
        (none, ["queues.mail.max_length", "pigeons cannot", "remove the key", "another broker"]),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
        }
    }
}
