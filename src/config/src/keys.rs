//! Every key of `pipeline.toml` once: its form, its default, and its meaning in a line.
//!
//! The loader takes bounds and defaults from here and the reference page is written from here, so that neither can say
//! what the other does not. Must not know how a key's value is used.

use std::ops::RangeInclusive;
use std::time::Duration;

use tidegate_engine::{DELAY_INTERVAL, DELAY_TARGET};

use crate::form::Form;

/// What `in_flight` of a stage may be.
pub const IN_FLIGHT: RangeInclusive<usize> = 1..=65_536;

/// A key in its section.
pub(crate) struct Key {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) fallback: Fallback,
    pub(crate) meaning: &'static str,
}

/// What holds where a key is left out.
pub(crate) enum Fallback {
    /// This value, in TOML.
    Value(&'static str),
    /// No value; what that means.
    Absent(&'static str),
    /// The section makes no sense without.
    Required,
}

use Fallback::{Absent, Required, Value};

/// A section, in the order of the reference page.
pub(crate) struct SectionHead {
    pub(crate) name: &'static str,
    /// As its header is written.
    pub(crate) header: &'static str,
    pub(crate) meaning: &'static str,
}

pub(crate) const SECTIONS: &[SectionHead] = &[
    SectionHead {
        name: "listen",
        header: "[listen]",
        meaning: "Where clients and operators connect. Plain and TLS share each port, told apart by the first byte.",
    },
    SectionHead {
        name: "admin",
        header: "[admin]",
        meaning: "Who may use the admin port. Without tokens whoever reaches it may do everything, so it then listens on loopback only. \
                  With one, every path but `/readyz` wants it, on loopback too. Tokens are read at the start.",
    },
    SectionHead {
        name: "net",
        header: "[net]",
        meaning: "Connections: the threads that own the sockets, and what one client may cost.",
    },
    SectionHead {
        name: "store",
        header: "[store]",
        meaning: "What is kept on disk, for how long, and what an acknowledgement promises.",
    },
    SectionHead {
        name: "memory",
        header: "[memory]",
        meaning: "Bounds of what is kept in memory beside queues and connections.",
    },
    SectionHead {
        name: "journeys",
        header: "[journeys]",
        meaning: "Messages whose way through the stages is timed and kept for a look.",
    },
    SectionHead {
        name: "hdr",
        header: "[hdr]",
        meaning: "HdrHistogram logs of each stage and end to end, in the data folder's `hdr/`: what `tidegate hdr plot` draws.",
    },
    SectionHead {
        name: "alerts",
        header: "[alerts]",
        meaning: "Figures of the whole server that are out of what is usual for them: at `GET /alerts`, in the dashboard, and to a \
                  webhook. The defaults need no touching ([alerts.md](alerts.md)).",
    },
    SectionHead {
        name: "stages",
        header: "[stages.NAME]",
        meaning: "One table a stage. A file without any has the eight stages of the built-in pipeline; a file with one names all of \
                  its stages, and an empty table is enough for a stage that is named after its module.",
    },
    SectionHead {
        name: "pools",
        header: "[pools.NAME]",
        meaning: "Threads for the stages that name this pool; they look downstream first. A stage that names none has a pool of its \
                  own. One pool never serves both stages that wait for the disk (read, persist) and others.",
    },
    SectionHead {
        name: "app",
        header: "[[app]]",
        meaning: "One table an app; `tidegate app new` prints one. A file without any has the development app, whose keys \
                  everybody knows: the server then listens on loopback only.",
    },
    SectionHead {
        name: "app.signature",
        header: "signature = { … }",
        meaning: "In an `[[app]]`: which actions need a signature made with the app's master key. `off`: ignored; `optional`: checked when present; \
                  `required`.",
    },
    SectionHead {
        name: "app.webhook",
        header: "[[app.webhook]]",
        meaning: "A server of the app's own that is asked, or told, about messages. Each call carries \
                  `X-Tidegate-Signature: t=MILLISECONDS,v1=HEX`, the HMAC-SHA256 of `t.body` with the secret.",
    },
];

const fn key(section: &'static str, name: &'static str, form: Form, fallback: Fallback, meaning: &'static str) -> Key {
    Key { section, name, form, fallback, meaning }
}

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const fn count(least: u64, most: u64) -> Form {
    Form::Count { least, most }
}

const fn amount(least: u64, most: u64) -> Form {
    Form::Amount { least, most }
}

const fn between(least: Duration, most: Duration) -> Form {
    Form::Duration { least, most }
}

const NEED: Form = Form::Choice(&["off", "optional", "required"]);
const TOKEN: Form = Form::Token { least: 16, most: 256 };
const HTTP: Form = Form::Url(&["https", "http"]);
const EVENTS: Form = Form::Choice(&["messageReceived", "messageSent", "receiversOffline"]);

pub(crate) const KEYS: &[Key] = &[
    key("listen", "http", Form::Listener, Value("\"127.0.0.1:7700\""), "HTTP and WebSocket, told apart by the upgrade"),
    key(
        "listen",
        "tcp",
        Form::Listener,
        Value("\"127.0.0.1:7701\""),
        "Commands over TCP, each with its length before it",
    ),
    key(
        "listen",
        "admin",
        Form::Address,
        Value("\"127.0.0.1:7702\""),
        "Readiness, metrics and live changes; beyond loopback only with a token in `[admin]`",
    ),
    key(
        "listen",
        "tls",
        Form::Table("{ cert = \"FILE\", key = \"FILE\" }"),
        Absent("in development, a certificate of the server's own"),
        "Certificate chain and private key, PEM files, for `http` and `tcp`",
    ),
    key("listen", "plain", Form::Flag, Value("true"), "Whether connections without TLS are served"),
    key(
        "listen",
        "public_url",
        HTTP,
        Absent("the request's `Host` and the listener's own scheme"),
        "What `/v1/route` tells clients to connect to",
    ),
    key(
        "listen",
        "trusted_proxies",
        Form::List(&Form::Network),
        Value("[\"127.0.0.0/8\"]"),
        "Whose `X-Forwarded-For` or PROXY header names the real client",
    ),
    key("listen.tls", "cert", Form::Text { least: 1, most: 4096 }, Required, "PEM file with the certificate chain"),
    key("listen.tls", "key", Form::Text { least: 1, most: 4096 }, Required, "PEM file with the private key"),
    key(
        "admin",
        "read_token",
        TOKEN,
        Absent("only `write_token` lets in, or nobody is asked"),
        "Lets look at everything, and change nothing",
    ),
    key(
        "admin",
        "write_token",
        TOKEN,
        Absent("with a `read_token`, nothing can be changed; without, nobody is asked"),
        "Lets look at and change everything; another than `read_token`",
    ),
    key("net", "reactors", count(1, 64), Value("1"), "Threads that own sockets"),
    key("net", "to", Form::Name, Value("\"decode\""), "The stage that takes what clients send"),
    key(
        "net",
        "mailbox",
        count(64, MIB),
        Value("4096"),
        "Answers and deliveries waiting for one reactor; a message counts once for each session, to a chat room once. Of \
         messages to one room, or to one conversation of 64 or more, an eighth as many may be on their way",
    ),
    key(
        "net",
        "outbox",
        Form::Size { least: 4 * KIB, most: 64 * MIB },
        Value("\"256 KiB\""),
        "One connection's, of what it did not ask for; past it the connection is closed and the client learns the rest by unread",
    ),
    key(
        "net",
        "credits",
        count(1, 65_536),
        Value("64"),
        "One connection's commands in flight; without credit its socket is not read",
    ),
    key(
        "net",
        "credit_bytes",
        Form::Size { least: 4 * KIB, most: 64 * MIB },
        Value("\"256 KiB\""),
        "The same in bytes",
    ),
    key(
        "net",
        "max_frame",
        Form::Size { least: 8 * KIB, most: 16 * MIB },
        Value("\"64 KiB\""),
        "The longest command that a client may send; 4 KiB until somebody has logged in on the connection",
    ),
    key(
        "net",
        "max_connections",
        count(1, 10_000_000),
        Value("18000"),
        "Connections at once; the next ones are closed at the door",
    ),
    key("net", "sessions_per_client", count(1, 10_000), Value("100"), "Sessions that one client id may have open"),
    key(
        "net",
        "sessions_per_connection",
        count(1, 1_000_000),
        Value("65536"),
        "Sessions of different clients that one connection may carry",
    ),
    key(
        "net",
        "handshake_timeout",
        between(MS, HOUR),
        Value("\"10s\""),
        "From the connection to the end of its handshakes",
    ),
    key("net", "login_timeout", between(MS, HOUR), Value("\"60s\""), "Without a session or a heartbeat, 4108"),
    key("net", "idle_timeout", between(MS, DAY), Value("\"6m\""), "Without anything from the client, 4107"),
    key(
        "net",
        "drain_timeout",
        between(MS, HOUR),
        Value("\"10s\""),
        "For what is in flight when the server is told to stop",
    ),
    key(
        "store",
        "sync",
        Form::Sync,
        Value("\"commit\""),
        "What an acknowledgement promises: on disk; on disk within the interval; handed to the operating system",
    ),
    key(
        "store",
        "retention",
        between(HOUR, Duration::from_secs(86_400 * 36_500)),
        Value("\"180d\""),
        "How long history is kept",
    ),
    key(
        "store",
        "dedupe_window",
        between(Duration::from_secs(60), Duration::from_secs(86_400 * 30)),
        Value("\"1d\""),
        "How long a message sent again is recognised",
    ),
    key(
        "store",
        "max_open_files",
        count(64, 1_000_000),
        Value("1000"),
        "Files that the store keeps open; they share the process's limit with the sockets",
    ),
    key("memory", "conversations", count(1, 100_000_000), Value("100000"), "Conversations cached"),
    key(
        "memory",
        "nonces",
        count(1, 100_000_000),
        Value("1000000"),
        "Nonces of signatures remembered; when full, signatures older than the oldest are refused",
    ),
    key(
        "memory",
        "revoked_tokens",
        count(1, 100_000_000),
        Value("100000"),
        "Session tokens revoked before their end; when full, the soonest to expire goes",
    ),
    key("journeys", "sample", Form::Share { zero: true }, Value("0.01"), "The share of messages that are timed"),
    key(
        "journeys",
        "slow",
        between(MS, HOUR),
        Absent("none is kept for being slow"),
        "A message that takes longer than this until it has been handed to its receivers' connections is kept and exported though \
         it was not sampled; of it only the time from its arrival is known",
    ),
    key("journeys", "keep", count(1, MIB), Value("4096"), "Journeys kept, the newest"),
    key("journeys", "trace", count(1, 16 * MIB), Value("65536"), "Happenings kept for `GET /trace`, the newest"),
    key(
        "journeys",
        "otlp",
        HTTP,
        Absent("no traces are exported"),
        "Takes each sampled message as an OpenTelemetry trace: a collector's address for OTLP over HTTP, without the path `/v1/traces`",
    ),
    key(
        "journeys",
        "otlp_headers",
        Form::Table("{ Authorization = \"Bearer …\" }"),
        Absent("no headers"),
        "Sent with each request to `otlp`, for a collector that wants to know who it is",
    ),
    key(
        "hdr",
        "interval",
        between(Duration::from_secs(1), HOUR),
        Value("\"10s\""),
        "The time that one line of a log is of",
    ),
    key("hdr", "keep", count(0, 100_000), Value("48"), "Logs kept, one for each hour; 0: none is written"),
    key(
        "stages",
        "module",
        Form::Name,
        Absent("the stage's own name"),
        "What the stage does: decode, authenticate, route, read, persist, fan_out, hook, push",
    ),
    key(
        "stages",
        "to",
        Form::Table("{ OUTPUT = \"STAGE\" }"),
        Absent("each output to the stage that it is meant for (below)"),
        "Where its outputs go; an optional one may be `\"none\"`",
    ),
    key(
        "stages",
        "pool",
        Form::Name,
        Absent("a pool of its own, with `workers` threads"),
        "The pool whose threads work here",
    ),
    key(
        "stages",
        "workers",
        amount(1, 1024),
        Value("1"),
        "Threads that may be inside at once; `\"auto\"`: found while the server runs, beginning with 1",
    ),
    key(
        "stages",
        "batch",
        amount(1, 65_536),
        Value("64"),
        "Events taken at once, at most; `\"auto\"`: found while the server runs, beginning with 64",
    ),
    key("stages", "bound", count(1, 16 * MIB), Value("8192"), "Events waiting or in work"),
    key(
        "stages",
        "policy",
        Form::Choice(&["block", "shed", "drop-oldest"]),
        Value("\"block\""),
        "When it is full: the stages before wait; the sender is refused; what may be dropped is, else they wait",
    ),
    key(
        "stages",
        "delay_target",
        between(*DELAY_TARGET.start(), *DELAY_TARGET.end()),
        Value("\"5ms\""),
        "A wait longer than this, all through an interval, is overload: the door begins to refuse; 25ms for stages that wait for the disk",
    ),
    key(
        "stages",
        "delay_interval",
        between(*DELAY_INTERVAL.start(), *DELAY_INTERVAL.end()),
        Value("\"50ms\""),
        "How long the wait must last, and how often it is decided how many are let in",
    ),
    key(
        "stages",
        "key_share",
        Form::Share { zero: false },
        Value("0.1"),
        "Of what waits on the line, for one conversation",
    ),
    key(
        "stages",
        "window",
        count(1, 65_536),
        Value("16"),
        "Events of one key that may overlap while their answers are outstanding",
    ),
    key(
        "stages",
        "in_flight",
        count(*IN_FLIGHT.start() as u64, *IN_FLIGHT.end() as u64),
        Absent("256 for hook"),
        "Calls to the outside at once, over all apps; only for modules that make them",
    ),
    key("pools", "workers", count(1, 1024), Value("2"), "Threads"),
    key(
        "pools",
        "spin",
        between(Duration::ZERO, Duration::from_millis(10)),
        Value("\"5us\""),
        "How long an idle thread looks for work before it sleeps",
    ),
    key(
        "pools",
        "reactors",
        Form::Flag,
        Value("true"),
        "Whether reactors run its stages while its threads sleep, where `[net] to` is one of these and none waits for the disk",
    ),
    key("app", "id", Form::Text { least: 1, most: 64 }, Required, "What an SDK is given as the app id"),
    key("app", "key", Form::Text { least: 8, most: 256 }, Required, "What clients are given"),
    key(
        "app",
        "master_key",
        Form::Text { least: 16, most: 256 },
        Required,
        "What the app's own servers are given; signatures are made with it",
    ),
    key("app", "origins", Form::List(&Form::Origin), Value("[]"), "Web pages that may connect; none: all may"),
    key("app", "signature", Form::Table("{ login = \"required\" }"), Absent("nothing needs a signature"), "See below"),
    key("app", "push_webhook", HTTP, Absent("no pushes"), "Takes notifications for those who are offline"),
    key("app", "webhook", Form::Table("[[app.webhook]]"), Absent("no webhooks"), "See below"),
    key("app.signature", "login", NEED, Value("\"off\""), "To open a session"),
    key("app.signature", "start", NEED, Value("\"off\""), "To start a conversation"),
    key("app.signature", "add", NEED, Value("\"off\""), "To add members, or to join"),
    key("app.signature", "remove", NEED, Value("\"off\""), "To remove members"),
    key("app.webhook", "url", HTTP, Required, "Where the calls go"),
    key("app.webhook", "secret", Form::Text { least: 8, most: 256 }, Required, "Signs them"),
    key(
        "app.webhook",
        "events",
        Form::List(&EVENTS),
        Value("[\"messageReceived\", \"messageSent\", \"receiversOffline\"]"),
        "Which calls: before a message is kept (may change or drop it); after; before a push (may change or skip it)",
    ),
    key(
        "app.webhook",
        "timeout",
        between(Duration::from_millis(10), Duration::from_secs(60)),
        Value("\"3s\""),
        "For one call",
    ),
    key("app.webhook", "concurrency", count(1, 4096), Value("32"), "Calls at once"),
    key(
        "app.webhook",
        "on_failure",
        Form::Choice(&["pass", "refuse"]),
        Value("\"pass\""),
        "What becomes of a message when `messageReceived` failed or was late",
    ),
    key("alerts", "webhook", HTTP, Absent("alerts are shown, and nobody is told"), "Takes notices, as JSON"),
    key(
        "alerts",
        "secret",
        Form::Text { least: 8, most: 256 },
        Absent("notices are not signed"),
        "Signs them, as an `[[app.webhook]]`'s does",
    ),
    key(
        "alerts",
        "interval",
        between(Duration::from_secs(1), HOUR),
        Value("\"1m\""),
        "The time that one value is of; 60 of them are the recent past, and 15 are learned before anything is judged",
    ),
    key(
        "alerts",
        "for",
        between(Duration::from_secs(1), DAY),
        Value("\"2m\""),
        "Out of the usual for so long, an alert is raised",
    ),
    key(
        "alerts",
        "clear_after",
        between(Duration::from_secs(1), DAY),
        Value("\"5m\""),
        "Well again for so long, it is cleared; up to an hour where it keeps coming back",
    ),
    key(
        "alerts",
        "factor",
        count(2, 1_000),
        Value("2"),
        "So many times more, or less, than the median is out of the usual, if it is no noise",
    ),
    key(
        "alerts",
        "min_rate",
        count(1, 1_000_000_000),
        Value("10"),
        "Fewer messages, commands, deliveries or connections a second than this are never news",
    ),
    key(
        "alerts",
        "min_latency",
        between(MS, Duration::from_secs(600)),
        Value("\"50ms\""),
        "A p99 end to end up to this is never news",
    ),
    key(
        "alerts",
        "min_errors",
        Form::Share { zero: true },
        Value("0.01"),
        "A share of refused commands up to this is never news",
    ),
];

/// The keys of a section.
pub(crate) fn of(section: &str) -> impl Iterator<Item = &'static Key> + use<'_> {
    KEYS.iter().filter(move |key| key.section == section)
}

/// A key by its name.
pub(crate) fn find(section: &str, name: &str) -> Option<&'static Key> {
    of(section).find(|key| key.name == name)
}

/// Keys of stages and pools that the admin port changes while the server runs.
const LIVE: [(&str, &str); 13] = [
    ("stages", "pool"),
    ("stages", "workers"),
    ("stages", "batch"),
    ("stages", "bound"),
    ("stages", "policy"),
    ("stages", "delay_target"),
    ("stages", "delay_interval"),
    ("stages", "key_share"),
    ("stages", "window"),
    ("stages", "in_flight"),
    ("pools", "workers"),
    ("pools", "spin"),
    ("pools", "reactors"),
];

/// Whether a key can be changed without a restart.
pub(crate) fn is_live(section: &str, name: &str) -> bool {
    LIVE.contains(&(section, name))
}
