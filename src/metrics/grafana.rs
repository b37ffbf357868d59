//! A dashboard for Grafana: one row for the whole, one for all stages beside one another, one that repeats for each
//! stage, and one for each of what lies around them.

use serde_json::{Value, json};
use tidegate_http::metrics::Histogram;
use tidegate_http::metrics::registry::label::{APP, OUTCOME, WEBHOOK};
use tidegate_http::metrics::registry::*;

use super::query::Asking;

const ASKING: Asking = Asking {
    everywhere: &["instance=~\"$instance\""],
    of_stages: &["stage=~\"$stage\""],
    over: "$__rate_interval",
    keep: &["instance"],
};

/// What the values of a panel are, in Grafana's words.
#[derive(Clone, Copy)]
enum Axis {
    Number,
    Seconds,
    Share,
    Bytes,
    ASecond,
    BytesASecond,
}

impl Axis {
    fn unit(self) -> &'static str {
        match self {
            Axis::Number => "short",
            Axis::Seconds => "s",
            Axis::Share => "percentunit",
            Axis::Bytes => "bytes",
            Axis::ASecond => "cps",
            Axis::BytesASecond => "Bps",
        }
    }
}

/// One picture: queries, each with the name of its lines.
struct Panel {
    title: &'static str,
    axis: Axis,
    lines: Vec<(String, &'static str)>,
    description: String,
}

fn panel(title: &'static str, axis: Axis, lines: impl Into<Vec<(String, &'static str)>>) -> Panel {
    Panel { title, axis, lines: lines.into(), description: String::new() }
}

impl Panel {
    fn because(mut self, description: &str) -> Panel {
        self.description = description.to_owned();
        self
    }
}

struct Row {
    title: &'static str,
    /// One for each stage.
    repeats: bool,
    panels: Vec<Panel>,
}

/// The dashboard as JSON, to import or to provision.
pub fn dashboard() -> String {
    let rows = [whole(), all_stages(), one_stage(), clients(), webhooks(), alerts(), machine()];
    let dashboard = json!({
        "title": "Tidegate",
        "uid": "tidegate",
        "description": format!("Written by `tidegate metrics --grafana` of version {}.", env!("CARGO_PKG_VERSION")),
        "tags": ["tidegate"],
        "schemaVersion": 41,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": { "from": "now-1h", "to": "now" },
        "timezone": "browser",
        "annotations": { "list": [] },
        "links": [],
        "templating": { "list": variables() },
        "panels": laid_out(&rows),
    });
    format!("{dashboard:#}\n")
}

fn variables() -> Value {
    let source = json!({
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        "current": {}, "options": [], "hide": 0, "refresh": 1, "regex": "", "multi": false, "includeAll": false,
    });
    let values = |name: &str, label: &str, query: String| {
        json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(),
            "definition": query, "query": { "query": query, "refId": name },
            "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
            "options": [], "hide": 0, "refresh": 2, "regex": "", "sort": 1, "multi": true, "includeAll": true,
        })
    };
    let servers = format!("label_values({}, instance)", CONNECTIONS.about().full_name());
    let stages = format!("label_values({}, stage)", STAGE_WORKERS.about().full_name());
    json!([source, values("instance", "Server", servers), values("stage", "Stage", stages)])
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// Three panels beside one another; a row's title above them.
fn laid_out(rows: &[Row]) -> Vec<Value> {
    const ACROSS: usize = 3;
    const WIDTH: usize = 24 / ACROSS;
    const HEIGHT: usize = 8;
    let (mut all, mut y) = (Vec::new(), 0);
    for row in rows {
        let id = all.len() + 1;
        let mut head = json!({
            "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 },
        });
        if row.repeats {
            head["repeat"] = json!("stage");
        }
        all.push(head);
        y += 1;
        for (nth, panel) in row.panels.iter().enumerate() {
            let place = json!({
                "x": nth % ACROSS * WIDTH, "y": y + nth / ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT,
            });
            all.push(drawn(panel, all.len() + 1, place));
        }
        y += row.panels.len().div_ceil(ACROSS) * HEIGHT;
    }
    all
}

