//! A configuration in the words of the checks: plain numbers, worked out once.

use std::path::Path;

use tidegate_config::{Config, Sync, beyond_loopback, development_keys_exposed};
use tidegate_engine::StageSettings;
use tidegate_http::NotifierOptions;
use tidegate_stages::event::Event;

use super::config::Smells;
use super::processors::Pool;
use super::tls::{Certificate, Secret};
use super::{certificates, disk, files, kernel, memory};
use crate::{compose, config_file};

/// What a connection takes beside what waits for it: within a TLS handshake 24 KiB at most.
const CONNECTION: u64 = 24 << 10;
/// What one entry of a cache takes, about: a conversation with its members, a nonce or a token, a journey's marks, a step.
const VIEW: u64 = 2 << 10;
const TOKEN: u64 = 128;
const JOURNEY: u64 = 1 << 10;
const STEP: u64 = 256;
/// Of the store, beside its block cache: what is not yet written out, twice, for one part is written while the next fills.
const UNWRITTEN: u64 = 200 << 20;

/// The module whose batches are synced.
const PERSIST: &str = "persist";

pub fn files(config: &Config) -> files::Need {
    files::Need {
        connections: config.net.max_connections as u64,
        store: config.store.max_open_files as u64,
        calls: calls(config),
    }
}

/// To webhooks, at once.
fn calls(config: &Config) -> u64 {
    let hooks: usize = config.apps.iter().flat_map(|app| &app.webhooks).map(|hook| hook.concurrency).sum();
    let pushes = config.apps.iter().filter(|app| app.push_webhook.is_some()).count();
    (hooks + pushes * NotifierOptions::default().concurrency) as u64
}

pub fn kernel(config: &Config) -> kernel::Wanted {
    kernel::Wanted {
        backlog: u64::from(tidegate_net::BACKLOG),
        connections: config.net.max_connections as u64,
        calls: calls(config),
    }
}

pub fn memory(config: &Config) -> memory::Bounds {
    let (net, kept, journeys) = (&config.net, &config.memory, &config.journeys);
    let queued: usize = config.topology.stages.iter().map(|stage| stage.bound).sum();
    memory::Bounds {
        connections: net.max_connections as u64,
        connection: (net.outbox + net.credit_bytes) as u64 + CONNECTION,
        queues: queued as u64 * size_of::<Event>() as u64,
        mailboxes: (net.reactors * net.mailbox) as u64 * net.max_frame as u64,
        caches: kept.conversations as u64 * VIEW
            + (kept.nonces + kept.revoked_tokens) as u64 * TOKEN
            + journeys.keep as u64 * JOURNEY
            + journeys.trace as u64 * STEP,
        store: compose::BLOCK_CACHE as u64 + UNWRITTEN,
    }
}

/// Threads that may be inside a stage at once.
fn threads(config: &Config, stage: &StageSettings) -> usize {
    let pool = stage.pool.as_ref().and_then(|name| config.topology.pools.iter().find(|pool| pool.name == *name));
    pool.map_or(stage.workers, |pool| pool.workers.min(stage.workers))
}

fn blocks(stage: &StageSettings) -> bool {
    config_file::catalogue().blocks(&stage.module)
}

pub fn disk(config: &Config) -> disk::Wanted {
    let persists = || config.topology.stages.iter().filter(|stage| stage.module == PERSIST);
    let strictest = persists().min_by_key(|stage| stage.delay_target);
    disk::Wanted {
        stage: strictest.map_or(PERSIST.to_owned(), |stage| stage.name.clone()),
        messages: persists().map(|stage| (stage.batch * threads(config, stage)) as u64).sum(),
        delay_target_ms: strictest.map_or(f64::INFINITY, |stage| stage.delay_target.as_secs_f64() * 1e3),
        waits: config.store.sync == Sync::Commit,
    }
}

/// Pools of which no stage waits for the disk, and the reactors.
pub fn pools(config: &Config) -> Vec<Pool> {
    let topology = &config.topology;
    let own = topology.stages.iter().filter(|stage| stage.pool.is_none() && !blocks(stage)).map(|stage| Pool {
        path: format!("stages.{}", stage.name),
        key: "workers",
        threads: stage.workers,
        command: Some(stage.name.clone()),
    });
    let in_pool = |stage: &StageSettings, name: &str| stage.pool.as_deref() == Some(name);
    let waits = |name: &str| topology.stages.iter().any(|stage| in_pool(stage, name) && blocks(stage));
    let shared = topology.pools.iter().filter(|pool| !waits(&pool.name)).map(|pool| Pool {
        path: format!("pools.{}", pool.name),
        key: "workers",
        threads: pool.workers,
        command: Some(format!("--pool {}", pool.name)),
    });
    let reactors = Pool { path: "net".to_owned(), key: "reactors", threads: config.net.reactors, command: None };
    own.chain(shared).chain([reactors]).collect()
}

