//! The push webhook: notifications posted to the operator's own server, which knows the vendors (http.md 7.7).
//!
//! Owns its document and its retries. A notification is worth some patience but no queue without end: who waits is
//! bounded, tries are counted, pauses grow. Installations do not exist yet, so receivers are client ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tidegate_domain::app::App;
use tidegate_domain::hook::{Notification, Notifier};
use tidegate_domain::ids::{AppId, Millis};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::breaker::Breaker;
use crate::client::{self, Client};
use crate::hooks::Once;
use crate::metrics::{Family, registry};
use crate::otlp::Exporter;
use crate::slots::Slots;
use crate::sparing::Sparing;
use crate::target::{CallError, Calls, Counts, Outgoing, Patience, Target};
use crate::{HttpRuntime, StartError};

/// Bounds of one app's push webhook.
#[derive(Debug, Clone)]
pub struct NotifierOptions {
    /// For one try.
    pub timeout: Duration,
    /// Tries on their way at once.
    pub concurrency: usize,
    /// Notifications waiting, pausing or on their way; one more fails at once.
    pub pending: usize,
    /// At least 1.
    pub tries: u32,
    /// The pause before the second try; each further one is twice as long.
    pub pause: Duration,
    pub breaker_after: u32,
    pub breaker_open: Duration,
    /// Takes a span of each try for a sampled message.
    pub exporter: Option<Exporter>,
}

impl Default for NotifierOptions {
    fn default() -> Self {
        NotifierOptions {
            timeout: Duration::from_secs(5),
            concurrency: 16,
            pending: 4096,
            tries: 4,
            pause: Duration::from_millis(500),
            breaker_after: 10,
            breaker_open: Duration::from_secs(5),
            exporter: None,
        }
    }
}

/// [`Notifier`] over HTTP.
pub struct WebhookNotifier {
    handle: Handle,
    client: Client,
    patience: Patience,
    exporter: Option<Exporter>,
    apps: HashMap<AppId, Arc<AppPush>>,
}

struct AppPush {
    id: Box<str>,
    target: Target,
    waiting: Arc<Semaphore>,
    /// Notifications that may wait: all of `waiting`.
    most: usize,
}

/// Bytes of an answer: it may name receivers that are no more.
const MOST_ANSWER: usize = 64 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Post<'a> {
    app_id: &'a str,
    to: Vec<Receiver<'a>>,
    data: &'a Value,
    conv_id: String,
    msg_id: String,
    from: &'a str,
    timestamp: Millis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receiver<'a> {
    client_id: &'a str,
}

impl WebhookNotifier {
    /// Fails when an address is none. Opens no connection yet.
    pub fn start(runtime: &HttpRuntime, options: NotifierOptions, apps: &[App]) -> Result<Self, StartError> {
        let mut by_app: HashMap<_, Arc<AppPush>> = HashMap::new();
        for app in apps {
            let Some(url) = &app.push_webhook else { continue };
            let refused = || StartError::Url { app: app.id.clone(), url: url.clone() };
            let target = Target {
                name: format!("push_webhook of app {}", app.id).into(),
                uri: client::callable(url).ok_or_else(refused)?,
                secret: None,
                timeout: options.timeout,
                most_answer: MOST_ANSWER,
                breaker: Breaker::new(options.breaker_after, options.breaker_open),
                slots: Slots::new(options.concurrency),
                shared: None,
                most_pending: options.pending.max(1),
                pending: AtomicUsize::new(0),
                counts: Counts::default(),
                words: Sparing::default(),
            };
            let most = options.pending.clamp(1, Semaphore::MAX_PERMITS);
            let waiting = Arc::new(Semaphore::new(most));
            by_app.insert(app.index, Arc::new(AppPush { id: app.id.clone(), target, waiting, most }));
        }
        let client = Client::new(client::any_secure(by_app.values().map(|app| &app.target.uri)))?;
        Ok(WebhookNotifier {
            handle: runtime.handle(),
            client,
            patience: Patience { tries: options.tries, pause: options.pause, most_pause: Duration::MAX },
            exporter: options.exporter,
            apps: by_app,
        })
    }

    /// Each push webhook's calls. `pending` counts notifications, those that pause between two tries too.
    pub fn calls(&self) -> Vec<Calls> {
        let pending = |app: &AppPush| app.most.saturating_sub(app.waiting.available_permits());
        self.apps.values().map(|app| Calls { pending: pending(app), ..app.target.calls() }).collect()
    }

    /// Figures for `/metrics`: tries by outcome, per app.
    pub fn families(&self) -> Vec<Family> {
        let mut apps: Vec<_> = self.apps.values().collect();
        apps.sort_by(|a, b| a.id.cmp(&b.id));
        let tries = apps
            .into_iter()
            .flat_map(|app| app.target.counts.by_outcome().map(|(outcome, count)| ([&*app.id, outcome], count)));
        vec![registry::PUSH_TRIES.of(tries)]
    }
}

impl Notifier for WebhookNotifier {
    fn serves(&self, app: AppId) -> bool {
        self.apps.contains_key(&app)
    }

    fn notify(&self, notification: Notification, done: Box<dyn FnOnce(Result<(), String>) + Send>) {
        let done = Once::new(done, Err("the server is stopping".to_owned()));
        let Some(app) = self.apps.get(&notification.app).cloned() else {
            self.handle.spawn(async move { done.tell(Err("the app has no push webhook".to_owned())) });
            return;
        };
        let Ok(place) = app.waiting.clone().try_acquire_owned() else {
            app.target.warn("a notification", notification.journey, &CallError::Crowded, "it is given up");
            self.handle.spawn(async move { done.tell(Err("too many notifications are waiting".to_owned())) });
            return;
        };
        let (client, exporter, patience) = (self.client.clone(), self.exporter.clone(), self.patience);
        self.handle.spawn(async move {
            let told = deliver(&app, &client, &notification, exporter.as_ref(), patience).await;
            drop(place);
            if let Err(error) = &told {
                app.target.warn("a notification", notification.journey, error, "it is given up");
            }
            done.tell(told.map_err(|error| error.to_string()));
        });
    }
}

async fn deliver(
    app: &AppPush,
    client: &Client,
    notification: &Notification,
    exporter: Option<&Exporter>,
    patience: Patience,
) -> Result<(), CallError> {
    let body = Bytes::from(written(&app.id, notification));
    let exported = exporter.zip(notification.journey);
    let call = || {
        let span = exported.map(|(exporter, journey)| exporter.call(journey, "push webhook", app.target.host()));
        Outgoing { body: body.clone(), again: false, span }
    };
    app.target.insist(client, patience, call, |_| {}).await
}

fn written(app: &str, notification: &Notification) -> Vec<u8> {
    let post = Post {
        app_id: app,
        to: notification.to.iter().map(|client| Receiver { client_id: client }).collect(),
        data: &notification.data,
        conv_id: notification.cid.to_string(),
        msg_id: notification.mid.to_string(),
        from: &notification.from,
        timestamp: notification.at,
    };
    match serde_json::to_vec(&post) {
        Ok(json) => json,
        Err(_) => unreachable!("strings, numbers and JSON always are JSON"),
    }
}