fn drawn(panel: &Panel, id: usize, place: Value) -> Value {
    let target = |(nth, (expr, legend)): (usize, &(String, &str))| {
        let name = char::from(b'A' + nth as u8).to_string();
        json!({
            "refId": name, "expr": expr, "legendFormat": legend, "datasource": datasource(),
            "editorMode": "code", "range": true,
        })
    };
    let mut defaults = json!({
        "unit": panel.axis.unit(),
        "min": 0,
        "custom": { "drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false },
    });
    if matches!(panel.axis, Axis::Share) {
        defaults["max"] = json!(1);
    }
    json!({
        "id": id,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": datasource(),
        "gridPos": place,
        "targets": panel.lines.iter().enumerate().map(target).collect::<Vec<_>>(),
        "fieldConfig": { "defaults": defaults, "overrides": [] },
        "options": {
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
    })
}

const QUANTILES: [(f64, &str); 4] =
    [(0.5, "p50 {{instance}}"), (0.9, "p90 {{instance}}"), (0.99, "p99 {{instance}}"), (0.999, "p99.9 {{instance}}")];

/// A line for each quantile of a distribution.
fn quantiles<const N: usize>(
    of: &'static Histogram<N>,
    quantiles: &[(f64, &'static str)],
) -> Vec<(String, &'static str)> {
    quantiles.iter().map(|(quantile, name)| (ASKING.quantile(*quantile, of), *name)).collect()
}

fn whole() -> Row {
    let ask = &ASKING;
    let panels = vec![
        panel("Delivery, end to end", Axis::Seconds, quantiles(&DELIVERY_SECONDS, &QUANTILES))
            .because(DELIVERY_SECONDS.about().help),
        panel("Deliveries", Axis::ASecond, [(ask.count_rate(&DELIVERY_SECONDS), "{{instance}}")]),
        panel("Refused, by stage", Axis::ASecond, [(ask.rate(&STAGE_REFUSED, &[]), "{{instance}} {{stage}}")])
            .because(STAGE_REFUSED.about().reading),
    ];
    Row { title: "The whole server", repeats: false, panels }
}

fn all_stages() -> Row {
    let ask = &ASKING;
    let full = format!("{} / {}", ask.now(&STAGE_DEPTH, &[]), ask.now(&STAGE_BOUND, &[]));
    let panels = vec![
        panel("Utilisation", Axis::Share, [(ask.now(&STAGE_UTILISATION, &[]), "{{instance}} {{stage}}")])
            .because(STAGE_UTILISATION.about().reading),
        panel("Wait, p99", Axis::Seconds, [(ask.quantile(0.99, &STAGE_WAITED_SECONDS), "{{instance}} {{stage}}")])
            .because(STAGE_WAIT_SECONDS.about().reading),
        panel("Depth, as a share of the bound", Axis::Share, [(full, "{{instance}} {{stage}}")])
            .because(STAGE_DEPTH.about().reading),
    ];
    Row { title: "Stages beside one another", repeats: false, panels }
}

fn one_stage() -> Row {
    let ask = &ASKING;
    let panels = vec![
        panel("Rate", Axis::ASecond, [(ask.rate(&STAGE_EVENTS, &[]), "{{instance}}")])
            .because(STAGE_EVENTS.about().help),
        panel(
            "Depth against bound",
            Axis::Number,
            [
                (ask.now(&STAGE_DEPTH, &[]), "depth {{instance}}"),
                (ask.now(&STAGE_HELD, &[]), "held {{instance}}"),
                (ask.now(&STAGE_BOUND, &[]), "bound {{instance}}"),
            ],
        )
        .because(STAGE_DEPTH.about().reading),
        panel(
            "Utilisation",
            Axis::Share,
            [
                (ask.now(&STAGE_UTILISATION, &[]), "at work {{instance}}"),
                (ask.now(&STAGE_BLOCKED_SHARE, &[]), "no room downstream {{instance}}"),
            ],
        )
        .because(STAGE_BLOCKED_SHARE.about().reading),
        panel("Wait in the queue", Axis::Seconds, quantiles(&STAGE_WAITED_SECONDS, &QUANTILES[..3]))
            .because(STAGE_WAITED_SECONDS.about().help),
        panel("Service, of a batch", Axis::Seconds, quantiles(&STAGE_WORKED_SECONDS, &QUANTILES[..3]))
            .because(STAGE_WORKED_SECONDS.about().help),
        panel(
            "Refused and panicked",
            Axis::ASecond,
            [
                (ask.rate(&STAGE_REFUSED, &[]), "refused {{instance}}"),
                (ask.rate(&STAGE_PANICS, &[]), "panics {{instance}}"),
            ],
        )
        .because(STAGE_PANICS.about().reading),
        panel("Workers", Axis::Number, [(ask.now(&STAGE_WORKERS, &[]), "{{instance}}")]),
        panel(
            "Events inside: counted, and by the histograms",
            Axis::Number,
            [(ask.now(&STAGE_INSIDE, &[]), "counted {{instance}}"), (ask.now(&STAGE_TOLD, &[]), "told {{instance}}")],
        )
        .because(STAGE_INSIDE.about().help),
        panel("Little's law, error", Axis::Share, [(ask.now(&STAGE_LITTLE_ERROR, &[]), "{{instance}}")])
            .because(STAGE_LITTLE_ERROR.about().reading),
    ];
    Row { title: "Stage $stage", repeats: true, panels }
}

fn clients() -> Row {
    let ask = &ASKING;
    let panels = vec![
        panel(
            "Connections and sessions",
            Axis::Number,
            [
                (ask.now(&CONNECTIONS, &[]), "connections {{instance}}"),
                (ask.now(&SESSIONS, &[]), "sessions {{instance}}"),
                (ask.now(&CACHED_CONVERSATIONS, &[]), "conversations in memory {{instance}}"),
            ],
        ),
        panel(
            "Coming and going",
            Axis::ASecond,
            [
                (ask.rate(&CONNECTIONS_ACCEPTED, &[]), "accepted {{instance}}"),
                (ask.rate(&CONNECTIONS_TURNED_AWAY, &[]), "turned away {{instance}}"),
                (ask.rate(&CONNECTIONS_CLOSED, &[]), "closed {{code}} {{instance}}"),
            ],
        ),
        panel(
            "Waiting for something",
            Axis::Number,
            [
                (ask.now(&WAITING_LOGINS, &[]), "log-ins {{instance}}"),
                (ask.now(&BLOCKED_CONNECTIONS, &[]), "connections that take no more {{instance}}"),
                (ask.now(&MAILBOX_DEPTH, &[]), "mail {{instance}}"),
            ],
        ),
        panel(
            "Commands and frames",
            Axis::ASecond,
            [
                (ask.rate(&RECEIVED_FRAMES, &[]), "commands in {{instance}}"),
                (ask.rate(&SENT_FRAMES, &[]), "frames out {{instance}}"),
            ],
        ),
        panel(
            "Traffic",
            Axis::BytesASecond,
            [(ask.rate(&RECEIVED_BYTES, &[]), "in {{instance}}"), (ask.rate(&SENT_BYTES, &[]), "out {{instance}}")],
        ),
        panel(
            "Slow clients",
            Axis::ASecond,
            [
                (ask.rate(&DROPPED_NOTICES, &[]), "notices dropped {{instance}}"),
                (ask.rate(&SLOW_READERS, &[]), "connections closed {{instance}}"),
            ],
        ),
    ];
    Row { title: "Connections and sessions", repeats: false, panels }
}

fn webhooks() -> Row {
    let ask = &ASKING;
    let calls = ask.sum_by(&[&APP, &WEBHOOK, &OUTCOME], &ask.rate(&HOOK_CALLS, &[]));
    let panels = vec![
        panel("Calls of webhooks", Axis::ASecond, [(calls, "{{app}} {{webhook}} {{outcome}}")])
            .because(HOOK_CALLS.about().reading),
        panel(
            "Calls waiting or on their way",
            Axis::Number,
            [
                (ask.now(&HOOK_PENDING, &[]), "{{app}} {{webhook}}"),
                (ask.now(&HOOK_BREAKER_OPEN, &[]), "left alone: {{app}} {{webhook}}"),
            ],
        ),
        panel("Push", Axis::ASecond, [(ask.rate(&PUSH_TRIES, &[]), "{{app}} {{outcome}}")]),
    ];
    Row { title: "Webhooks and push", repeats: false, panels }
}

fn alerts() -> Row {
    let ask = &ASKING;
    let notices = ask.sum_by(&[&OUTCOME], &ask.rate(&ALERT_NOTICES, &[]));
    let panels = vec![
        panel("Out of the usual", Axis::Number, [(ask.now(&ALERT_RAISED, &[]), "{{alert}} {{instance}}")])
            .because(ALERT_RAISED.about().reading),
        panel("Silence", Axis::Number, [(ask.now(&ALERTS_SILENT, &[]), "{{instance}}")])
            .because(ALERTS_SILENT.about().reading),
        panel("Notices", Axis::ASecond, [(notices, "{{outcome}}")]).because(ALERT_NOTICES.about().reading),
    ];
    Row { title: "Alerts", repeats: false, panels }
}

fn machine() -> Row {
    let ask = &ASKING;
    let commit = format!("{} / {}", ask.rate(&STORE_COMMIT_SECONDS, &[]), ask.rate(&STORE_COMMITS, &[]));
    let panels = vec![
        panel("A commit, fsync included", Axis::Seconds, [(commit, "{{instance}}")])
            .because(STORE_COMMIT_SECONDS.about().reading),
        panel("Commits", Axis::ASecond, [(ask.rate(&STORE_COMMITS, &[]), "{{instance}}")]),
        panel(
            "Store in trouble",
            Axis::Number,
            [
                (ask.now(&STORE_BROKEN, &[]), "refuses writes {{instance}}"),
                (ask.now(&STORE_WARNING, &[]), "needs a look {{instance}}"),
            ],
        )
        .because(STORE_BROKEN.about().reading),
        panel(
            "Memory and store",
            Axis::Bytes,
            [
                (ask.now(&MEMORY_BYTES, &[]), "memory {{instance}}"),
                (ask.now(&STORE_BYTES, &[]), "on disk {{instance}}"),
            ],
        ),
        panel("Cores kept busy", Axis::Number, [(ask.rate(&CPU_SECONDS, &[]), "{{instance}}")]),
        panel(
            "File descriptors",
            Axis::Number,
            [
                (ask.now(&DESCRIPTORS, &[]), "open {{instance}}"),
                (ask.now(&DESCRIPTORS_LIMIT, &[]), "limit {{instance}}"),
            ],
        ),
    ];
    Row { title: "Store and process", repeats: false, panels }
}
