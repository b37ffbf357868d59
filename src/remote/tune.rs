//! `tidegate tune`: looks at and changes stages and pools of a running server.

use std::fmt::Write;

use clap::Args;
use serde_json::{Map, Value};
use tidegate_domain::time::iso;

use super::{AdminArgs, Remote, encoded, nanoseconds, text};
use crate::cli::{Stop, print};

/// Look at and change the stages of a running server
///
/// A change is in force at once, loses nothing, and is forgotten at the next start unless it is saved.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate tune                                  all stages as they run now
  tidegate tune persist workers=2 batch=128      change a stage
  tidegate tune persist workers=auto batch=auto  let the server find them; a number fixes them again
  tidegate tune route pool=line                  let the pool `line` serve it; pool=route gives it its own again
  tidegate tune persist delay_target=50ms --dry-run
  tidegate tune --pool line workers=3 spin=10us  change a shared pool
  tidegate tune --undo                           take the last change back
  tidegate tune --save                           write what is running into pipeline.toml, comments kept")]
pub struct TuneArgs {
    /// The stage (or, with --pool, the pool)
    name: Option<String>,
    /// What to change: workers, batch, bound, policy, delay_target, delay_interval, key_share, window, in_flight, pool; of a
    /// pool workers, spin, reactors
    #[arg(value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, Value)>,
    /// NAME is a pool of threads
    #[arg(long)]
    pool: bool,
    /// Say what would come of it, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the last change back; again, the one before
    #[arg(long, group = "action", conflicts_with = "name")]
    undo: bool,
    /// List the changes since the start, with what came of them
    #[arg(long, group = "action", conflicts_with = "name")]
    changes: bool,
    /// Write what is running into the server's configuration file
    #[arg(long, group = "action", conflicts_with = "name")]
    save: bool,
    /// Put into force what the server's configuration file says now, as SIGHUP does
    #[arg(long, group = "action", conflicts_with = "name")]
    reload: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(args: &TuneArgs) -> Result<(), Stop> {
    let remote = Remote::new(&args.admin, "tune");
    let dry = if args.dry_run { "?dry_run=true" } else { "" };
    if args.undo {
        return said(&remote.post(&format!("/undo{dry}"))?);
    }
    if args.reload {
        return said(&remote.post(&format!("/config/reload{dry}"))?);
    }
    if args.save {
        return saved(&remote.post(&format!("/config/save{dry}"))?);
    }
    if args.changes {
        return listed(&remote.get("/changes")?);
    }
    let Some(name) = &args.name else { return table(&remote.get("/stages")?) };
    let kind = if args.pool { "pools" } else { "stages" };
    let path = format!("/{kind}/{}", encoded(name));
    if args.settings.is_empty() {
        return shown(&remote.get(&path)?);
    }
    let patch: Map<String, Value> = args.settings.iter().cloned().collect();
    // The answer to a change is the stage; that to a trial is what changes.
    let patch = Value::Object(patch);
    let mut change = remote.patch(&format!("{path}?dry_run=true"), &patch)?;
    if !args.dry_run && settings_of(&change).next().is_some() {
        remote.patch(&path, &patch)?;
        change["dry_run"] = false.into();
    }
    said(&change)
}

fn settings_of(change: &Value) -> impl Iterator<Item = &Value> {
    change["changes"].as_array().into_iter().flatten()
}

/// `KEY=VALUE`, in the admin API's words: times with a unit become milliseconds or microseconds.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in workers=2")?;
    let (key, value) = (key.trim(), value.trim());
    let in_unit = |ns: f64| {
        let time = nanoseconds(value).ok_or_else(|| format!("{value:?} is no time: write 5ms, 200us or 1s"))?;
        Ok::<Value, String>((time / ns).into())
    };
    match key {
        "delay_target" | "delay_interval" => Ok((format!("{key}_ms"), in_unit(1e6)?)),
        "spin" => Ok(("spin_us".to_owned(), in_unit(1e3)?)),
        _ => Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into()))),
    }
}

fn said(change: &Value) -> Result<(), Stop> {
    let mut out = String::new();
    for setting in settings_of(change) {
        let _ = writeln!(out, "{}: {} -> {}", text(&setting["key"]), text(&setting["from"]), text(&setting["to"]));
    }
    if out.is_empty() {
        out.push_str("It was so already.\n");
    } else if change["dry_run"] == true {
        out.push_str("Nothing was changed: this is what would be.\n");
    } else {
        let undoes = change["undoes"].as_u64().map(|id| format!(", which takes back change {id}")).unwrap_or_default();
        let _ = writeln!(out, "In force{undoes}.");
        out.push_str(
            "`tidegate tune --undo` takes the last change back, `tidegate tune --save` writes all into the file.\n",
        );
    }
    print(&out)
}

