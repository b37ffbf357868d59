//! One receiver of calls, with all that keeps it from hurting others: bounds, time-out, breaker, counters.
//!
//! A call waits for a place of this receiver, of its app's share and of the whole, in that order; whoever holds a
//! place of the whole waits for nothing else of ours. Who waits is bounded too. Must not know what is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hmac::{Hmac, Mac};
use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use sha2::Sha256;
use tidegate_domain::ids::JourneyId;
use tokio::time::{Instant, timeout_at};

use crate::breaker::Breaker;
use crate::client::{Client, PostError};
use crate::otlp::CallSpan;
use crate::slots::{Slot, Slots};
use crate::sparing::Sparing;

/// Why a call came to nothing. The words end up in logs and in the sender's `detail`: no address, no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("too many calls are waiting for it")]
    Crowded,
    #[error("it failed too often and is left alone for a while")]
    Open,
    #[error("no call could be started within {} ms", .0.as_millis())]
    NotStarted(Duration),
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("it cannot be reached")]
    Unreachable(String),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is too long")]
    TooLong,
    #[error("its answer makes no sense: {0}")]
    Lie(String),
}

impl CallError {
    /// Whether another try may end better. A 4xx is a judgement on what was sent; 408 and 429 are not.
    pub fn may_pass(&self) -> bool {
        match self {
            CallError::Status(status) => *status >= 500 || matches!(status, 408 | 429),
            CallError::TooLong | CallError::Lie(_) => false,
            CallError::Crowded
            | CallError::Open
            | CallError::NotStarted(_)
            | CallError::Late(_)
            | CallError::Unreachable(_) => true,
        }
    }

    /// For the operator's log, who may know more than a sender.
    fn story(&self) -> String {
        match self {
            CallError::Unreachable(why) => why.clone(),
            other => other.to_string(),
        }
    }
}

/// Places shared by several receivers, the app's share first.
pub(crate) type Places = [Arc<Slots>; 2];

/// What one call sends.
pub(crate) struct Outgoing {
    pub body: Bytes,
    /// Repeat it once when the connection broke: only where repeating is safe.
    pub again: bool,
    /// Where the message is sampled and traces are exported: ends with the call, and the receiver may go on with it.
    pub span: Option<CallSpan>,
}

/// How often a call is made that fails and may pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// One is made in any case.
    pub tries: u32,
    /// Before the second try; each further one is twice as long, up to `most_pause`.
    pub pause: Duration,
    pub most_pause: Duration,
}

pub(crate) struct Target {
    /// For logs: what it is, and of which app.
    pub name: Box<str>,
    pub uri: Uri,
    /// Signs what is sent.
    pub secret: Option<Box<str>>,
    /// For a whole call, waiting for a place included.
    pub timeout: Duration,
    /// Bytes of an answer.
    pub most_answer: usize,
    pub breaker: Breaker,
    /// For calls that are on their way.
    pub slots: Slots,
    pub shared: Option<Places>,
    /// Calls that may wait or be on their way.
    pub most_pending: usize,
    pub pending: AtomicUsize,
    pub counts: Counts,
    pub words: Sparing,
}

/// Since the start.
#[derive(Default)]
pub(crate) struct Counts {
    pub answered: AtomicU64,
    /// Sent, and no usable answer.
    pub failed: AtomicU64,
    /// Never sent: crowded, breaker open, no place in time.
    pub unsent: AtomicU64,
    /// Of calls that were sent, from then to their end, however it was; together.
    pub sent_ns: AtomicU64,
}

impl Counts {
    /// As `/metrics` names them.
    pub fn by_outcome(&self) -> [(&'static str, f64); 3] {
        [("answered", &self.answered), ("failed", &self.failed), ("unsent", &self.unsent)]
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed) as f64))
    }
}

/// One webhook's calls: sums since the start, and what is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// For people: which webhook of which app.
    pub name: String,
    /// Now: waiting for a place or a further try, or on their way.
    pub pending: usize,
    /// Now: on their way.
    pub in_flight: usize,
    /// Calls that may be on their way at once.
    pub concurrency: usize,
    pub answered: u64,
    /// Sent, and no usable answer.
    pub failed: u64,
    /// Never sent.
    pub unsent: u64,
    /// Of calls that were sent, from then to their end, together.
    pub sent_ns: u64,
}

/// What a place in the queue is given back by.
struct Pending<'a>(&'a AtomicUsize);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Target {
    pub fn calls(&self) -> Calls {
        let counts = &self.counts;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Calls {
            name: self.name.to_string(),
            pending: self.pending.load(Ordering::Relaxed),
            in_flight: self.slots.taken(),
            concurrency: self.slots.size(),
            answered: of(&counts.answered),
            failed: of(&counts.failed),
            unsent: of(&counts.unsent),
            sent_ns: of(&counts.sent_ns),
        }
    }

