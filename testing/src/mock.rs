//! Mocks of the traits, for tests that want to say which calls they expect and what they answer.
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

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mockall::mock;
use windlass_core::{
    BackendCapabilities, CancelOutcome, Capabilities, DeadPage, Delivery, FetchRequest, LeaseStatus, Listener,
    Location, Message, Note, NoteChange, NoteKey, NotePage, Place, PublishOutcome, QueueName, Receipt, Record, Replay,
    Result, SaveOutcome, SettleOutcome, Settlement, TaskId, WriteOutcome,
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
        async fn replay(&self, queue: &QueueName, letters: &[Replay]) -> Result<usize>;
        async fn discard(&self, queue: &QueueName, ids: &[TaskId]) -> Result<usize>;
        fn risks(&self) -> Vec<String>;
        async fn close(&self);
    }
}

mock! {
    /// A backend that answers as a test says; workers and clients ask it whether it has a notebook.
    #[derive(Debug)]
    pub Backend {}

    #[async_trait]
    impl windlass_core::Backend for Backend {
        fn capabilities(&self) -> BackendCapabilities;
        async fn save(&self, records: &[Record]) -> Result<Vec<SaveOutcome>>;
        async fn load(&self, ids: &[TaskId]) -> Result<Vec<Option<Record>>>;
        async fn wait(&self, id: &TaskId, timeout: Duration) -> Result<Option<Record>>;
        async fn forget(&self, ids: &[TaskId]) -> Result<()>;
        // Something that lives as long as the program, such as a [`MockNotebook`] that was leaked.
        fn notebook(&self) -> Option<&'static dyn windlass_core::Notebook>;
        async fn close(&self);
    }
}

mock! {
    /// A notebook that answers as a test says.
    #[derive(Debug)]
    pub Notebook {}

    #[async_trait]
    impl windlass_core::Notebook for Notebook {
        async fn read(&self, keys: &[NoteKey]) -> Result<Vec<Option<Note>>>;
        async fn write(&self, changes: &[NoteChange]) -> Result<Vec<WriteOutcome>>;
        async fn list<'s, 'a>(&'s self, shelf: &'static str, after: Option<&'a str>, max: usize) -> Result<NotePage>;
        async fn gather(&self, places: &[Place]) -> Result<Vec<u32>>;
        async fn gathered(&self, set: &NoteKey, range: Range<u32>) -> Result<Vec<Option<Bytes>>>;
        async fn signal(&self, topic: &str, text: Bytes) -> Result<()>;
        async fn listen(&self, topic: &str) -> Result<Box<dyn Listener>>;
    }
}
