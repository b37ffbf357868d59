//! `sync = "interval ..."`: a thread that syncs the log every so often. Owns only that thread.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rocksdb::DB;

pub(super) struct Syncer {
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Syncs `db` at `every` interval until dropped. A sync that fails makes the store refuse writes, for nobody can
    /// say any more what of the last interval is on disk.
    pub fn begin(db: Arc<DB>, broken: Arc<OnceLock<String>>, every: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = Builder::new().name("store-sync".into()).spawn(move || {
            let mut synced = 0;
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let written = db.latest_sequence_number();
                if written == synced {
                    continue;
                }
                match db.flush_wal(true) {
                    Ok(()) => synced = written,
                    Err(error) => return super::refuse_writes(&broken, &error),
                }
            }
        })?;
        Ok(Syncer { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that syncs the store panicked");
        }
    }
}
