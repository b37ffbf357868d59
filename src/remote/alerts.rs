//! `tidegate alerts`: how the figures of a running server stand against what is usual, and silences.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};
use tidegate_domain::time::iso;

use super::{AdminArgs, Remote, text};
use crate::cli::{Stop, print};

/// See what is out of the usual on a running server, and silence its notices
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate alerts                                  each figure, what it was, and the last notices
  tidegate alerts --silence 2h --reason \"deploy\"  no notices for two hours; what is raised is still shown
  tidegate alerts --end-silence")]
pub struct AlertsArgs {
    /// Send no notices for so long, as in 30m or 2h; in place of a silence that goes on
    #[arg(long, value_name = "TIME", conflicts_with = "end_silence")]
    silence: Option<String>,
    /// Why, for whoever wonders
    #[arg(long, value_name = "TEXT", requires = "silence", default_value = "")]
    reason: String,
    /// Send notices again
    #[arg(long)]
    end_silence: bool,
    /// Print what the admin side says, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Notices that are listed.
const LISTED: usize = 10;

pub fn run(args: &AlertsArgs) -> Result<(), Stop> {
    let remote = Remote::new(&args.admin, "alerts");
    let report = match &args.silence {
        Some(length) => remote.post_json("/alerts/silence", &json!({ "for": length, "reason": args.reason }))?,
        None if args.end_silence => remote.delete("/alerts/silence")?,
        None => remote.get("/alerts")?,
    };
    print(&if args.json { format!("{report}\n") } else { shown(&report) })
}

fn shown(report: &Value) -> String {
    let mut out = String::new();
    for alert in report["alerts"].as_array().into_iter().flatten() {
        let (name, state) = (text(&alert["alert"]), text(&alert["state"]));
        let _ = writeln!(out, "{name:<9} {state:<9} {}", text(&alert["words"]));
    }
    let silence = &report["silence"];
    if silence.is_object() {
        let until = iso(silence["until_ms"].as_i64().unwrap_or_default());
        let reason = silence["reason"].as_str().filter(|reason| !reason.is_empty());
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ = writeln!(out, "Silent until {until}, by {}{reason}", text(&silence["by"]));
    }
    let sent = &report["webhook"];
    let _ = match sent.is_object() {
        false => writeln!(out, "Nobody is told: [alerts] has no webhook"),
        true => writeln!(
            out,
            "Notices: {} answered, {} given up, {} lost, {} on their way",
            sent["answered"], sent["failed"], sent["unsent"], sent["pending"]
        ),
    };
    let notices = report["notices"].as_array().map_or(&[][..], Vec::as_slice);
    for notice in notices.iter().rev().take(LISTED).rev() {
        let at = iso(notice["at_ms"].as_i64().unwrap_or_default());
        let _ =
            writeln!(out, "{at} {} {}: {}", text(&notice["alert"]), text(&notice["notice"]), text(&notice["words"]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_things_stand_and_who_is_told() {
        let report = json!({
            "silence": {"by": "ann", "reason": "deploy", "since_ms": 0, "until_ms": 60_000},
            "webhook": {"pending": 0, "answered": 2, "failed": 1, "unsent": 0},
            "alerts": [{"alert": "latency", "state": "raised", "words": "p99 is 840 ms"}],
            "notices": [{"at_ms": 1_000, "alert": "latency", "notice": "raised", "words": "p99 is 840 ms", "sent": true}],
        });
        let said = shown(&report);
        for words in [
            "latency   raised    p99 is 840 ms\n",
            "Silent until 1970-01-01T00:01:00.000Z, by ann: deploy",
            "2 answered, 1 given up, 0 lost",
            "1970-01-01T00:00:01.000Z latency raised: p99 is 840 ms",
        ] {
            assert!(said.contains(words), "{said}");
        }
        assert!(shown(&Value::Null).contains("Nobody is told"));
    }
}
