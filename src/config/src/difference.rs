//! What differs between two configurations, setting by setting, and which of it needs a restart.
//!
//! For a reload, a dry run and the log of changes. Must not know how a change is put into force.

use std::fmt;

use crate::config::Config;
use crate::keys;
use crate::settings::{self, Setting};

/// One setting that differs. `Display` is a line for people, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As a file's dotted key: `stages.route.workers`, `listen.http`, `app.ID.origins`. A stage, a pool or an app that
    /// only one of the two has is one difference: `stages.late_hook`.
    pub path: String,
    /// In TOML, secrets starred. `None`: it is not there, as `pool` is of a stage with a pool of its own.
    pub from: Option<String>,
    /// As `from`.
    pub to: Option<String>,
    /// Whether a running server can change it; if not, it takes a restart.
    pub live: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = "nothing";
        let (from, to) = (self.from.as_deref().unwrap_or(none), self.to.as_deref().unwrap_or(none));
        let when = if self.live { "" } else { " (at the next start)" };
        write!(f, "{}: {from} -> {to}{when}", self.path)
    }
}

/// Stands for all keys of a stage, a pool or an app that is in one configuration only.
const WHOLE: &str = "{ … }";

/// All that differs, in the order of a written file; empty where both say the same, in whatever order.
pub fn differences(from: &Config, to: &Config) -> Vec<Difference> {
    let (before, after) = (settings::of(from), settings::of(to));
    let mut out: Vec<Difference> = Vec::new();
    for (setting, other) in changed(&before, &after) {
        let path = setting.path.join(".");
        let whole = whole(&setting.path);
        let is_new = whole.filter(|whole| !has(&before, whole));
        let is_gone = whole.filter(|whole| !has(&after, whole));
        let difference = match (is_new, is_gone) {
            (Some(whole), _) => Difference { path: whole.join("."), from: None, to: Some(WHOLE.into()), live: false },
            (None, Some(whole)) => {
                Difference { path: whole.join("."), from: Some(WHOLE.into()), to: None, live: false }
            }
            (None, None) => {
                let show = |setting: &Setting| setting.value.starred();
                let (from_value, to_value) = match other {
                    Other::Before(before) => (Some(before.value.starred()), Some(show(setting))),
                    Other::OnlyAfter => (None, Some(show(setting))),
                    Other::OnlyBefore => (Some(show(setting)), None),
                };
                Difference { path, from: from_value, to: to_value, live: is_live(setting, from, to) }
            }
        };
        if !out.contains(&difference) {
            out.push(difference);
        }
    }
    out
}

/// How a setting that differs stood before.
pub(crate) enum Other<'s> {
    Before(&'s Setting),
    OnlyAfter,
    OnlyBefore,
}

/// The settings that differ: as they are after, or, where they are only before, as they were.
pub(crate) fn changed<'s>(before: &'s [Setting], after: &'s [Setting]) -> Vec<(&'s Setting, Other<'s>)> {
    let find = |settings: &'s [Setting], path: &[String]| settings.iter().find(|setting| setting.path == path);
    let mut out = Vec::new();
    for setting in after {
        match find(before, &setting.path) {
            Some(same) if same.value == setting.value => {}
            Some(other) => out.push((setting, Other::Before(other))),
            None => out.push((setting, Other::OnlyAfter)),
        }
    }
    out.extend(before.iter().filter(|s| find(after, &s.path).is_none()).map(|setting| (setting, Other::OnlyBefore)));
    out
}

/// The stage, pool or app that a path leads into.
fn whole(path: &[String]) -> Option<&[String]> {
    matches!(path.first().map(String::as_str), Some("stages" | "pools" | "app")).then(|| &path[..2])
}

fn has(settings: &[Setting], whole: &[String]) -> bool {
    settings.iter().any(|setting| setting.path.starts_with(whole))
}

fn is_live(setting: &Setting, from: &Config, to: &Config) -> bool {
    let [section, name, key] = setting.path.as_slice() else { return false };
    if section == "stages" && key == "pool" {
        // Threads of a pool are made at the start only.
        let stage = to.topology.stages.iter().find(|stage| stage.name == *name);
        let Some(pool) = stage.and_then(|stage| stage.pool.as_ref()) else { return true };
        return from.topology.pools.iter().any(|known| known.name == *pool);
    }
    keys::is_live(section, key)
}
