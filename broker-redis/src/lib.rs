//! The Redis broker of windlass.
