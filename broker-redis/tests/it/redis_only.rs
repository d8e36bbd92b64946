//! Redis only.
