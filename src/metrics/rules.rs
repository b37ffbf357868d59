//! Alert rules for Prometheus. Each says when somebody must look, and what they do next.

use tidegate_http::metrics::registry::label::{APP, OUTCOME, STAGE, WEBHOOK};
use tidegate_http::metrics::registry::*;

use super::query::Asking;

const ASKING: Asking = Asking { everywhere: &[], of_stages: &[], over: "5m", keep: &["instance"] };

/// How urgent it is.
#[derive(Clone, Copy)]
enum Severity {
    /// Now: people are turned away, or something is lost.
    Critical,
    /// Today.
    Warning,
}

struct Rule {
    name: &'static str,
    when: String,
    /// For how long it must be so.
    lasts: &'static str,
    severity: Severity,
    summary: &'static str,
    next: &'static str,
}

/// The whole file, for `rule_files`.
pub fn file() -> String {
    let mut text = format!(
        "# Alert rules of Tidegate {} for Prometheus, written by `tidegate metrics --rules`.\n\
         # Thresholds are a start: change them, and keep your copy.\ngroups:\n",
        env!("CARGO_PKG_VERSION")
    );
    let groups = [
        ("stages", stages()),
        ("clients", clients()),
        ("store", store()),
        ("webhooks", webhooks()),
        ("alerts", alerts()),
        ("process", process()),
    ];
    for (group, rules) in groups {
        text += &format!("  - name: tidegate-{group}\n    rules:\n");
        for Rule { name, when, lasts, severity, summary, next } in rules {
            let severity = match severity {
                Severity::Critical => "critical",
                Severity::Warning => "warning",
            };
            text += &format!(
                "      - alert: {name}\n        expr: {}\n        for: {lasts}\n        labels:\n          severity: {severity}\n\
                 \x20       annotations:\n          summary: {}\n          description: {}\n",
                quoted(&when),
                quoted(summary),
                quoted(next)
            );
        }
    }
    text
}

/// A YAML scalar, in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn stages() -> Vec<Rule> {
    use Severity::{Critical, Warning};
    let ask = &ASKING;
    let refused = ask.sum_by(&[&STAGE], &ask.rate(&STAGE_REFUSED, &[]));
    let events = ask.sum_by(&[&STAGE], &ask.rate(&STAGE_EVENTS, &[]));
    vec![
        Rule {
            name: "TidegateStageSaturated",
            when: format!("{} > 0.9", ask.now(&STAGE_UTILISATION, &[])),
            lasts: "5m",
            severity: Warning,
            summary: "Stage {{ $labels.stage }} of {{ $labels.instance }} is busy {{ $value | humanizePercentage }} of the time",
            next: "Its workers can hardly do more, and its queue will grow. Ask `GET /bottleneck` on the admin port (or look at the \
                   headline of `tidegate top`): it says why and what helps. `tidegate tune STAGE workers=N` or `batch=N` changes it \
                   while messages flow.",
        },
        Rule {
            name: "TidegateQueueNearBound",
            when: format!("{} / {} > 0.8", ask.now(&STAGE_DEPTH, &[]), ask.now(&STAGE_BOUND, &[])),
            lasts: "2m",
            severity: Warning,
            summary: "The queue of stage {{ $labels.stage }} of {{ $labels.instance }} is {{ $value | humanizePercentage }} full",
            next: "When it is full, the stages before it wait or senders are refused with 4116. Look which stage holds it up \
                   (`blocked.by` in `GET /stages`, or `GET /bottleneck`) and relieve that one; a larger `bound` only makes the wait \
                   longer.",
        },
        Rule {
            name: "TidegateRefusals",
            when: format!("{refused} > 0"),
            lasts: "5m",
            severity: Warning,
            summary: "Stage {{ $labels.stage }} of {{ $labels.instance }} refuses {{ $value | humanize }} events a second",
            next: "Senders are told 4116. See which stage is slow (`GET /bottleneck`), and whether more is offered than the server \
                   can do; docs/overload.md says who is refused, and why. For one conversation alone look at `key_share`.",
        },
        Rule {
            name: "TidegateRefusingMany",
            when: format!("{refused} / ({refused} + {events}) > 0.05"),
            lasts: "2m",
            severity: Critical,
            summary: "Stage {{ $labels.stage }} of {{ $labels.instance }} refuses {{ $value | humanizePercentage }} of what comes",
            next: "More is offered than the server can do. Relieve the stage that `GET /bottleneck` names, or take load away; who is \
                   refused changes within ten seconds, so that it hits nobody for long.",
        },
        Rule {
            name: "TidegatePanics",
            when: format!("{} > 0", ask.grown(&STAGE_PANICS, &[], "15m")),
            lasts: "15s",
            severity: Critical,
            summary: "Stage {{ $labels.stage }} of {{ $labels.instance }} has panicked",
            next: "This is a mistake in Tidegate. The server goes on; whoever was concerned was told or will learn it by unread. Find \
                   \"panicked\" in the log and report it with the lines around it.",
        },
        Rule {
            name: "TidegateFiguresContradict",
            when: format!("{} > 0.2 and {} > 0.5", ask.now(&STAGE_LITTLE_ERROR, &[]), ask.now(&STAGE_INSIDE, &[])),
            lasts: "5m",
            severity: Warning,
            summary: "Figures of stage {{ $labels.stage }} of {{ $labels.instance }} contradict each other by {{ $value | humanizePercentage }}",
            next: "By Little's law what is in a stage on average is what comes in times how long it stays, and here it is not. If load \
                   comes in long waves, or events stay for many seconds (a slow webhook), that is why. Under steady load do not \
                   believe this stage's waits and service times, and report it with `GET /stages` of that moment.",
        },
    ]
}

