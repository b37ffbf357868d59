//! The app's own server asked by webhook: `domain::hook::Hooks` over HTTP.
//!
//! Owns who is asked, in which order, and what a failure means (`on_failure`). What is asked is `ask`, what may be
//! answered `returns`, what becomes of a push `push`; bounds and breaker are `target`'s. Facts: http.md 3.1 and 3.2.

mod ask;
mod once;
mod push;
mod returns;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidegate_domain::app::{App, OnFailure, Webhook};
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::hook::{HookEvent, Hooks, MessageReceived, MessageSent, Offline, ReceiversOffline, Verdict};
use tidegate_domain::ids::{AppId, JourneyId};
use tokio::runtime::Handle;

use crate::breaker::Breaker;
use crate::client::{self, Client};
use crate::metrics::{Family, registry};
use crate::otlp::Exporter;
use crate::random::random;
use crate::slots::Slots;
use crate::sparing::Sparing;
use crate::target::{CallError, Calls, Counts, Outgoing, Places, Target};
use crate::{HttpRuntime, StartError};
pub(crate) use once::Once;
use returns::Returned;

/// Bounds of all hooks together.
#[derive(Debug, Clone)]
pub struct HookOptions {
    /// Calls on their way, over all apps. Each app that has hooks may hold an equal part, and at least 1.
    pub in_flight: usize,
    /// Failures in a row after which a receiver is left alone.
    pub breaker_after: u32,
    /// For how long; then one call tries it.
    pub breaker_open: Duration,
    /// Calls that may wait for one receiver, for each that it may have on its way (`concurrency`).
    pub waiting_per_call: usize,
    /// Bytes of an answer.
    pub max_answer: usize,
    /// Bytes of a message's body; a hook may not make it longer.
    pub max_body: usize,
    /// What is pushed when neither hook nor message say it: JSON text as `pushData` is, with `${convId}`,
    /// `${timestamp}` and `${fromClientId}` replaced inside its strings. `None`: no push then (http.md 7.6).
    pub default_push: Option<Box<str>>,
    /// Takes a span of each call for a sampled message, of which the receiver is then told by `traceparent`.
    pub exporter: Option<Exporter>,
}

impl Default for HookOptions {
    fn default() -> Self {
        HookOptions {
            in_flight: 256,
            breaker_after: 5,
            breaker_open: Duration::from_secs(5),
            waiting_per_call: 32,
            max_answer: 64 * 1024,
            max_body: 5 * 1024,
            default_push: None,
            exporter: None,
        }
    }
}

/// [`Hooks`] over HTTP. Several webhooks of one app for one event are asked one after the other, each seeing what the
/// one before changed; each has its own time-out.
pub struct WebhookHooks {
    handle: Handle,
    shared: Arc<Shared>,
    apps: HashMap<AppId, Arc<AppHooks>>,
    /// Of all calls.
    total: Arc<Slots>,
    /// Of each app's.
    shares: Vec<Arc<Slots>>,
}

struct Shared {
    client: Client,
    /// Makes call ids unique over restarts.
    process: u64,
    calls: AtomicU64,
    max_body: usize,
    default_push: Option<Box<str>>,
    exporter: Option<Exporter>,
}

struct AppHooks {
    id: Box<str>,
    hooks: Vec<Hook>,
}

struct Hook {
    events: Vec<HookEvent>,
    on_failure: OnFailure,
    target: Target,
}

impl WebhookHooks {
    /// Fails when an address is none. Opens no connection yet.
    pub fn start(runtime: &HttpRuntime, options: HookOptions, apps: &[App]) -> Result<Self, StartError> {
        let hooked = apps.iter().filter(|app| !app.webhooks.is_empty()).count();
        let total = Arc::new(Slots::new(options.in_flight));
        let mut shares = Vec::new();
        let mut by_app: HashMap<_, Arc<AppHooks>> = HashMap::new();
        for app in apps {
            let share = Arc::new(Slots::new(share(options.in_flight, hooked)));
            if !app.webhooks.is_empty() {
                shares.push(share.clone());
            }
            let places = [share, total.clone()];
            let hooks = app.webhooks.iter().enumerate();
            let hooks = hooks.map(|(nth, webhook)| hook(app, nth, webhook, &options, &places));
            let hooks = hooks.collect::<Result<_, _>>()?;
            by_app.insert(app.index, Arc::new(AppHooks { id: app.id.clone(), hooks }));
        }
        let secure = client::any_secure(by_app.values().flat_map(|app| &app.hooks).map(|hook| &hook.target.uri));
        let shared = Shared {
            client: Client::new(secure)?,
            process: random(),
            calls: AtomicU64::new(0),
            max_body: options.max_body,
            default_push: options.default_push,
            exporter: options.exporter,
        };
        Ok(WebhookHooks { handle: runtime.handle(), shared: Arc::new(shared), apps: by_app, total, shares })
    }

    /// Lets so many calls be on their way from now on, over all apps: more begin at once; where there are too many, those that
    /// are on their way are let end.
    pub fn set_in_flight(&self, calls: usize) {
        self.total.resize(calls);
        self.shares.iter().for_each(|slots| slots.resize(share(calls, self.shares.len())));
    }