    /// Makes one call. `read` judges the answer; its error counts as a failure of the receiver.
    pub async fn call<T>(
        &self,
        client: &Client,
        call: Outgoing,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, CallError> {
        let result = self.bounded(client, &call, read).await;
        if let Some(span) = call.span {
            span.end(result.as_ref().err().map(CallError::to_string));
        }
        let count = match &result {
            Ok(_) => &self.counts.answered,
            Err(CallError::Crowded | CallError::Open | CallError::NotStarted(_)) => &self.counts.unsent,
            Err(_) => &self.counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Makes a call, and makes it again while its error may pass and there are tries left. `call`: what each try sends;
    /// `between`: is told of each error after which another try follows.
    pub async fn insist(
        &self,
        client: &Client,
        patience: Patience,
        call: impl Fn() -> Outgoing,
        between: impl Fn(&CallError),
    ) -> Result<(), CallError> {
        let (mut tried, mut pause) = (1, patience.pause);
        loop {
            match self.call(client, call(), |_| Ok(())).await {
                Err(error) if tried < patience.tries && error.may_pass() => {
                    between(&error);
                    tokio::time::sleep(pause).await;
                    (tried, pause) = (tried + 1, pause.saturating_mul(2).min(patience.most_pause));
                }
                told => return told,
            }
        }
    }

    async fn bounded<T>(
        &self,
        client: &Client,
        call: &Outgoing,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, CallError> {
        if self.breaker.is_open(std::time::Instant::now()) {
            return Err(CallError::Open);
        }
        let before = self.pending.fetch_add(1, Ordering::Relaxed);
        let _pending = Pending(&self.pending);
        if before >= self.most_pending {
            return Err(CallError::Crowded);
        }
        let deadline = Instant::now() + self.timeout;
        let _places = timeout_at(deadline, self.places()).await.map_err(|_| CallError::NotStarted(self.timeout))?;
        // Asked again: it may have opened while this call waited, and then the rest need not wait as long.
        let begun = Instant::now();
        let leave = self.breaker.enter(begun.into_std()).ok_or(CallError::Open)?;
        let sent = timeout_at(deadline, self.send(client, call)).await;
        self.counts.sent_ns.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let outcome = match sent {
            Ok(Ok(answer)) => read(&answer).map_err(CallError::Lie),
            Ok(Err(PostError::Unreachable(why))) => Err(CallError::Unreachable(why)),
            Ok(Err(PostError::Status { status, .. })) => Err(CallError::Status(status)),
            Ok(Err(PostError::TooLong)) => Err(CallError::TooLong),
            // Most of its time went by in our own queue: that says nothing about the receiver.
            Err(_) if deadline - begun < self.timeout / 2 => return Err(CallError::NotStarted(self.timeout)),
            Err(_) => Err(CallError::Late(self.timeout)),
        };
        match &outcome {
            Ok(_) => leave.succeeded(),
            Err(error) => {
                if leave.failed(std::time::Instant::now()) {
                    let (name, host, why) = (&self.name, self.host(), error.story());
                    log::warn!(
                        "{name} at {host} is left alone for a while: too many failures in a row, the last: {why}"
                    );
                }
            }
        }
        outcome
    }

    /// All places that one call needs; given back when dropped.
    async fn places(&self) -> Vec<Slot<'_>> {
        let mut places = Vec::with_capacity(3);
        places.push(self.slots.take().await);
        for slots in self.shared.iter().flatten() {
            places.push(slots.take().await);
        }
        places
    }

    async fn send(&self, client: &Client, call: &Outgoing) -> Result<Bytes, PostError> {
        let post = || client.post(&self.uri, self.headers(call), call.body.clone(), self.most_answer);
        match post().await {
            Err(PostError::Unreachable(_)) if call.again => post().await,
            answered => answered,
        }
    }

    fn headers(&self, call: &Outgoing) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let parent = call.span.as_ref().and_then(CallSpan::traceparent);
        let parent = parent.map(|parent| (HeaderName::from_static("traceparent"), parent));
        self.signature(&call.body).into_iter().chain(parent)
    }

    fn signature(&self, body: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        let value = sign(self.secret.as_deref()?, now_ms(), body);
        let value = HeaderValue::from_str(&value).ok()?;
        Some((HeaderName::from_static("x-tidegate-signature"), value))
    }

    /// For logs: the path may hold a token, and what stands before the host a password.
    pub fn host(&self) -> String {
        let host = self.uri.host().unwrap_or_default();
        self.uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Warns of a failed call, though not of each: the first, then one in a while with the number of those between.
    /// `what`: what was called for; `journey`: of the message, where it is sampled; `then`: what became of it.
    pub fn warn(&self, what: &str, journey: Option<JourneyId>, cause: &CallError, then: &str) {
        let (name, host, why) = (&self.name, self.host(), cause.story());
        let more = self.words.say(std::time::Instant::now());
        let level = if more.is_some() { log::Level::Warn } else { log::Level::Debug };
        let since = match more {
            Some(more) if more > 0 => format!(" ({more} more since the last word)"),
            _ => String::new(),
        };
        let journey = journey.map(|journey| journey.to_string());
        log::log!(level, journey = journey; "{name} at {host} failed on {what}: {why}; {then}{since}");
    }
}

/// `t=<ms>,v1=<hex of HMAC-SHA256 over "t.body">`.
fn sign(secret: &str, at_ms: u128, body: &[u8]) -> String {
    let mut mac = match Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    };
    mac.update(format!("{at_ms}.").as_bytes());
    mac.update(body);
    let mut text = format!("t={at_ms},v1=");
    for byte in mac.finalize().into_bytes() {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}

fn now_ms() -> u128 {
    // A clock before 1970 signs with 0: the receiver refuses it as too old, which is right.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_time_and_body() {
        // Computed with `printf '%s' '1700000000000.{"a":1}' | openssl dgst -sha256 -hmac secret`.
        let known = "4ef2732b0d632a6897af3a6d02a6de287f60d6c5f15dabdb0ceb045a34e3c5a7";
        assert_eq!(sign("secret", 1_700_000_000_000, br#"{"a":1}"#), format!("t=1700000000000,v1={known}"));
        assert_ne!(sign("secret", 1, b"1"), sign("secret", 11, b""), "the point keeps time and body apart");
    }
}
