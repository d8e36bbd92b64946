//! Test windlass tasks without infrastructure: in-memory adapters, virtual time, harness, faults, conformance suites.
