//! The alerts' webhook: notices posted to whoever looks after the server, one after the other.
//!
//! A notice is worth some patience: it is tried again with growing pauses. Whoever hands one in never waits; how many may
//! wait is bounded. Must not know what a notice says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::breaker::Breaker;
use crate::client::{self, Client};
use crate::slots::Slots;
use crate::sparing::Sparing;
use crate::target::{CallError, Counts, Outgoing, Patience, Target};
use crate::{HttpRuntime, NoticesSent, StartError};

/// Bounds of the alerts' webhook.
#[derive(Debug, Clone)]
pub struct AlarmOptions {
    /// For one try.
    pub timeout: Duration,
    /// Notices that may wait; one more is lost at once.
    pub pending: usize,
    /// Of one notice, at least 1.
    pub tries: u32,
    /// The pause before the second try; each further one is twice as long, up to `most_pause`.
    pub pause: Duration,
    pub most_pause: Duration,
}

impl Default for AlarmOptions {
    fn default() -> Self {
        AlarmOptions {
            timeout: Duration::from_secs(10),
            pending: 64,
            tries: 8,
            pause: Duration::from_secs(1),
            most_pause: Duration::from_secs(60),
        }
    }
}

/// Where notices go. What waits at the end of the runtime is lost: the next start judges anew.
pub struct AlertWebhook {
    target: Arc<Target>,
    queue: mpsc::Sender<Bytes>,
    /// Waiting, pausing or on their way.
    pending: Arc<AtomicUsize>,
    /// Notices, not tries: told; given up; never taken.
    outcomes: Arc<Outcomes>,
}

#[derive(Default)]
struct Outcomes {
    told: AtomicU64,
    given_up: AtomicU64,
    lost: AtomicU64,
}

/// Bytes of an answer; nobody reads it.
const MOST_ANSWER: usize = 64 * 1024;

impl AlertWebhook {
    /// Fails when the address is none. Opens no connection yet. `secret` signs what is sent.
    pub fn start(
        runtime: &HttpRuntime,
        options: AlarmOptions,
        url: &str,
        secret: Option<&str>,
    ) -> Result<Self, StartError> {
        let uri = client::callable(url).ok_or(StartError::AlertsUrl)?;
        let client = Client::new(client::any_secure(std::iter::once(&uri)))?;
        let target = Arc::new(Target {
            name: "the alerts' webhook".into(),
            uri,
            secret: secret.map(Into::into),
            timeout: options.timeout,
            most_answer: MOST_ANSWER,
            // Its own pauses are longer than any that it would be left alone for.
            breaker: Breaker::new(u32::MAX, Duration::ZERO),
            slots: Slots::new(1),
            shared: None,
            most_pending: options.pending.max(1),
            pending: AtomicUsize::new(0),
            counts: Counts::default(),
            words: Sparing::default(),
        });
        let (queue, mut waiting) = mpsc::channel::<Bytes>(options.pending.max(1));
        let (pending, outcomes) = (Arc::new(AtomicUsize::new(0)), Arc::new(Outcomes::default()));
        let webhook =
            AlertWebhook { target: target.clone(), queue, pending: pending.clone(), outcomes: outcomes.clone() };
        runtime.handle().spawn(async move {
            while let Some(body) = waiting.recv().await {
                let outcome = match deliver(&target, &client, &body, &options).await {
                    Ok(()) => &outcomes.told,
                    Err(error) => {
                        target.warn("a notice", None, &error, "it is given up");
                        &outcomes.given_up
                    }
                };
                outcome.fetch_add(1, Ordering::Relaxed);
                pending.fetch_sub(1, Ordering::Relaxed);
            }
        });
        Ok(webhook)
    }

    /// Hands in a notice as JSON, and returns at once. `false`: too many wait, and this one is lost.
    pub fn tell(&self, body: String) -> bool {
        self.pending.fetch_add(1, Ordering::Relaxed);
        let is_taken = self.queue.try_send(body.into()).is_ok();
        if !is_taken {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            self.outcomes.lost.fetch_add(1, Ordering::Relaxed);
            self.target.warn("a notice", None, &CallError::Crowded, "it is lost");
        }
        is_taken
    }

    /// What became of the notices since the start.
    pub fn sent(&self) -> NoticesSent {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        NoticesSent {
            pending: self.pending.load(Ordering::Relaxed),
            answered: of(&self.outcomes.told),
            failed: of(&self.outcomes.given_up),
            unsent: of(&self.outcomes.lost),
        }
    }
}

async fn deliver(target: &Target, client: &Client, body: &Bytes, options: &AlarmOptions) -> Result<(), CallError> {
    let patience = Patience { tries: options.tries, pause: options.pause, most_pause: options.most_pause };
    let call = || Outgoing { body: body.clone(), again: false, span: None };
    let between = |error: &CallError| target.warn("a notice", None, error, "it is tried again");
    match target.insist(client, patience, call, between).await {
        // An answer that is too long is an answer.
        Err(CallError::TooLong) => Ok(()),
        told => told,
    }
}
