use crate::broker::Disposition;

/// What the world must do after a transition: save first, settle last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// Write the new state to the backend.
    pub save: bool,
    /// Tell the broker what becomes of the claimed message.
    pub settle: Option<Disposition>,
}