fn clients() -> Vec<Rule> {
    use Severity::{Critical, Warning};
    let ask = &ASKING;
    vec![
        Rule {
            name: "TidegateDeliverySlow",
            when: format!("{} > 1", ask.quantile(0.99, &DELIVERY_SECONDS)),
            lasts: "5m",
            severity: Warning,
            summary: "One delivery in a hundred of {{ $labels.instance }} takes {{ $value | humanizeDuration }} or longer",
            next: "Ask `GET /bottleneck`. Where no stage is at fault, clients that do not read (tidegate_blocked_connections) or a room \
                   with very many members are; the dashboard's heat maps lead to the messages that were slow.",
        },
        Rule {
            name: "TidegateLoginsWait",
            when: format!("{} > 0", ask.now(&WAITING_LOGINS, &[])),
            lasts: "1m",
            severity: Warning,
            summary: "{{ $value | humanize }} log-ins wait for their turn on {{ $labels.instance }}",
            next: "More clients come back at once than can be let in. It passes by itself after an interruption. If it stays, look why \
                   clients reconnect (tidegate_connections_closed_total by code) and at the stages authenticate and read.",
        },
        Rule {
            name: "TidegateConnectionsTurnedAway",
            when: format!("{} > 0", ask.rate(&CONNECTIONS_TURNED_AWAY, &[])),
            lasts: "1m",
            severity: Critical,
            summary: "{{ $labels.instance }} turns connections away",
            next: "`max_connections` are open. Raise it in pipeline.toml (and LimitNOFILE of the service with it), or add a server.",
        },
        Rule {
            name: "TidegateSlowReaders",
            when: format!("{} > 1", ask.rate(&SLOW_READERS, &[])),
            lasts: "10m",
            severity: Warning,
            summary: "{{ $labels.instance }} closes {{ $value | humanize }} connections a second because they do not read",
            next: "These clients lose nothing: they learn by unread what they missed. If they are many, look at the network between, \
                   and whether the rooms that they are in send more than a phone can take.",
        },
    ]
}

fn store() -> Vec<Rule> {
    use Severity::{Critical, Warning};
    let ask = &ASKING;
    let commit = format!("{} / {}", ask.rate(&STORE_COMMIT_SECONDS, &[]), ask.rate(&STORE_COMMITS, &[]));
    vec![
        Rule {
            name: "TidegateStoreBroken",
            when: format!("{} == 1", ask.now(&STORE_BROKEN, &[])),
            lasts: "15s",
            severity: Critical,
            summary: "The store of {{ $labels.instance }} refuses writes",
            next: "No message is acknowledged until it takes them again, which the server tries by itself. `GET /readyz` says why: most \
                   often the disk is full. Make room, or see docs/operating.md, \"When the disk is full or fails\".",
        },
        Rule {
            name: "TidegateStoreWarning",
            when: format!("{} == 1", ask.now(&STORE_WARNING, &[])),
            lasts: "5m",
            severity: Warning,
            summary: "The store of {{ $labels.instance }} needs a look soon",
            next: "`GET /readyz` says what it is. With little free disk: make room before writes are refused.",
        },
        Rule {
            name: "TidegateCommitsSlow",
            when: format!("{commit} > 0.05"),
            lasts: "5m",
            severity: Warning,
            summary: "A commit of {{ $labels.instance }} takes {{ $value | humanizeDuration }}, fsync included",
            next: "The disk is slow or shared. See who else writes to it (`iostat -x 1`); a larger `batch` or more `workers` of persist \
                   lets a commit carry more; `[store] sync` trades durability for speed.",
        },
    ]
}

