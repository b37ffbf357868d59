//! An app as configured: its keys and what it asks of its clients.

use std::time::Duration;

use crate::ids::AppId;

/// One `[[app]]` table. `Debug` never shows its secrets.
#[derive(Clone, PartialEq)]
pub struct App {
    pub index: AppId,
    pub id: Box<str>,
    pub key: Box<str>,
    pub master_key: Box<str>,
    /// Empty: any origin.
    pub origins: Vec<Box<str>>,
    pub signature: SignaturePolicy,
    pub push_webhook: Option<Box<str>>,
    pub webhooks: Vec<Webhook>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("index", &self.index).field("id", &self.id).finish_non_exhaustive()
    }
}

/// When a signature is needed, per group of actions (wire.md 3.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Need {
    /// Bogus ones are accepted and ignored.
    #[default]
    Off,
    /// Checked when present.
    Optional,
    Required,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignaturePolicy {
    pub login: Need,
    pub start: Need,
    pub add: Need,
    pub remove: Need,
}

/// One `[[app.webhook]]` table.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    pub url: Box<str>,
    pub secret: Box<str>,
    pub events: Vec<crate::hook::HookEvent>,
    pub timeout: Duration,
    /// Calls in flight at once.
    pub concurrency: usize,
    pub on_failure: OnFailure,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).field("events", &self.events).finish_non_exhaustive()
    }
}

/// What becomes of a message whose before-hook failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    #[default]
    Pass,
    Refuse,
}
