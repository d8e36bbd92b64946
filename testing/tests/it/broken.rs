//! The suites can fail: adapters with one defect each, and the guarantees that must see it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Backend, BackendCapabilities, Broker, CancelOutcome, Capabilities, DeadPage, Delivery, Disposition, FetchRequest,
    LeaseStatus, Location, Message, PublishOutcome, QueueName, Receipt, Record, Result, Retention, SaveOutcome,
    Schedule, SettleOutcome, Settlement, State, TaskId, Token,
};
use windlass_testing::conformance::{backend, broker};
use windlass_testing::{MemoryBackend, MemoryBroker};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Defect {
    #[default]
    Sound,
    AcknowledgesAtFetch,
    NoFencing,
    LosesDelayed,
    DeliversEarly,
    LastInFirstOut,
    NeverWakes,
    WakesEverybody,
    DeliversTwice,
    ReencodesPayloads,
    CountsNoLosses,
    CountsReleases,
    LosesUnknownFields,
    ForgetsIds,
    DropsUndecodable,
    ShiftsAnswers,
    LeavesDeadLettersOut,
    NoGuard,
    TellsRefusedWrites,
    TellsNobody,
    KeepsForEver,
    ReencodesResults,
}

use Defect::*;

#[derive(Debug, Default)]
struct Broken {
    broker: MemoryBroker,
    backend: MemoryBackend,
    defect: Defect,
    latest: Mutex<HashMap<TaskId, Token>>,
}

