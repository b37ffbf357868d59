//! The threads that all HTTP work runs on, apart from the pipeline's.
//!
//! Owns the runtime and its end. Whoever starts the server makes one and lends it to each part of this crate.

use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::StartError;

/// A small runtime of its own. Dropping it ends what runs on it without waiting; see [`HttpRuntime::stop`].
pub struct HttpRuntime {
    runtime: Option<Runtime>,
}

/// Threads for what may block (the admin side's questions, name look-ups); they exist only while needed.
const BLOCKING: usize = 4;

impl HttpRuntime {
    /// `threads` is taken as at least 1; one or two are plenty.
    pub fn start(threads: usize) -> Result<Self, StartError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .max_blocking_threads(BLOCKING)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        Ok(HttpRuntime { runtime: Some(runtime) })
    }

    /// Ends everything, waiting at most `patience` for what is on its way. Hooks that are still out answer as failed.
    pub fn stop(mut self, patience: Duration) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(patience);
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        match &self.runtime {
            Some(runtime) => runtime.handle().clone(),
            None => unreachable!("only `stop` and `drop` take the runtime, and both consume it"),
        }
    }
}

impl Drop for HttpRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
