//! Every metric that there is: name, kind, unit, labels, what it means in both languages.
//!
//! The page for scrapers, `tidegate metrics`, the Grafana dashboard, the alert rules and `docs/metrics.md` all come from
//! here. A metric is always on the page unless `only` says when.

use super::about::{About, Counter, Gauge, Group, Histogram, Kind, Label, Unit};

/// What metrics are told apart by. Each has few values, and says what keeps them few.
pub mod label {
    use super::Label;

    pub static STAGE: Label =
        Label { name: "stage", values: "the stages of `pipeline.toml`", values_zh: "`pipeline.toml` 里的各阶段" };
    pub static PERCENTILE: Label = Label {
        name: "percentile",
        values: "`p50` `p90` `p99` `p999` `max`",
        values_zh: "`p50` `p90` `p99` `p999` `max`",
    };
    pub static APP: Label =
        Label { name: "app", values: "the apps of `pipeline.toml`", values_zh: "`pipeline.toml` 里的各应用" };
    pub static WEBHOOK: Label = Label {
        name: "webhook",
        values: "its place in the app's table, from 0",
        values_zh: "它在应用配置里的序号，从 0 开始",
    };
    pub static OUTCOME: Label =
        Label { name: "outcome", values: "`answered` `failed` `unsent`", values_zh: "`answered` `failed` `unsent`" };
    pub static EXPORT: Label =
        Label { name: "outcome", values: "`exported` `failed` `dropped`", values_zh: "`exported` `failed` `dropped`" };
    pub static CODE: Label = Label {
        name: "code",
        values: "WebSocket close codes that the server gives, and 1006 for who just went away",
        values_zh: "服务器给出的 WebSocket 关闭码；直接消失的连接是 1006",
    };
    pub static ALERT: Label = Label {
        name: "alert",
        values: "`messages` `latency` `errors` `churn`",
        values_zh: "`messages` `latency` `errors` `churn`",
    };
    pub static VERSION: Label = Label { name: "version", values: "that of the program", values_zh: "程序的版本" };
}

macro_rules! metrics {
    ($($group:ident { $(
        $id:ident: $kind:ident [$($label:ident)*] $name:literal, $unit:expr,
        $help:literal, $help_zh:literal
        $(, reading $reading:literal, $reading_zh:literal)?
        $(, only $only:literal, $only_zh:literal)?;
    )* })*) => {
        $($(
            #[doc = $help]
            pub static $id: $kind<{ <[&str]>::len(&[$(stringify!($label)),*]) }> = $kind::new(About {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                group: Group::$group,
                labels: &[$(&label::$label),*],
                help: $help,
                help_zh: $help_zh,
                reading: concat!($($reading)?),
                reading_zh: concat!($($reading_zh)?),
                only: { let only: &[(&str, &str)] = &[$(($only, $only_zh))?]; only.first().copied() },
            });
        )*)*
        /// All of them, group by group.
        pub static ALL: &[&About] = &[$($($id.about()),*),*];
    };
}

use Unit::{Bytes, Count, EventsASecond, Flag, Seconds, Share};

const EVENTS: Unit = Count("events");