fn webhooks() -> Vec<Rule> {
    use Severity::{Critical, Warning};
    let ask = &ASKING;
    let not_answered = |rate: &dyn Fn(&[super::query::Only]) -> String,
                        by: &[&'static tidegate_http::metrics::Label]| {
        format!("{} / {} > 0.05", ask.sum_by(by, &rate(&[(&OUTCOME, "failed|unsent")])), ask.sum_by(by, &rate(&[])))
    };
    vec![
        Rule {
            name: "TidegateHooksFail",
            when: not_answered(&|only| ask.rate(&HOOK_CALLS, only), &[&APP, &WEBHOOK]),
            lasts: "5m",
            severity: Warning,
            summary: "{{ $value | humanizePercentage }} of the calls of webhook {{ $labels.webhook }} of app {{ $labels.app }} fail",
            next: "The app's server does not answer as it should. The log of {{ $labels.instance }} names host and reason, once in 30 s. \
                   What happens to the messages meanwhile is the webhook's `on_failure`.",
        },
        Rule {
            name: "TidegateHookLeftAlone",
            when: format!("{} == 1", ask.now(&HOOK_BREAKER_OPEN, &[])),
            lasts: "1m",
            severity: Critical,
            summary: "Webhook {{ $labels.webhook }} of app {{ $labels.app }} fails so often that it is not called for now",
            next: "Its server is down or refuses: the log of {{ $labels.instance }} says which. It is tried again by itself.",
        },
        Rule {
            name: "TidegatePushFails",
            when: not_answered(&|only| ask.rate(&PUSH_TRIES, only), &[&APP]),
            lasts: "10m",
            severity: Warning,
            summary: "{{ $value | humanizePercentage }} of the push calls of app {{ $labels.app }} fail",
            next: "Notifications for those who are offline are given up after some tries; the messages themselves are kept. The log of \
                   {{ $labels.instance }} names host and reason.",
        },
    ]
}

fn alerts() -> Vec<Rule> {
    let ask = &ASKING;
    vec![
        Rule {
            name: "TidegateAnomaly",
            when: format!("{} == 1", ask.now(&ALERT_RAISED, &[])),
            lasts: "1m",
            severity: Severity::Warning,
            summary: "{{ $labels.alert }} of {{ $labels.instance }} is out of what is usual for it",
            next: "`GET /alerts` on the admin port, or `tidegate alerts`, says what it is now and what it was in the last hour and at \
                   this hour of earlier days. The server has judged for some minutes before it says so.",
        },
        Rule {
            name: "TidegateNoticesLost",
            when: format!("{} > 0", ask.grown(&ALERT_NOTICES, &[(&OUTCOME, "failed|unsent")], "15m")),
            lasts: "15s",
            severity: Severity::Warning,
            summary: "A notice of {{ $labels.instance }} did not reach the alerts' webhook",
            next: "It was tried for some minutes and given up. The log names host and reason; `GET /alerts` has the notice itself.",
        },
    ]
}

fn process() -> Vec<Rule> {
    let ask = &ASKING;
    vec![Rule {
        name: "TidegateDescriptorsNearLimit",
        when: format!("{} / {} > 0.85", ask.now(&DESCRIPTORS, &[]), ask.now(&DESCRIPTORS_LIMIT, &[])),
        lasts: "2m",
        severity: Severity::Critical,
        summary: "{{ $labels.instance }} has {{ $value | humanizePercentage }} of its file descriptors open",
        next: "At the limit nobody new can connect. Raise LimitNOFILE of the service (or `ulimit -n`) and restart at a quiet time, or add \
               a server.",
    }]
}
