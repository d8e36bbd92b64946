//! The Redis result backend of windlass.