    /// Figures for `/metrics`: calls by outcome, calls waiting or on their way, and breakers, per app and webhook.
    pub fn families(&self) -> Vec<Family> {
        let mut apps: Vec<_> = self.apps.values().collect();
        apps.sort_by(|a, b| a.id.cmp(&b.id));
        let hooks: Vec<(&str, String, &Target)> = apps
            .iter()
            .flat_map(|app| app.hooks.iter().enumerate().map(|(nth, hook)| (&*app.id, nth.to_string(), &hook.target)))
            .collect();
        let calls = hooks.iter().flat_map(|(app, nth, target)| {
            target.counts.by_outcome().map(|(outcome, count)| ([*app, &**nth, outcome], count))
        });
        let each = |value: fn(&Target) -> f64| {
            hooks.iter().map(move |(app, nth, target)| ([*app, &**nth], value(target))).collect::<Vec<_>>()
        };
        vec![
            registry::HOOK_CALLS.of(calls),
            registry::HOOK_PENDING.of(each(|target| target.pending.load(Ordering::Relaxed) as f64)),
            registry::HOOK_BREAKER_OPEN
                .of(each(|target| f64::from(target.breaker.is_open(std::time::Instant::now()) as u8))),
        ]
    }

    /// Each webhook's calls.
    pub fn calls(&self) -> Vec<Calls> {
        self.apps.values().flat_map(|app| &app.hooks).map(|hook| hook.target.calls()).collect()
    }

    fn app(&self, app: AppId) -> Option<Arc<AppHooks>> {
        self.apps.get(&app).cloned()
    }
}

/// One app's part of all calls, where so many have webhooks.
fn share(calls: usize, apps: usize) -> usize {
    calls / apps.max(1)
}

fn hook(app: &App, nth: usize, webhook: &Webhook, options: &HookOptions, places: &Places) -> Result<Hook, StartError> {
    let refused = || StartError::Url { app: app.id.clone(), url: webhook.url.clone() };
    let slots = Slots::new(webhook.concurrency);
    let target = Target {
        // Its place in the app's table, from 0, as in `/metrics`.
        name: format!("webhook {nth} of app {}", app.id).into(),
        uri: client::callable(&webhook.url).ok_or_else(refused)?,
        secret: Some(webhook.secret.clone()),
        timeout: webhook.timeout,
        most_answer: options.max_answer,
        breaker: Breaker::new(options.breaker_after, options.breaker_open),
        most_pending: slots.size().saturating_mul(options.waiting_per_call.saturating_add(1)),
        slots,
        shared: Some(places.clone()),
        pending: AtomicUsize::new(0),
        counts: Counts::default(),
        words: Sparing::default(),
    };
    Ok(Hook { events: webhook.events.clone(), on_failure: webhook.on_failure, target })
}

impl AppHooks {
    fn for_event(&self, event: HookEvent) -> impl Iterator<Item = &Hook> {
        self.hooks.iter().filter(move |hook| hook.events.contains(&event))
    }

    /// What becomes of something whose call nobody will ever finish.
    fn on_failure(&self, event: HookEvent) -> OnFailure {
        let refuses = self.for_event(event).any(|hook| hook.on_failure == OnFailure::Refuse);
        if refuses { OnFailure::Refuse } else { OnFailure::Pass }
    }
}

const LOST: Verdict = Verdict::Pass { body: None, to: None, failed: true };

/// The words for when the runtime ends under a call.
const STOPPING: &str = "the server is stopping";

impl Hooks for WebhookHooks {
    fn wants(&self, app: AppId, event: HookEvent) -> bool {
        self.apps.get(&app).is_some_and(|app| app.for_event(event).next().is_some())
    }

    fn message_received(&self, ask: MessageReceived, done: Box<dyn FnOnce(Verdict) + Send>) {
        let Some(app) = self.app(ask.app) else {
            self.handle.spawn(async move { done(Verdict::Pass { body: None, to: None, failed: false }) });
            return;
        };
        let lost = match app.on_failure(HookEvent::MessageReceived) {
            OnFailure::Pass => LOST,
            OnFailure::Refuse => Verdict::Drop(refusal(HookEvent::MessageReceived, &STOPPING)),
        };
        let (shared, done) = (self.shared.clone(), Once::new(done, lost));
        self.handle.spawn(async move {
            let verdict = shared.message_received(&app, ask).await;
            done.tell(verdict);
        });
    }

    fn message_sent(&self, tell: MessageSent, done: Box<dyn FnOnce(bool) + Send>) {
        let (app, shared) = (self.app(tell.app), self.shared.clone());
        let done = Once::new(done, false);
        self.handle.spawn(async move {
            let told = match app {
                Some(app) => shared.message_sent(&app, tell).await,
                None => true,
            };
            done.tell(told);
        });
    }