fn saved(saved: &Value) -> Result<(), Stop> {
    let mut out = String::new();
    for setting in settings_of(saved) {
        let _ = writeln!(out, "{}: {} -> {}", text(&setting["key"]), text(&setting["from"]), text(&setting["to"]));
    }
    let file = text(&saved["file"]);
    let _ = match (&saved["backup"], saved["dry_run"] == true) {
        (_, true) => writeln!(out, "Nothing was written: this is what would change in {file}."),
        (Value::String(backup), _) => writeln!(out, "Written into {file}; as it was before, it is in {backup}."),
        _ => writeln!(out, "{file} says already what is running."),
    };
    print(&out)
}

fn listed(changes: &Value) -> Result<(), Stop> {
    let mut out = String::new();
    for change in changes.as_array().into_iter().flatten() {
        let at = iso(change["at_ms"].as_i64().unwrap_or_default());
        let note = match (&change["undoes"], &change["undone_by"]) {
            (Value::Number(id), _) => format!(" (undoes {id})"),
            (_, Value::Number(id)) => format!(" (undone by {id})"),
            _ => String::new(),
        };
        let _ = writeln!(out, "{} {at} {}{note}", change["id"], text(&change["by"]));
        if let Some(why) = change["why"].as_str() {
            let _ = writeln!(out, "    {why}");
        }
        for setting in settings_of(change) {
            let _ =
                writeln!(out, "    {}: {} -> {}", text(&setting["key"]), text(&setting["from"]), text(&setting["to"]));
        }
        for effect in change["effect"].as_array().into_iter().flatten() {
            let figures = |of: &Value| {
                let p99 = of["p99_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{ms:.2} ms"));
                format!("{:.0}/s, p99 {p99}", of["rate"].as_f64().unwrap_or_default())
            };
            let after = if effect["after"].is_null() { "not yet known".to_owned() } else { figures(&effect["after"]) };
            let _ =
                writeln!(out, "    {}: {}; a minute later {after}", text(&effect["of"]), figures(&effect["before"]));
        }
    }
    if out.is_empty() {
        out.push_str("Nothing was changed since the start.\n");
    }
    print(&out)
}

fn table(stages: &Value) -> Result<(), Stop> {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<14} {:<10} {:>7} {:>9} {:>7} {:<12} {:>9} {:>6} {:>6} {:>10}",
        "stage", "pool", "workers", "batch", "bound", "policy", "rate/s", "busy", "depth", "wait p99"
    );
    for stage in stages.as_array().into_iter().flatten() {
        let number = |key: &str| stage[key].as_f64().unwrap_or_default();
        let wait = stage["wait_ns"]["p99"].as_f64().unwrap_or_default() / 1e6;
        let _ = writeln!(
            out,
            "{:<14} {:<10} {:>7} {:>9} {:>7} {:<12} {:>9.0} {:>5.0}% {:>6} {:>7.2} ms",
            text(&stage["name"]),
            text(&stage["pool"]),
            amount(stage, "workers"),
            amount(stage, "batch"),
            number("bound"),
            text(&stage["policy"]),
            number("rate"),
            number("utilisation") * 100.0,
            number("depth"),
            wait
        );
    }
    print(&out)
}

/// A number, and whether the server finds it.
fn amount(stage: &Value, of: &str) -> String {
    format!("{}{}", text(&stage[of]), if stage["auto"][of] == true { " auto" } else { "" })
}

/// What can be changed of it, in the words in which it is changed.
fn shown(report: &Value) -> Result<(), Stop> {
    const KEYS: [&str; 12] = [
        "pool",
        "workers",
        "batch",
        "bound",
        "policy",
        "delay_target_ms",
        "delay_interval_ms",
        "key_share",
        "window",
        "in_flight",
        "spin_us",
        "reactors",
    ];
    let mut out = String::new();
    for key in KEYS.into_iter().filter(|key| !report[key].is_null()) {
        let _ = match key.rsplit_once('_') {
            Some((name, unit @ ("ms" | "us"))) => writeln!(out, "{name}={}{unit}", text(&report[key])),
            _ if report["auto"][key] == true => writeln!(out, "{key}=auto ({} now)", text(&report[key])),
            _ => writeln!(out, "{key}={}", text(&report[key])),
        };
    }
    print(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_typed_as_in_the_file() {
        let good = |text: &str| setting(text).unwrap();
        assert_eq!(good("workers=2"), ("workers".into(), 2.into()));
        assert_eq!(good("workers=auto"), ("workers".into(), "auto".into()));
        assert_eq!(good("policy=drop-oldest"), ("policy".into(), "drop-oldest".into()));
        assert_eq!(good("delay_target=0.5ms"), ("delay_target_ms".into(), 0.5.into()));
        assert_eq!(good("delay_interval=1s"), ("delay_interval_ms".into(), 1000.0.into()));
        assert_eq!(good("spin=20us"), ("spin_us".into(), 20.0.into()));
        assert_eq!(good("delay_target_ms=3"), ("delay_target_ms".into(), 3.into()));
        assert_eq!(good("reactors=false"), ("reactors".into(), false.into()));
        assert!(setting("workers").is_err());
        assert!(setting("delay_target=5").is_err(), "without a unit");
        assert!(setting("spin=fast").is_err());
    }
}