metrics! {
    Stages {
        STAGE_WORKERS: Gauge [STAGE] "stage_workers", Count("threads"),
            "Threads that may be inside the stage at once", "可同时在该阶段里工作的线程数";
        STAGE_BOUND: Gauge [STAGE] "stage_bound", EVENTS,
            "Events that may be in the stage: waiting, in work and held", "该阶段最多容纳的事件：排队、处理中与搁置的合计";
        STAGE_DEPTH: Gauge [STAGE] "stage_depth", EVENTS,
            "Events in the stage now, and room reserved for those on their way", "此刻在该阶段里的事件，加上为途中事件预留的位置",
            reading "Compare it with `tidegate_stage_bound`: where the two meet, the stages before it wait or senders are refused.",
            "与 `tidegate_stage_bound` 比较：两者相等时，前面的阶段会等待，或者发送者被拒绝。";
        STAGE_HELD: Gauge [STAGE] "stage_held", EVENTS,
            "Events that wait for an outside answer", "等待外部应答的事件";
        STAGE_UTILISATION: Gauge [STAGE] "stage_utilisation", Share,
            "Share of the workers' time spent at work, last 10 s", "最近 10 秒里工作线程忙碌时间的占比",
            reading "The highest one is where to look first; near 1 the stage can do no more, and its queue grows. `tidegate top` or \
                     `GET /bottleneck` says why.",
            "最高的一个是首先要看的；接近 1 时该阶段已经做不了更多，队列会增长。`tidegate top` 或 `GET /bottleneck` 说明原因。";
        STAGE_BLOCKED_SHARE: Gauge [STAGE] "stage_blocked_share", Share,
            "Share of time with work but no room downstream, last 10 s", "最近 10 秒里有活可干、下游却没有位置的时间占比",
            reading "A stage whose share is high is not slow itself: the one after it is.",
            "占比高的阶段自己并不慢，慢的是它后面的。";
        STAGE_RATE: Gauge [STAGE] "stage_rate", EventsASecond,
            "Events begun per second, last 10 s", "最近 10 秒里每秒开始处理的事件";
        STAGE_EVENTS: Counter [STAGE] "stage_events", EVENTS,
            "Events begun", "已开始处理的事件";
        STAGE_REFUSED: Counter [STAGE] "stage_refused", EVENTS,
            "Events refused", "被拒绝的事件",
            reading "Somebody is told 4116 for each; of `read` it may also be a client that is not told its new unread count before \
                     its next log-in.",
            "每一个都有人收到 4116；`read` 的也可能是某个客户端要到下次登录才得知新的未读数。";
        STAGE_PANICS: Counter [STAGE] "stage_panics", Count("batches"),
            "Batches that panicked", "发生 panic 的批次",
            reading "Always a mistake in Tidegate: please report it with the log's lines around it.",
            "总是 Tidegate 自身的错误：请附上前后的日志报告。";
        STAGE_WAIT_SECONDS: Gauge [STAGE PERCENTILE] "stage_wait_seconds", Seconds,
            "Time in the queue, last 10 s", "最近 10 秒里的排队时间",
            reading "Growing means that this stage, or one behind it, is too slow.", "持续增长说明这个阶段或它后面的阶段太慢。";
        STAGE_SERVICE_SECONDS: Gauge [STAGE PERCENTILE] "stage_service_seconds", Seconds,
            "Time of a batch, last 10 s", "最近 10 秒里一个批次的处理时间";
        STAGE_HELD_SECONDS: Gauge [STAGE PERCENTILE] "stage_held_seconds", Seconds,
            "Time spent waiting for an outside answer, last 10 s", "最近 10 秒里等待外部应答的时间";
        STAGE_BATCH_SIZE: Gauge [STAGE PERCENTILE] "stage_batch_size", EVENTS,
            "Events of a batch, last 10 s", "最近 10 秒里一个批次的事件数";
        STAGE_WAITED_SECONDS: Histogram [STAGE] "stage_waited_seconds", Seconds,
            "Time from being queued to being worked on, of each event", "每个事件从入队到开始处理的时间",
            reading "For quantiles over any time and any number of servers: `histogram_quantile(0.99, sum by (le, stage) \
                     (rate(tidegate_stage_waited_seconds_bucket[5m])))`.",
            "可求任意时段、任意多台服务器的分位数：`histogram_quantile(0.99, sum by (le, stage) \
             (rate(tidegate_stage_waited_seconds_bucket[5m])))`。";
        STAGE_WORKED_SECONDS: Histogram [STAGE] "stage_worked_seconds", Seconds,
            "Time from a batch's start to its end, of each batch", "每个批次从开始到结束的时间";
        STAGE_INSIDE: Gauge [STAGE] "stage_inside", EVENTS,
            "Events in the stage on average over the last 10 whole seconds, by who came and who left",
            "最近 10 个整秒里该阶段中事件的平均数，按进出计数得出",
            reading "L of Little's law.", "利特尔法则中的 L。";
        STAGE_TOLD: Gauge [STAGE] "stage_told", EVENTS,
            "The same by what the histograms of wait, service and time held say", "同上，但按排队、处理与搁置时间的直方图得出",
            reading "λ·W of Little's law.", "利特尔法则中的 λ·W。";
        STAGE_LITTLE_ERROR: Gauge [STAGE] "stage_little_error", Share,
            "How far tidegate_stage_inside and tidegate_stage_told are apart, as a share of the larger",
            "tidegate_stage_inside 与 tidegate_stage_told 之差占较大者的比例",
            reading "A hundredth or less under steady load. It is honestly large for a moment when load sets in or ends, and where \
                     events stay for seconds (a slow webhook): they are inside before a histogram tells of them. With less than a tenth \
                     of an event inside it is a share of that tenth, so an idle stage shows next to nothing. If it stays above 0.2 under \
                     steady load, the times that this server shows of the stage are not to be believed.",
            "负载平稳时不到百分之一。负载骤起骤落的瞬间，以及事件停留数秒之久时（很慢的 webhook），它确实会变大：事件先在里面，之后直方图才记录它。\
             里面不足十分之一个事件时，按十分之一计算，所以空闲的阶段几乎为零。若负载平稳而它一直高于 0.2，就不要相信该阶段显示的各项时间。";
    }
    Messages {
        DELIVERY_SECONDS: Histogram [] "delivery_seconds", Seconds,
            "From the read of a message to the write of each delivery", "从读到一条消息到写出每一次投递的时间",
            reading "What users feel of the server. The sum is that of the buckets' upper bounds, up to 25 % too large.",
            "用户感受到的就是它。总和按各桶的上界相加，最多偏大 25%。";
    }
    Clients {
        CONNECTIONS: Gauge [] "connections", Count("connections"), "Connections that are open", "打开着的连接";
        SESSIONS: Gauge [] "sessions", Count("sessions"), "Sessions that are open", "打开着的会话";
        CACHED_CONVERSATIONS: Gauge [] "cached_conversations", Count("conversations"), "Conversations in memory", "内存中的对话";
        CONNECTIONS_ACCEPTED: Counter [] "connections_accepted", Count("connections"), "Connections accepted", "已接受的连接";
        CONNECTIONS_TURNED_AWAY: Counter [] "connections_turned_away", Count("connections"),
            "Connections closed at once because max_connections were open", "因达到 max_connections 而被立即关闭的连接";
        CONNECTIONS_CLOSED: Counter [CODE] "connections_closed", Count("connections"),
            "Connections that ended, by close code", "已结束的连接，按关闭码",
            only "once one has ended with that code", "某个关闭码出现过之后";
        RECEIVED_BYTES: Counter [] "received_bytes", Bytes, "Bytes read from sockets", "从 socket 读到的字节";
        SENT_BYTES: Counter [] "sent_bytes", Bytes, "Bytes written to sockets", "写到 socket 的字节";
        RECEIVED_FRAMES: Counter [] "received_frames", Count("commands"),
            "Commands handed to the pipeline", "交给流水线的命令";
        SENT_FRAMES: Counter [] "sent_frames", Count("frames"), "Replies and notices written", "写出的应答与通知";
        WAITING_LOGINS: Gauge [] "waiting_logins", Count("log-ins"), "Log-ins that wait for their turn", "等待轮到的登录",
            reading "More come back than can be let in just now. After five seconds the door decides about them, which may be 4116.",
            "回来的客户端比此刻能放进来的多。五秒之后由入口决定，可能是 4116。";
        MAILBOX_DEPTH: Gauge [] "mailbox_depth", Count("deliveries"), "Mail waiting for the reactors", "等待反应器处理的投递";
        BLOCKED_CONNECTIONS: Gauge [] "blocked_connections", Count("connections"),
            "Connections whose socket takes no more now", "此刻 socket 已写不进去的连接";
        DROPPED_NOTICES: Counter [] "dropped_notices", Count("notices"),
            "Notices dropped because their connection did not read", "因连接不读而丢弃的通知";
        SLOW_READERS: Counter [] "slow_readers", Count("connections"),
            "Connections closed because they did not read", "因不读而被关闭的连接";
    }
    Store {
        STORE_BROKEN: Gauge [] "store_broken", Flag, "1 while the store refuses writes", "存储拒绝写入期间为 1",
            reading "`/readyz` says why.", "原因见 `/readyz`。";
        STORE_WARNING: Gauge [] "store_warning", Flag,
            "1 while something of the store needs a look soon, little free disk say", "存储有事需要尽快查看（例如磁盘空间不足）期间为 1",
            reading "`/readyz` says what.", "内容见 `/readyz`。";
        STORE_COMMITS: Counter [] "store_commits", Count("commits"),
            "Commits that returned only when they were on disk", "落盘之后才返回的提交",
            reading "None with `[store] sync` other than `\"commit\"`. It begins again when the store was closed and opened.",
            "`[store] sync` 不是 `\"commit\"` 时没有。存储关闭又打开后从头计数。";
        STORE_COMMIT_SECONDS: Counter [] "store_commit_seconds", Seconds,
            "What these commits took, all together", "这些提交总共花费的时间",
            reading "Divided by the commits it is what one takes, fsync included.", "除以提交数就是一次提交（含 fsync）的时间。";
        STORE_BYTES: Gauge [] "store_bytes", Bytes, "Bytes of the store's files, measured every 10 s", "存储文件的字节数，每 10 秒测量一次",
            only "from the server's second second on", "服务器启动一两秒之后";
    }
    Webhooks {
        HOOK_CALLS: Counter [APP WEBHOOK OUTCOME] "hook_calls", Count("calls"),
            "Calls of webhooks by outcome", "webhook 调用，按结果",
            reading "`failed`: called and not answered as it should; `unsent`: not even called, because too many wait or the breaker is open.",
            "`failed`：调用了但没有得到应有的应答；`unsent`：因为等待的太多或正在熔断，根本没有调用。",
            only "where an app has webhooks", "有应用配置了 webhook 时";
        HOOK_PENDING: Gauge [APP WEBHOOK] "hook_pending", Count("calls"),
            "Calls waiting or on their way", "等待中和进行中的调用",
            only "where an app has webhooks", "有应用配置了 webhook 时";
        HOOK_BREAKER_OPEN: Gauge [APP WEBHOOK] "hook_breaker_open", Flag,
            "1 while a webhook is left alone", "某个 webhook 熔断期间为 1",
            only "where an app has webhooks", "有应用配置了 webhook 时";
        PUSH_TRIES: Counter [APP OUTCOME] "push_tries", Count("calls"),
            "Calls of push webhooks by outcome", "推送 webhook 的调用，按结果",
            only "where an app has a push webhook", "有应用配置了推送 webhook 时";
    }
    Traces {
        OTLP_SPANS: Counter [EXPORT] "otlp_spans", Count("spans"),
            "Spans of sampled messages by what became of them", "被采样消息的 span，按去向",
            reading "`failed`: the collector refused them, or could not be reached in six tries; `dropped`: too many waited for it, or \
                     the server stopped. The log says why.",
            "`failed`：采集端拒收，或六次尝试都没能送达；`dropped`：等待的太多，或者服务器停止了。原因见日志。",
            only "with `[journeys] otlp`", "配置了 `[journeys] otlp` 时";
        OTLP_WAITING: Gauge [] "otlp_waiting", Count("spans"),
            "Spans that wait to be sent; past 16384 they are dropped", "等待发送的 span；超过 16384 个就丢弃",
            only "with `[journeys] otlp`", "配置了 `[journeys] otlp` 时";
    }
    Alerts {
        ALERT_RAISED: Gauge [ALERT] "alert_raised", Flag,
            "1 while a figure is out of what is usual for it", "某个指标超出其惯常范围期间为 1",
            reading "`GET /alerts` has the numbers and what was usual.", "`GET /alerts` 给出数值和惯常范围。";
        ALERTS_SILENT: Gauge [] "alerts_silent", Flag,
            "1 while no notices of alerts are sent", "告警静默期间为 1",
            reading "`POST /alerts/silence` began it; it ends by itself.", "由 `POST /alerts/silence` 开始，到时自动结束。";
        ALERT_NOTICES: Counter [OUTCOME] "alert_notices", Count("notices"),
            "Notices to the alerts' webhook by outcome", "发给告警 webhook 的通知，按结果",
            reading "`failed`: given up after all tries; `unsent`: not even taken, because too many waited. All are 0 without a webhook.",
            "`failed`：多次重试后放弃；`unsent`：等待的太多，没有接受。没有配置 webhook 时都是 0。";
    }
    Process {
        INFO: Gauge [VERSION] "info", Flag, "1, with the program's version", "恒为 1，带有程序的版本";
        MEMORY_BYTES: Gauge [] "memory_bytes", Bytes, "Memory that the process has resident", "进程占用的物理内存",
            only "on Linux", "在 Linux 上";
        CPU_SECONDS: Counter [] "cpu_seconds", Seconds, "Processor time that the process has used", "进程用掉的处理器时间",
            only "on Linux", "在 Linux 上";
        DESCRIPTORS: Gauge [] "descriptors", Count("descriptors"), "File descriptors that the process has open", "进程打开的文件描述符",
            only "on Linux", "在 Linux 上";
        DESCRIPTORS_LIMIT: Gauge [] "descriptors_limit", Count("descriptors"),
            "File descriptors that the process may have open", "进程最多可打开的文件描述符",
            reading "Each connection takes one; at the limit nobody new can connect.", "每个连接占一个；到达上限后新的连接进不来。",
            only "on Unix", "在 Unix 上";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_legal_and_distinct_and_tell_their_unit() {
        let mut seen = HashSet::new();
        for about in ALL {
            let name = about.name;
            assert!(seen.insert(name), "{name} comes twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!name.ends_with("_total"), "{name}: the page adds it");
            for reserved in ["_bucket", "_sum", "_count"] {
                assert!(!name.ends_with(reserved), "{name} reads like a part of a histogram");
            }
            assert_eq!(about.unit == Seconds, name.ends_with("_seconds"), "{name}");
            assert_eq!(about.unit == Bytes, name.ends_with("_bytes"), "{name}");
        }
    }

    #[test]
    fn everything_is_said_in_both_languages() {
        let is_chinese = |text: &str| text.chars().any(|c| c > '\u{2e80}');
        for about in ALL {
            assert!(!about.help.ends_with('.') && !is_chinese(about.help), "{}", about.name);
            assert!(!about.help_zh.ends_with('。') && is_chinese(about.help_zh), "{}", about.name);
            assert_eq!(about.reading.is_empty(), about.reading_zh.is_empty(), "{}", about.name);
        }
    }
}
