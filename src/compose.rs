//! The composition: everything that a server is made of, put together in the one order in which it can be.
//!
//! HTTP runtime, store, world, pipeline, reactors, HTTP side; taken down the other way round.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_config::Config;
use tidegate_domain::directory::LocalDirectory;
use tidegate_domain::ids::ClientId;
use tidegate_domain::reply::Notice;
use tidegate_engine::{Env, Pipeline, Sink, Sinks, Way};
use tidegate_http::{
    AlarmOptions, AlertWebhook, Deps, Exporter, ExporterOptions, HookOptions, HttpRuntime, HttpSide, NotifierOptions,
    WebhookHooks, WebhookNotifier,
};
use tidegate_net as net;
use tidegate_stages::event::Event;
use tidegate_stages::shared::World;
use tidegate_stages::shared::apps::Apps;
use tidegate_stages::shared::tokens::Kept;
use tidegate_stages::shared::world::{Clock, Parts};
use tidegate_stages::supervisor::Watch;
use tidegate_store::Store;
use tidegate_store::rocks::{self, RocksOptions};

use crate::admin::Watcher;
use crate::alerts::{self, Alerts};
use crate::bottleneck::Bottleneck;
use crate::bridge::{Entrance, HttpWay, Reactors};
use crate::certificate::{self, Certificate};
use crate::cli::RunArgs;
use crate::clock::now;
use crate::days::Days;
use crate::doctor::probe;
use crate::hdr::Logs;
use crate::live::Live;
use crate::monitor::Monitor;
use crate::spans::{self, Moment};
use crate::tuning::Tuner;
use crate::{adaptive, dashboard, pages};

/// Threads of the HTTP side.
const HTTP_THREADS: usize = 2;
/// What a sleeping device is told where neither message nor hook say it.
const DEFAULT_PUSH: &str = r#"{"alert":"You have a new message"}"#;
/// Bytes of stored blocks kept in memory.
pub const BLOCK_CACHE: usize = 64 << 20;

/// What one conversation of many may have of a mailbox: an eighth.
const CROWD_SHARE: usize = 8;

/// Files open at once when a store is checked.
const CHECK_FILES: i32 = 256;

/// A server that is up.
pub struct Server {
    pub config: Config,
    pub net: Arc<net::Net>,
    pub http: Arc<HttpWay>,
    pub pipeline: Arc<Pipeline<Event>>,
    pub watcher: Arc<Watcher>,
    pub tuner: Arc<Tuner>,
    pub monitors: [Monitor; 2],
    pub days: Arc<Days>,
    pub exporter: Option<Exporter>,
    pub runtime: HttpRuntime,
    /// The certificate authority that clients must be told to trust, in development.
    pub authority: Option<std::path::PathBuf>,
    pub development: bool,
}

/// Starts everything, or says in words what stands in the way. What was opened by then is closed again in order. `text`:
/// what the file said that `config` was read from.
pub fn start(config: Config, text: String, args: &RunArgs) -> Result<Server, String> {
    let development = is_development(&config);
    refuse_others_folder(&args.data)?;
    std::fs::create_dir_all(&args.data)
        .map_err(|error| format!("cannot make the data folder {}: {error}", args.data.display()))?;
    let certificate = certificate(&config, args, development)?;
    // Addresses before the store: one that is taken is the likeliest thing to go wrong, and then nothing was opened yet.
    let options = net_options(&config, certificate.as_ref())?;
    let listeners = net::Listeners::bind(&options).map_err(|error| error.to_string())?;
    let admin = tidegate_http::bind_admin(config.listen.admin).map_err(|error| error.to_string())?;
    let runtime = HttpRuntime::start(HTTP_THREADS).map_err(|error| error.to_string())?;
    let clock: Clock = Arc::new(now);
    let store = open_store(&config, args, clock.clone())?;
    // Before anybody can ask whether it is ready: whoever then reads the log finds this in it.
    if store.recovered() {
        log::warn!("the last run ended without closing the store; it was recovered");
    }
    let bound = Bound { options, listeners, admin };
    let file = args.config.clone().map(|path| (path, text));
    match assemble(&config, file, bound, &runtime, (Arc::new(store), &args.data), clock) {
        Ok(Assembled { net, http, pipeline, watcher, tuner, monitors, days, exporter }) => Ok(Server {
            config,
            net,
            http,
            pipeline,
            watcher,
            tuner,
            monitors,
            days,
            exporter,
            runtime,
            authority: certificate.and_then(|certificate| certificate.authority),
            development,
        }),
        Err(error) => {
            // What is served there already may hold the store, which closes with its last user.
            runtime.stop(STOP_PATIENCE);
            Err(error)
        }
    }
}

