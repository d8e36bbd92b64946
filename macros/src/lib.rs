//! The #[task] attribute of windlass.