pub fn smells(config: &Config) -> Smells {
    let listen = &config.listen;
    let more = |stage: &StageSettings| match &stage.pool {
        Some(pool) => format!("tidegate tune --pool {pool} workers=2; tidegate tune {} workers=2", stage.name),
        None => format!("tidegate tune {} workers=2", stage.name),
    };
    let alone = config.topology.stages.iter().filter(|stage| blocks(stage) && threads(config, stage) == 1);
    let is_beyond = |address: &std::net::SocketAddr| beyond_loopback(address.ip());
    Smells {
        sync: config.store.sync,
        beyond: [listen.http, listen.tcp].into_iter().flatten().filter(is_beyond).collect(),
        admin_beyond: Some(listen.admin).filter(is_beyond),
        development: development_keys_exposed(config) || compose::is_development(config),
        tls: listen.tls.is_some() || compose::is_development(config),
        plain: listen.plain,
        alone: alone.map(|stage| (stage.name.clone(), more(stage))).collect(),
    }
}

/// The certificates that are or would be served, and the files whose content must stay with their owner.
pub fn tls(config: &Config, file: Option<&Path>, data: &Path) -> (Vec<Result<Vec<Certificate>, String>>, Vec<Secret>) {
    let development = compose::is_development(config);
    let (served, key) = match &config.listen.tls {
        Some(tls) => (Some(tls.cert.clone()), Some(tls.key.clone())),
        None if development => {
            let made = crate::certificate::Files::in_data(data);
            (Some(made.cert).filter(|cert| cert.exists()), Some(made.key))
        }
        None => (None, None),
    };
    let key = key.and_then(|key| certificates::secret(&key, "the private key of TLS"));
    // Without a file, or with the keys that everybody knows and no token, there is no secret in it.
    let keys = file.filter(|_| !development || config.admin.asks());
    let content = "the master keys, webhooks' secrets and admin tokens";
    let keys = keys.and_then(|file| certificates::secret(file, content));
    (served.iter().map(|cert| certificates::read(cert)).collect(), key.into_iter().chain(keys).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        config_file::parse(text, "test.toml").unwrap_or_else(|wrong| panic!("{wrong:?}"))
    }

    #[test]
    fn the_built_in_pipeline_in_the_checks_words() {
        let config = config(tidegate_config::DEFAULT);
        assert_eq!((files(&config).connections, files(&config).store, files(&config).calls), (18_000, 1_000, 0));
        assert_eq!((disk(&config).messages, disk(&config).delay_target_ms, disk(&config).waits), (64, 25.0, true));
        let alone: Vec<_> = smells(&config).alone.into_iter().map(|(name, _)| name).collect();
        assert_eq!(alone, ["persist", "read"]);
        let paths: Vec<_> = pools(&config).into_iter().map(|pool| pool.path).collect();
        assert!(paths.contains(&"stages.route".to_owned()) && paths.contains(&"net".to_owned()), "{paths:?}");
        assert!(!paths.contains(&"stages.persist".to_owned()), "it waits for the disk: {paths:?}");
        assert!(smells(&config).development && smells(&config).beyond.is_empty());
        let bounds = memory(&config);
        assert_eq!(bounds.connection, (256 << 10) * 2 + CONNECTION);
        assert_eq!(bounds.mailboxes, 4_096 << 16);
    }

    #[test]
    fn a_shared_pool_is_one_and_its_stages_have_its_threads() {
        let stages = ["decode", "authenticate", "route", "read", "persist", "fan_out", "hook", "push"];
        let table = |name: &&str| match *name {
            "read" | "persist" => format!("[stages.{name}]\npool = \"disk\"\nworkers = 4\nbatch = 32\n"),
            name => format!("[stages.{name}]\npool = \"line\"\nworkers = 3\n"),
        };
        let text =
            stages.iter().map(table).collect::<String>() + "[pools.line]\nworkers = 3\n[pools.disk]\nworkers = 2\n";
        let config = config(&text);
        let found: Vec<_> = pools(&config).into_iter().map(|pool| (pool.path, pool.threads)).collect();
        assert_eq!(found, [("pools.line".to_owned(), 3), ("net".to_owned(), 1)]);
        assert_eq!(disk(&config).messages, 64, "two threads, thirty-two each");
        assert!(smells(&config).alone.is_empty());
    }

    #[test]
    fn calls_are_those_of_all_apps() {
        let hook =
            |n| format!("[[app.webhook]]\nurl = \"http://h.example/\"\nsecret = \"secret-{n}\"\nconcurrency = {n}\n");
        let app =
            |id: &str| format!("[[app]]\nid = \"{id}\"\nkey = \"key-of-{id}\"\nmaster_key = \"master-key-of-{id}\"\n");
        let text =
            format!("{}{}{}push_webhook = \"http://p.example/\"\n{}", app("one"), hook(10), app("two"), hook(20));
        assert_eq!(calls(&config(&text)), 10 + 20 + NotifierOptions::default().concurrency as u64);
    }
}