/// For what is under way on the HTTP side when a start fails.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Addresses that are ours already.
struct Bound {
    options: net::Options,
    listeners: net::Listeners,
    admin: std::net::TcpListener,
}

struct Assembled {
    net: Arc<net::Net>,
    http: Arc<HttpWay>,
    pipeline: Arc<Pipeline<Event>>,
    watcher: Arc<Watcher>,
    tuner: Arc<Tuner>,
    monitors: [Monitor; 2],
    days: Arc<Days>,
    exporter: Option<Exporter>,
}

/// Where in a data folder the store is.
fn store_folder(data: &Path) -> PathBuf {
    data.join("store")
}

fn open_store(config: &Config, args: &RunArgs, clock: Clock) -> Result<rocks::RocksStore, String> {
    rocks::open(RocksOptions {
        path: store_folder(&args.data),
        apps: config.apps.iter().map(|app| app.id.clone()).collect(),
        sync: match config.store.sync {
            tidegate_config::Sync::Commit => rocks::Sync::Commit,
            tidegate_config::Sync::Interval(every) => rocks::Sync::Interval(every),
            tidegate_config::Sync::Off => rocks::Sync::Off,
        },
        retention: config.store.retention,
        dedupe_window: config.store.dedupe_window,
        max_open_files: i32::try_from(config.store.max_open_files).unwrap_or(i32::MAX),
        block_cache: BLOCK_CACHE,
        clock,
    })
    .map_err(|error| error.to_string())
}

/// The clock is the engine's, once there is one.
fn net_options(config: &Config, certificate: Option<&Certificate>) -> Result<net::Options, String> {
    let trusted = config.listen.trusted_proxies.iter().map(|block| block.to_string().parse());
    Ok(net::Options {
        http: config.listen.http,
        tcp: config.listen.tcp,
        reactors: config.net.reactors,
        mailbox: config.net.mailbox,
        outbox: config.net.outbox,
        credits: u32::try_from(config.net.credits).unwrap_or(u32::MAX),
        credit_bytes: config.net.credit_bytes,
        max_frame: config.net.max_frame,
        tls: certificate.map(|certificate| certificate.config.clone()),
        plain: config.listen.plain,
        trusted_proxies: trusted.collect::<Result<_, String>>()?,
        idle_timeout: config.net.idle_timeout,
        login_timeout: config.net.login_timeout,
        handshake_timeout: config.net.handshake_timeout,
        max_connections: config.net.max_connections,
        node: 0,
        ..net::Options::default()
    })
}

