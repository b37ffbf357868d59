//! The registry for people, as a table and as the page `docs/metrics.md`, and for programs, as JSON.

use serde_json::{Value, json};
use tidegate_http::metrics::registry::ALL;
use tidegate_http::metrics::{About, Group, Kind, Unit};

use super::Language;

/// What is said in the language asked for.
struct Said {
    help: &'static str,
    reading: &'static str,
    only: Option<&'static str>,
    labels: Vec<(&'static str, &'static str)>,
}

fn said(about: &About, language: Language) -> Said {
    match language {
        Language::En => Said {
            help: about.help,
            reading: about.reading,
            only: about.only.map(|(en, _)| en),
            labels: about.labels.iter().map(|label| (label.name, label.values)).collect(),
        },
        Language::Zh => Said {
            help: about.help_zh,
            reading: about.reading_zh,
            only: about.only.map(|(_, zh)| zh),
            labels: about.labels.iter().map(|label| (label.name, label.values_zh)).collect(),
        },
    }
}

/// One line a metric, in columns.
pub fn table(language: Language) -> String {
    let head = ["METRIC", "TYPE", "UNIT", "LABELS", "MEANING"].map(str::to_owned);
    let row = |about: &&'static About| {
        let said = said(about, language);
        let labels: Vec<&str> = said.labels.iter().map(|(name, _)| *name).collect();
        let (kind, unit) = (about.kind.name().to_owned(), about.unit.name().to_owned());
        [about.full_name(), kind, unit, labels.join(" "), said.help.to_owned()]
    };
    let rows: Vec<[String; 5]> = [head].into_iter().chain(ALL.iter().map(row)).collect();
    let wide = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [wide(0), wide(1), wide(2), wide(3)];
    let mut text = String::new();
    for [name, kind, unit, labels, help] in rows {
        let [a, b, c, d] = widths;
        text += &format!("{name:a$}  {kind:b$}  {unit:c$}  {labels:d$}  {help}\n");
    }
    text
}

pub fn json(language: Language) -> String {
    let one = |about: &&'static About| -> Value {
        let said = said(about, language);
        let label = |(name, values): &(&str, &str)| json!({ "name": name, "values": values });
        json!({
            "name": about.full_name(),
            "type": about.kind.name(),
            "unit": about.unit.name(),
            "labels": said.labels.iter().map(label).collect::<Vec<_>>(),
            "help": said.help,
            "only": said.only,
        })
    };
    let all: Vec<Value> = ALL.iter().map(one).collect();
    format!("{:#}\n", Value::from(all))
}

const HEAD: &str = "\
# Metrics

[中文](zh/metrics.md) · [Admin API](admin.md) · [Operating](operating.md) · [What limits the server](bottleneck.md)

<!-- Written from src/http/src/metrics/registry.rs by `tidegate metrics --markdown`; a test keeps it current. -->

Everything that `GET /metrics` on the admin port shows, in the OpenMetrics text form. Names, labels and units are a contract.
Counters and histograms begin at 0 with the process. No metric has a label for a user, a conversation or a message, so
the number of series is bounded by the configuration.

    tidegate metrics                 # this list as a table; --json for programs
    tidegate metrics --grafana       # a dashboard to import into Grafana 11 or later; it asks which Prometheus
    tidegate metrics --rules         # alert rules for Prometheus' rule_files

    scrape_configs:
      - job_name: tidegate
        static_configs: [{ targets: [\"127.0.0.1:7702\"] }]
        authorization: { credentials_file: /etc/prometheus/tidegate.token }   # the read_token, where one is wanted

Both are written from the same list as `/metrics` itself. Each alert says what to do next; thresholds are a start and
meant to be changed.
";

const HEAD_ZH: &str = "\
# 指标

[English](../metrics.md) · [管理接口](admin.md) · [运维](operating.md) · [瓶颈在哪里](bottleneck.md)

<!-- 由 `tidegate metrics --markdown --language zh` 根据 src/http/src/metrics/registry.rs 写出；有测试保证它不过时。 -->

管理端口 `GET /metrics` 显示的全部内容，格式为 OpenMetrics 文本。名称、标签和单位是约定，不会随意改变。计数器和直方图随进程从 0 开始。
没有任何指标带用户、对话或消息的标签，所以序列的数量由配置决定，不会失控。

    tidegate metrics --language zh   # 以表格列出；给程序用的加 --json
    tidegate metrics --grafana       # 可导入 Grafana 11 或更新版本的仪表盘，导入后选择 Prometheus
    tidegate metrics --rules         # 用于 Prometheus rule_files 的告警规则

    scrape_configs:
      - job_name: tidegate
        static_configs: [{ targets: [\"127.0.0.1:7702\"] }]
        authorization: { credentials_file: /etc/prometheus/tidegate.token }   # 需要令牌时：read_token

两者与 `/metrics` 出自同一份清单。每条告警都写明接下来该做什么；阈值只是起点，可以修改。
";

/// A section for each metric, group by group.
pub fn markdown(language: Language) -> String {
    let is_zh = language == Language::Zh;
    let pick = |en: &'static str, zh: &'static str| if is_zh { zh } else { en };
    let stop = pick(".", "。");
    let mut page = pick(HEAD, HEAD_ZH).to_owned();
    for group in Group::ALL {
        let (en, zh) = group.title();
        page += &format!("\n## {}\n", pick(en, zh));
        for about in ALL.iter().filter(|about| about.group == group) {
            let said = said(about, language);
            page += &format!("\n### `{}`\n\n{}{stop}", about.full_name(), said.help);
            if !said.reading.is_empty() {
                page += &format!("{}{}", pick(" ", ""), said.reading);
            }
            let kind = pick(about.kind.name(), kind_zh(about.kind));
            let unit = pick(about.unit.name(), unit_zh(about.unit));
            let (what, comma) = (pick("Type and unit: ", "类型与单位："), pick(", ", "，"));
            page += &format!("\n\n- {what}{kind}{comma}{unit}{stop}\n");
            for (name, values) in said.labels {
                page += &format!("- {}`{name}`{}{values}{stop}\n", pick("Label ", "标签 "), pick(": ", "："));
            }
            if let Some(only) = said.only {
                page += &format!("- {}{only}{stop}\n", pick("There only ", "出现条件："));
            }
        }
    }
    page
}

fn kind_zh(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "计数器",
        Kind::Gauge => "瞬时值",
        Kind::Histogram => "直方图",
    }
}

fn unit_zh(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "秒",
        Unit::Bytes => "字节",
        Unit::Share => "0 到 1",
        Unit::Flag => "0 或 1",
        Unit::EventsASecond => "事件/秒",
        Unit::Count(_) => "个数",
    }
}
