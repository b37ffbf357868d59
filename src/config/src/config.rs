//! A file's values once they are known to be good.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tidegate_domain::app::App;
use tidegate_engine::Topology;

use crate::apps::{DEVELOPMENT_KEY, DEVELOPMENT_MASTER_KEY};
use crate::diagnostic::Diagnostic;
use crate::value::Sync;

/// All that a `pipeline.toml` says, defaults filled in. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Listen,
    pub admin: Admin,
    pub net: Net,
    pub store: Store,
    pub memory: Memory,
    pub journeys: Journeys,
    pub hdr: Hdr,
    pub alerts: Alerts,
    /// In the order of the file.
    pub topology: Topology,
    /// Stage by stage, for those whose module calls the outside: how many calls at once.
    pub in_flight: Vec<(String, usize)>,
    /// In the order of the file; an app's `index` is its place here.
    pub apps: Vec<App>,
    /// What is allowed and yet worth a look.
    pub warnings: Vec<Diagnostic>,
}

/// `[listen]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// `None`: off.
    pub http: Option<SocketAddr>,
    /// `None`: off. Never both.
    pub tcp: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub tls: Option<Tls>,
    pub plain: bool,
    pub public_url: Option<String>,
    pub trusted_proxies: Vec<IpNet>,
}

/// `[admin]`. `Debug` shows no token.
#[derive(Clone, Default, PartialEq)]
pub struct Admin {
    /// `None`: nobody may only look.
    pub read_token: Option<String>,
    /// `None`: beside a `read_token`, nobody may change anything; without that, everybody may.
    pub write_token: Option<String>,
}

impl Admin {
    /// Whether the admin port wants a token.
    pub fn asks(&self) -> bool {
        self.read_token.is_some() || self.write_token.is_some()
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (read, write) = (self.read_token.is_some(), self.write_token.is_some());
        f.debug_struct("Admin").field("read_token", &read).field("write_token", &write).finish()
    }
}

/// PEM files, relative to the directory that the server runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// `[net]`. Sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Net {
    pub reactors: usize,
    pub to: String,
    pub mailbox: usize,
    pub outbox: usize,
    pub credits: usize,
    pub credit_bytes: usize,
    pub max_frame: usize,
    pub max_connections: usize,
    pub sessions_per_client: usize,
    pub sessions_per_connection: usize,
    pub handshake_timeout: Duration,
    pub login_timeout: Duration,
    pub idle_timeout: Duration,
    pub drain_timeout: Duration,
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub sync: Sync,
    pub retention: Duration,
    pub dedupe_window: Duration,
    pub max_open_files: usize,
}

/// `[memory]`. Entries, not bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    pub conversations: usize,
    pub nonces: usize,
    pub revoked_tokens: usize,
}

/// `[journeys]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Journeys {
    /// From 0 to 1.
    pub sample: f64,
    /// A message that took longer is kept though it was not sampled. `None`: none is.
    pub slow: Option<Duration>,
    pub keep: usize,
    pub trace: usize,
    pub otlp: Option<Otlp>,
}

/// Where sampled journeys are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// The collector's, without the path.
    pub url: String,
    pub headers: Headers,
}

/// Names and what they say, which is secret: `Debug` shows the names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// `[hdr]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Hdr {
    pub interval: Duration,
    /// 0: nothing is written.
    pub keep: usize,
}

/// `[alerts]`.
#[derive(Clone, PartialEq)]
pub struct Alerts {
    /// `None`: nobody is told.
    pub webhook: Option<String>,
    pub secret: Option<String>,
    pub interval: Duration,
    /// How long a figure must be out of the usual before it is told.
    pub hold: Duration,
    pub clear_after: Duration,
    pub factor: usize,
    /// A second.
    pub min_rate: usize,
    pub min_latency: Duration,
    /// From 0 to 1.
    pub min_errors: f64,
}

impl std::fmt::Debug for Alerts {
    /// Without the secret, and without the address, which often holds one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Alerts { webhook, secret, interval, hold, clear_after, factor, min_rate, min_latency, min_errors } = self;
        f.debug_struct("Alerts")
            .field("has_webhook", &webhook.is_some())
            .field("has_secret", &secret.is_some())
            .field("interval", interval)
            .field("hold", hold)
            .field("clear_after", clear_after)
            .field("factor", factor)
            .field("min_rate", min_rate)
            .field("min_latency", min_latency)
            .field("min_errors", min_errors)
            .finish()
    }
}

impl Config {
    /// `in_flight` of a stage; `None` where its module makes no calls.
    pub fn in_flight(&self, stage: &str) -> Option<usize> {
        self.in_flight.iter().find(|(name, _)| name == stage).map(|(_, calls)| *calls)
    }

    /// Calls at once, over all stages that make some; `None` where there is no such stage. They share their places, so the
    /// largest figure holds.
    pub fn most_in_flight(&self) -> Option<usize> {
        self.in_flight.iter().map(|(_, calls)| *calls).max()
    }

    /// Puts stages and pools in the order of another topology, those that it does not have last. Moving tables about in
    /// a file is no change of a running pipeline, which knows its stages by their places.
    pub fn put_in_order_of(&mut self, running: &Topology) {
        let last = usize::MAX;
        let stage = |name: &str| running.stages.iter().position(|stage| stage.name == name).unwrap_or(last);
        let pool = |name: &str| running.pools.iter().position(|pool| pool.name == name).unwrap_or(last);
        self.topology.stages.sort_by_key(|settings| stage(&settings.name));
        self.topology.pools.sort_by_key(|settings| pool(&settings.name));
    }
}

/// Whether somebody beyond this machine could use the development app's keys, which everybody knows. `load` refuses
/// such a file; whoever changes addresses afterwards (a flag, say) asks again, and names `tidegate app new`.
pub fn development_keys_exposed(config: &Config) -> bool {
    let listens_beyond =
        [config.listen.http, config.listen.tcp].into_iter().flatten().any(|address| beyond_loopback(address.ip()));
    listens_beyond && config.apps.iter().any(has_development_keys)
}

pub(crate) fn has_development_keys(app: &App) -> bool {
    [&app.key, &app.master_key].into_iter().any(|key| [DEVELOPMENT_KEY, DEVELOPMENT_MASTER_KEY].contains(&&**key))
}

/// Whether others than this machine's own programs reach an address.
pub fn beyond_loopback(ip: IpAddr) -> bool {
    !ip.to_canonical().is_loopback()
}
