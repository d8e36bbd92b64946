//! The verbs of windlass: client, task handle and worker.