/// What stands on the store. On an error its threads are stopped by being dropped, the pipeline's before the store.
fn assemble(
    config: &Config,
    file: Option<(PathBuf, String)>,
    bound: Bound,
    runtime: &HttpRuntime,
    (store, data): (Arc<dyn Store>, &Path),
    clock: Clock,
) -> Result<Assembled, String> {
    let development = is_development(config);
    let usual = HookOptions::default();
    let exporter = exporter(config, runtime)?;
    let hook_options = HookOptions {
        in_flight: config.most_in_flight().unwrap_or(usual.in_flight),
        default_push: Some(DEFAULT_PUSH.into()),
        exporter: exporter.clone(),
        ..usual
    };
    let hooks = Arc::new(WebhookHooks::start(runtime, hook_options, &config.apps).map_err(|error| error.to_string())?);
    let notifier_options = NotifierOptions { exporter: exporter.clone(), ..NotifierOptions::default() };
    let notifier =
        Arc::new(WebhookNotifier::start(runtime, notifier_options, &config.apps).map_err(|error| error.to_string())?);
    let reactors = Arc::new(Reactors::default());
    let world = World::new(Parts {
        apps: Apps::new(config.apps.clone()),
        directory: Arc::new(LocalDirectory::new()),
        store: store.clone(),
        hooks: hooks.clone(),
        notifier: notifier.clone(),
        post: reactors.clone(),
        clock,
        random: Arc::new(random),
        views: config.memory.conversations,
        crowd: config.net.mailbox / CROWD_SHARE,
        sessions_per_client: config.net.sessions_per_client,
        sessions_per_connection: config.net.sessions_per_connection,
        sample: config.journeys.sample,
        journeys: config.journeys.keep,
        slow: config.journeys.slow,
        tokens: Kept { nonces: config.memory.nonces, revoked: config.memory.revoked_tokens },
        trace: config.journeys.trace,
    })
    .map_err(|error| format!("the store cannot be read: {error}"))?;

    let sinks: Sinks<Event> = [("net".to_owned(), reactors.clone() as Arc<dyn Sink<Event>>)].into();
    let supervisor = Arc::new(Watch(world.clone()));
    let modules = tidegate_stages::catalogue::modules(&world);
    let entry = config.net.to.clone();
    let env = Env::real();
    if let Some(exporter) = exporter.clone() {
        let clock = env.clone();
        let told = move |way: Arc<Way>| exporter.offer(spans::of(&way, Moment::now(clock.now())));
        world.journeys.on_end(Arc::new(told));
    }
    let pipeline =
        Pipeline::build(config.topology.clone(), modules, sinks, supervisor, &[&entry], env).map_err(|problems| {
            let lines: Vec<String> =
                problems.iter().map(|p| format!("{:?}: {} ({})", p.place, p.reason, p.help)).collect();
            format!("the pipeline cannot be built: {}", lines.join("; "))
        })?;
    let pipeline = Arc::new(pipeline);
    pipeline.start().map_err(|error| format!("cannot start the pipeline's threads: {error}"))?;

    let tuner = Arc::new(Tuner::new(pipeline.clone(), hooks.clone(), config.clone(), file));
    let logs = Logs::new(data.join(HDR), config.hdr.interval, config.hdr.keep);
    let bottleneck =
        Bottleneck::new(pipeline.clone(), store.clone(), hooks.clone(), notifier.clone(), config.net.reactors);
    let bottleneck = Arc::new(bottleneck);
    let alerts = Arc::new(alerts(config, runtime, world.clone(), data)?);
    let kept = (store.clone(), store_folder(data));
    let live = Arc::new(Live::new(world.clone(), pipeline.clone(), kept, (bottleneck, alerts.clone()), logs));
    let http = Arc::new(HttpWay::default());
    let Bound { options, listeners, admin } = bound;
    let clock = pipeline.clone();
    let options = net::Options { clock: Arc::new(move || clock.now()), ..options };
    // The HTTP side first: whoever connects must be served at once.
    let days = Arc::new(Days::begin(world.clone()).map_err(|error| format!("the store cannot be read: {error}"))?);
    let of = (world.clone(), pipeline.clone(), tuner.clone(), live.clone());
    let watcher = Arc::new(Watcher::new(of, (days.clone(), alerts.clone()), (hooks, notifier, exporter.clone())));
    let side = HttpSide::start(
        runtime,
        tidegate_http::Options {
            public_url: config.listen.public_url.clone().map(Into::into),
            ..tidegate_http::Options::default()
        },
        Deps {
            apps: config.apps.clone(),
            pages: if development { pages::PAGES.to_vec() } else { Vec::new() },
            journeys: development.then(|| watcher.clone() as Arc<dyn tidegate_http::Journeys>),
            admin: Some((admin, watcher.clone())),
            admin_tokens: tidegate_http::Tokens {
                read: config.admin.read_token.as_deref().map(Into::into),
                write: config.admin.write_token.as_deref().map(Into::into),
            },
            admin_pages: dashboard::FILES.to_vec(),
        },
    )
    .map_err(|error| error.to_string())?;
    let _ = http.0.set(side);
    if development {
        world.journeys.sample_all();
    }
    let door = Arc::new(Entrance::new(world, &pipeline.door(&entry), options.reactors));
    let net = net::start(options, listeners, door, Some(http.clone())).map_err(|error| error.to_string())?;
    let net = Arc::new(net);
    reactors.connect(net.mailbox());
    watcher.watch(&net);
    let (seen, told, each) = (Arc::downgrade(&net), tuner.clone(), days.clone());
    let look = move || {
        each.look();
        let stats = || seen.upgrade().map(|net| net.stats()).unwrap_or_default();
        live.look(|| {
            let stats = stats();
            told.tick(stats.delivery_ns.clone());
            alerts.look(&stats);
            stats
        })
    };
    let failed = |error: std::io::Error| format!("cannot start the monitor's threads: {error}");
    let monitor = Monitor::start("monitor", look).map_err(failed)?;
    let adaptive = adaptive::begin(pipeline.clone(), tuner.clone()).map_err(failed)?;
    Ok(Assembled { net, http, pipeline, watcher, tuner, monitors: [monitor, adaptive], days, exporter })
}