    fn receivers_offline(&self, ask: ReceiversOffline, done: Box<dyn FnOnce(Offline) + Send>) {
        let (app, shared) = (self.app(ask.app), self.shared.clone());
        let done = Once::new(done, Offline { push: None, failed: true });
        self.handle.spawn(async move {
            let offline = shared.receivers_offline(app.as_deref(), ask).await;
            done.tell(offline);
        });
    }
}

impl Shared {
    fn call_id(&self) -> String {
        format!("{:016x}-{:x}", self.process, self.calls.fetch_add(1, Ordering::Relaxed))
    }

    async fn message_received(&self, app: &AppHooks, mut ask: MessageReceived) -> Verdict {
        const EVENT: HookEvent = HookEvent::MessageReceived;
        let (mut new_body, mut new_to, mut failed) = (None, None, false);
        for hook in app.for_event(EVENT) {
            let call = ask::message_received(&app.id, &self.call_id(), &ask);
            let read = |answer: &[u8]| returns::message_received(answer, ask.body.is_binary(), self.max_body);
            match self.ask(hook, EVENT, ask.journey, call, read).await {
                Ok(Returned::Drop(failure)) => return Verdict::Drop(failure),
                Ok(Returned::Pass { body, to }) => {
                    // The next webhook sees the message as it is by now.
                    if let Some(body) = body {
                        ask.body = body.clone();
                        new_body = Some(body);
                    }
                    if let Some(to) = to {
                        ask.to = to.clone();
                        new_to = Some(to);
                    }
                }
                Err(cause) if hook.on_failure == OnFailure::Refuse => return Verdict::Drop(refusal(EVENT, &cause)),
                Err(_) => failed = true,
            }
        }
        Verdict::Pass { body: new_body, to: new_to, failed }
    }

    /// Whether everybody took it.
    async fn message_sent(&self, app: &AppHooks, tell: MessageSent) -> bool {
        const EVENT: HookEvent = HookEvent::MessageSent;
        let mut told = true;
        for hook in app.for_event(EVENT) {
            let call = ask::message_sent(&app.id, &self.call_id(), &tell);
            // Repeating is safe here: the call's id is the same, and nothing depends on the answer.
            let call = self.outgoing(hook, EVENT, tell.journey, call, true);
            if let Err(cause) = hook.target.call(&self.client, call, |_| Ok(())).await {
                hook.target.warn(EVENT.name(), tell.journey, &cause, "nobody was told");
                told = false;
            }
        }
        told
    }

    async fn receivers_offline(&self, app: Option<&AppHooks>, mut ask: ReceiversOffline) -> Offline {
        const EVENT: HookEvent = HookEvent::ReceiversOffline;
        let (mut content, mut force, mut failed) = (None, false, false);
        let hooks: Vec<_> = app.map(|app| app.for_event(EVENT).map(|hook| (app, hook)).collect()).unwrap_or_default();
        for (app, hook) in hooks {
            let call = ask::receivers_offline(&app.id, &self.call_id(), &ask);
            match self.ask(hook, EVENT, ask.journey, call, returns::receivers_offline).await {
                Ok(returned) if returned.skip => return Offline { push: None, failed },
                Ok(returned) => {
                    if let Some(chosen) = returned.offline {
                        ask.offline.retain(|client| chosen.contains(client));
                    }
                    content = returned.content.or(content);
                    force |= returned.force;
                }
                Err(_) if hook.on_failure == OnFailure::Refuse => return Offline { push: None, failed: true },
                Err(_) => failed = true,
            }
        }
        Offline { push: push::resolve(ask, content, force, self.default_push.as_deref()), failed }
    }

    /// A call whose answer counts; never repeated.
    async fn ask<T>(
        &self,
        hook: &Hook,
        event: HookEvent,
        journey: Option<JourneyId>,
        call: Vec<u8>,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, CallError> {
        let call = self.outgoing(hook, event, journey, call, false);
        let answer = hook.target.call(&self.client, call, read).await;
        let then = match (event, hook.on_failure) {
            (HookEvent::ReceiversOffline, OnFailure::Pass) => "the push went on",
            (HookEvent::ReceiversOffline, OnFailure::Refuse) => "there was no push",
            (_, OnFailure::Pass) => "the message went on",
            (_, OnFailure::Refuse) => "the message was refused",
        };
        answer.inspect_err(|cause| hook.target.warn(event.name(), journey, cause, then))
    }

    fn outgoing(
        &self,
        hook: &Hook,
        event: HookEvent,
        journey: Option<JourneyId>,
        call: Vec<u8>,
        again: bool,
    ) -> Outgoing {
        let exported = self.exporter.as_ref().zip(journey);
        let name = || format!("webhook {}", event.name());
        let span = exported.map(|(exporter, journey)| exporter.call(journey, &name(), hook.target.host()));
        Outgoing { body: Bytes::from(call), again, span }
    }
}

/// The refusal of fail-closed apps (http.md 3.1).
fn refusal(event: HookEvent, cause: &dyn std::fmt::Display) -> Failure {
    Failure::because(Code::MessageRejectedByApp, format!("hook {} failed: {cause}", event.name()))
}