impl Broken {
    fn new(defect: Defect) -> Arc<Self> {
        Arc::new(Self { defect, ..Self::default() })
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// The receipt with the token of the latest claim.
    fn forged(&self, receipt: &Receipt) -> Receipt {
        let latest = self.latest.lock().unwrap().get(&receipt.id).copied();
        Receipt { token: latest.filter(|_| self.has(NoFencing)).unwrap_or(receipt.token), ..receipt.clone() }
    }

    async fn bend(&self, mut deliveries: Vec<Delivery>) -> Vec<Delivery> {
        for delivery in &mut deliveries {
            self.latest.lock().unwrap().insert(delivery.receipt.id.clone(), delivery.receipt.token);
            if self.has(CountsNoLosses) {
                delivery.progress.losses = 0;
            }
            if self.has(AcknowledgesAtFetch) {
                self.broker.settle(&[acknowledgement(delivery)]).await.unwrap();
            }
        }
        if self.has(DropsUndecodable) {
            deliveries.retain(|delivery| delivery.content.is_ok());
        }
        if self.has(LastInFirstOut) {
            deliveries.reverse();
        }
        deliveries
    }
}

fn acknowledgement(delivery: &Delivery) -> Settlement {
    Settlement {
        receipt: delivery.receipt.clone(),
        disposition: Disposition::Acknowledge,
        progress: delivery.progress,
        state: State::Succeeded,
        remember: None,
        reason: None,
    }
}

fn lossy(bytes: &[u8]) -> bytes::Bytes {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[async_trait]
impl Broker for Broken {
    fn capabilities(&self) -> Capabilities {
        self.broker.capabilities()
    }

    async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>> {
        let mut outcomes = Vec::new();
        for message in messages {
            let mut message = message.clone();
            match self.defect {
                LosesDelayed if message.schedule != Schedule::Now => {
                    outcomes.push(PublishOutcome::Accepted);
                    continue;
                }
                DeliversEarly => message.schedule = Schedule::Now,
                ReencodesPayloads => message.payload = lossy(&message.payload),
                LosesUnknownFields => message.unknown.clear(),
                ForgetsIds => message.id = windlass_testing::fixture::task_id(),
                _ => {}
            }
            outcomes.extend(self.broker.publish(&[message]).await?);
        }
        Ok(outcomes)
    }

    async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()> {
        match self.defect {
            NeverWakes => tokio::time::sleep(wait).await,
            WakesEverybody => tokio::time::sleep(wait.min(Duration::from_millis(500))).await,
            _ => self.broker.ready(queue, wait).await?,
        }
        Ok(())
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>> {
        let request = FetchRequest { max: if self.has(DeliversTwice) { 1 } else { request.max }, ..request.clone() };
        let mut deliveries = self.broker.fetch(&request).await?;
        if self.has(DeliversTwice) && fastrand::u8(..100) == 0 {
            deliveries.extend(deliveries.clone());
        }
        Ok(self.bend(deliveries).await)
    }

    async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>> {
        let receipts: Vec<Receipt> = receipts.iter().map(|receipt| self.forged(receipt)).collect();
        self.broker.extend(&receipts, lease).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>> {
        let mut settlements = settlements.to_vec();
        for settlement in &mut settlements {
            settlement.receipt = self.forged(&settlement.receipt);
            if self.has(CountsReleases) && settlement.disposition == Disposition::Release {
                settlement.progress.failures += 1;
            }
        }
        let mut outcomes = self.broker.settle(&settlements).await?;
        if self.has(ShiftsAnswers) && !outcomes.is_empty() {
            outcomes.rotate_left(1);
        }
        Ok(outcomes)
    }

    async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome> {
        self.broker.cancel(queue, id).await
    }

    async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>> {
        self.broker.locate(queue, id).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, max: usize) -> Result<DeadPage> {
        let mut page = self.broker.dead_letters(queue, cursor, max).await?;
        if self.has(LeavesDeadLettersOut) && page.next.is_some() {
            page.letters.pop();
        }
        Ok(page)
    }

    async fn replay(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize> {
        self.broker.replay(queue, ids).await
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

#[async_trait]
impl Backend for Broken {
    fn capabilities(&self) -> BackendCapabilities {
        Backend::capabilities(&self.backend)
    }

    async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>> {
        let mut outcomes = Vec::new();
        for record in records {
            let mut record = record.clone();
            match self.defect {
                NoGuard => self.backend.forget(std::slice::from_ref(&record.id)).await?,
                KeepsForEver => (record.status_ttl, record.result_ttl) = (Retention::Forever, Retention::Forever),
                ReencodesResults => record.result = record.result.map(|result| lossy(&result)),
                _ => {}
            }
            outcomes.extend(self.backend.save(std::slice::from_ref(&record)).await?);
            if self.has(TellsRefusedWrites) && record.state.is_final() {
                self.backend.forget(std::slice::from_ref(&record.id)).await?;
                self.backend.save(&[record]).await?;
            }
        }
        if self.has(ShiftsAnswers) && !outcomes.is_empty() {
            outcomes.rotate_left(1);
        }
        Ok(outcomes)
    }

    async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>> {
        self.backend.load(ids).await
    }

    async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>> {
        if self.has(TellsNobody) {
            tokio::time::sleep(timeout).await;
        }
        self.backend.wait(id, timeout).await
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.backend.forget(ids).await
    }

    async fn close(&self) {
        self.backend.close().await;
    }
}

async fn passes(guarantee: impl Future<Output = ()> + Send + 'static) -> bool {
    tokio::spawn(guarantee).await.is_ok()
}

macro_rules! must_fail {
    ($($test:ident: $defect:ident in $kind:ident => $($guarantee:ident)+;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            $(
                let name = stringify!($guarantee);
                assert!(passes($kind::$guarantee(Broken::new(Sound))).await, "{name} fails without a defect");
                assert!(!passes($kind::$guarantee(Broken::new($defect))).await, "{name} does not see {:?}", $defect);
            )+
        }
    )*};
}

must_fail! {
    acknowledging_at_fetch_is_seen: AcknowledgesAtFetch in broker =>
        a_lease_that_ran_out_redelivers_at_the_head acknowledging_removes a_retry_waits_and_keeps_its_counts;
    missing_fencing_is_seen: NoFencing in broker =>
        an_old_claim_settles_nothing an_old_claim_extends_nothing;
    lost_delayed_messages_are_seen: LosesDelayed in broker =>
        a_delay_is_kept a_point_in_time_is_kept what_waits_for_its_time_is_found_with_its_time
        what_waits_for_its_time_can_be_cancelled;
    early_delivery_is_seen: DeliversEarly in broker =>
        a_delay_is_kept a_point_in_time_is_kept a_delayed_message_holds_up_nobody
        delayed_messages_come_in_the_order_of_their_times;
    wrong_order_is_seen: LastInFirstOut in broker =>
        first_in_first_out at_most_max_are_claimed a_release_goes_to_the_head_uncounted
        a_lease_that_ran_out_redelivers_at_the_head a_requeue_goes_to_the_end;
    a_sleeping_waiter_is_seen: NeverWakes in broker =>
        a_waiter_is_woken_by_a_message a_waiting_message_is_told_at_once closing_ends_a_wait;
    a_stampede_is_seen: WakesEverybody in broker => one_message_does_not_wake_everybody;
    double_delivery_is_seen: DeliversTwice in broker => many_consumers_get_each_message_once;
    changed_payloads_are_seen: ReencodesPayloads in broker =>
        a_binary_payload_arrives_unchanged a_dead_letter_is_listed_complete;
    uncounted_losses_are_seen: CountsNoLosses in broker =>
        a_lease_that_ran_out_redelivers_at_the_head losses_add_up a_lost_batch_comes_back_in_its_order;
    counted_releases_are_seen: CountsReleases in broker => a_release_goes_to_the_head_uncounted;
    lost_fields_are_seen: LosesUnknownFields in broker => unknown_fields_arrive;
    forgotten_ids_are_seen: ForgetsIds in broker =>
        an_id_is_taken_while_its_task_is_there an_id_is_taken_while_its_task_is_delayed one_call_can_hold_an_id_twice
        an_id_published_by_many_at_once_is_one_task an_id_is_remembered_after_the_end;
    dropped_bytes_are_seen: DropsUndecodable in broker => bytes_that_are_no_message_are_delivered_as_such;
    shifted_answers_are_seen: ShiftsAnswers in broker => a_mixed_batch_is_answered_in_its_order;
    missing_dead_letters_are_seen: LeavesDeadLettersOut in broker => pages_show_every_dead_letter_once;

    missing_guards_are_seen: NoGuard in backend =>
        writes_are_guarded_as_the_rule_says one_call_can_hold_a_task_twice a_task_ends_once
        what_is_not_kept_is_guarded;
    told_refusals_are_seen: TellsRefusedWrites in backend => a_refused_write_is_not_told;
    silence_is_seen: TellsNobody in backend =>
        a_waiter_is_told a_task_that_has_ended_is_answered_at_once what_is_not_kept_is_told_to_who_waits
        closing_ends_the_wait_for_a_task;
    endless_records_are_seen: KeepsForEver in backend =>
        a_record_ends_with_its_retention a_result_can_end_before_its_state a_result_need_not_be_kept
        what_is_not_kept_leaves_no_earlier_state;
    changed_results_are_seen: ReencodesResults in backend => a_binary_result_comes_back_unchanged;
    shifted_outcomes_are_seen: ShiftsAnswers in backend => one_call_can_hold_a_task_twice;
}