/// `data`: the folder in which it keeps what was usual.
fn alerts(config: &Config, runtime: &HttpRuntime, world: Arc<World>, data: &Path) -> Result<Alerts, String> {
    let settings = config.alerts.clone();
    let webhook = settings
        .webhook
        .as_deref()
        .map(|url| AlertWebhook::start(runtime, AlarmOptions::default(), url, settings.secret.as_deref()));
    let webhook = webhook.transpose().map_err(|error| error.to_string())?;
    // Who gets notices of several servers must tell them apart.
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    let server = config.listen.public_url.clone().or_else(|| host().ok()).unwrap_or_else(|| "tidegate".to_owned());
    Ok(Alerts::begin(settings, world, webhook, server, data))
}

/// Where traces go, where the configuration names a collector.
fn exporter(config: &Config, runtime: &HttpRuntime) -> Result<Option<Exporter>, String> {
    let Some(otlp) = &config.journeys.otlp else { return Ok(None) };
    let options = ExporterOptions { url: otlp.url.clone(), headers: otlp.headers.0.clone() };
    Exporter::start(runtime, &options).map(Some).map_err(|error| error.to_string())
}

/// Looks at the store of a data folder that no server is using.
pub fn check_store(data: &Path) -> Result<rocks::Checked, String> {
    let options = RocksOptions {
        path: store_folder(data),
        apps: Vec::new(),
        sync: rocks::Sync::Commit,
        retention: Duration::MAX,
        dedupe_window: Duration::MAX,
        max_open_files: CHECK_FILES,
        block_cache: BLOCK_CACHE,
        clock: Arc::new(now),
    };
    rocks::check(&options).map_err(|error| error.to_string())
}

impl Server {
    /// Takes leave of everybody within the configured time, finishes what was admitted, and closes the store.
    pub fn drain(self) {
        self.watcher.begin_drain();
        if let Some(side) = self.http.0.get() {
            side.drain();
        }
        // Some of the time is for what comes after the clients.
        let all = self.config.net.drain_timeout;
        let rest = (all / 4).min(Duration::from_secs(1));
        let pipeline = self.pipeline.clone();
        let goaway = Arc::new(|peer: Option<&ClientId>| {
            let mut frame = tidegate_protocol::notice(now(), &Notice::GoAway).to_vec();
            if let Some(peer) = peer {
                tidegate_protocol::append_peer(&mut frame, peer);
            }
            frame.into()
        });
        if self.net.drain(all - rest, move || pipeline.quiet(), goaway) {
            log::info!("all clients have left");
        } else {
            log::info!("the clients that were still connected at the end of drain_timeout were closed");
        }
        drop(self.monitors);
        // The reactors' threads end, and tell the pipeline of each connection that was left.
        drop(self.net);
        self.pipeline.drain(rest / 2);
        self.pipeline.stop();
        self.days.end();
        // Every journey has ended by now.
        if let Some(exporter) = &self.exporter {
            exporter.stop(rest / 4);
        }
        self.runtime.stop(rest / 4);
    }
}

/// What we put into a data folder.
const OURS: [&str; 4] = ["store", "tls", HDR, alerts::FILE];
/// Where in it HdrHistogram logs are.
const HDR: &str = "hdr";

/// A folder that holds somebody else's files is left as it is. What a killed `tidegate doctor` has left says nothing.
pub fn refuse_others_folder(data: &Path) -> Result<(), String> {
    let Ok(entries) = std::fs::read_dir(data) else { return Ok(()) };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let names: Vec<_> = names.filter(|name| *name != *probe::FILE).collect();
    let is_ours = |name: &std::ffi::OsString| OURS.iter().any(|ours| *name == **ours);
    match names.iter().find(|name| !is_ours(name)) {
        Some(other) if !names.iter().any(is_ours) => Err(format!(
            "{} is no data folder of Tidegate's: it holds {}. Name an empty folder, or one that does not exist, with --data",
            data.display(),
            other.to_string_lossy()
        )),
        _ => Ok(()),
    }
}

/// The file's certificate; in development, one of our own.
fn certificate(config: &Config, args: &RunArgs, development: bool) -> Result<Option<Certificate>, String> {
    match &config.listen.tls {
        Some(tls) => certificate::from_files(&tls.cert, &tls.key)
            .map(Some)
            .map_err(|wrong| format!("listen.tls.{}: {}", wrong.key, wrong.reason)),
        None if development => certificate::for_development(&args.data).map(Some),
        None => Ok(None),
    }
}

/// Everybody knows the development app's keys; with them the server is for trying things out.
pub fn is_development(config: &Config) -> bool {
    config.apps.iter().any(|app| &*app.key == tidegate_config::DEVELOPMENT_KEY)
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // There is nothing that could be served safely without randomness.
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
