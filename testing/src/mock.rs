//! Mocks of both traits, for tests that want to say which calls they expect and what they answer.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use windlass_core::{Broker, Error, ErrorKind};
//! use windlass_testing::mock::MockBroker;
//!
//! let mut broker = MockBroker::new();
//! broker
//!     .expect_publish()
//!     .withf(|messages| messages.len() == 1)
//!     .times(1)
//!     .returning(|_| Err(Error::new(ErrorKind::Rejected, "publish", "out of memory")));
//! let message = windlass_testing::fixture::message(&"default".parse()?, "[]");
//! assert_eq!(broker.publish(&[message]).await.unwrap_err().kind(), ErrorKind::Rejected);
//! # Ok::<_, windlass_core::Error>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::time::Duration;

use async_trait::async_trait;
use mockall::mock;
use windlass_core::{
    BackendCapabilities, CancelOutcome, Capabilities, DeadPage, Delivery, FetchRequest, LeaseStatus, Location, Message,
    PublishOutcome, QueueName, Receipt, Record, Result, SaveOutcome, SettleOutcome, Settlement, TaskId,
};

mock! {
    /// A broker that answers as a test says.
    #[derive(Debug)]
    pub Broker {}

    #[async_trait]
    impl windlass_core::Broker for Broker {
        fn capabilities(&self) -> Capabilities;
        async fn publish(&self, messages: &[Message]) -> Result<Vec<PublishOutcome>>;
        async fn ready(&self, queue: &QueueName, wait: Duration) -> Result<()>;
        async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>>;
        async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<LeaseStatus>>;
        async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<SettleOutcome>>;
        async fn cancel(&self, queue: &QueueName, id: &TaskId) -> Result<CancelOutcome>;
        async fn locate(&self, queue: &QueueName, id: &TaskId) -> Result<Option<Location>>;
        // The lifetimes are those that `async_trait` makes of the trait's method; mockall needs them named.
        async fn dead_letters<'s, 'q, 'c>(
            &'s self, queue: &'q QueueName, cursor: Option<&'c str>, max: usize,
        ) -> Result<DeadPage>;
        async fn replay(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize>;
        async fn close(&self);
    }
}

mock! {
    /// A backend that answers as a test says.
    #[derive(Debug)]
    pub Backend {}

    #[async_trait]
    impl windlass_core::Backend for Backend {
        fn capabilities(&self) -> BackendCapabilities;
        async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>>;
        async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>>;
        async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>>;
        async fn forget(&self, ids: &[TaskId]) -> Result<()>;
        async fn close(&self);
    }
}
