//! What is said of a metric, its handle by kind, and samples of it.

/// One metric, as everybody is told of it.
#[derive(Debug)]
pub struct About {
    /// Without the prefix `tidegate_`, and without `_total` for counters; letters, digits and `_`.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub group: Group,
    pub labels: &'static [&'static Label],
    /// One sentence, without its full stop; and the same in Chinese.
    pub help: &'static str,
    pub help_zh: &'static str,
    /// How to read it, for the page: sentences, or nothing.
    pub reading: &'static str,
    pub reading_zh: &'static str,
    /// When it is on the page, for one that is not always; and the same in Chinese.
    pub only: Option<(&'static str, &'static str)>,
}

impl About {
    /// As a query names it; of a histogram without `_bucket`, `_sum` and `_count`.
    pub fn full_name(&self) -> String {
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("tidegate_{}{total}", self.name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the process.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Bytes,
    /// 0 to 1.
    Share,
    /// 0 or 1.
    Flag,
    EventsASecond,
    /// Pieces of something; its name in the plural.
    Count(&'static str),
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            Unit::Share => "0 to 1",
            Unit::Flag => "0 or 1",
            Unit::EventsASecond => "events/s",
            Unit::Count(of) => of,
        }
    }
}

/// What metrics are about, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Stages,
    Messages,
    Clients,
    Store,
    Webhooks,
    Traces,
    Alerts,
    Process,
}

impl Group {
    pub const ALL: [Group; 8] = [
        Group::Stages,
        Group::Messages,
        Group::Clients,
        Group::Store,
        Group::Webhooks,
        Group::Traces,
        Group::Alerts,
        Group::Process,
    ];

    /// In English and in Chinese.
    pub fn title(self) -> (&'static str, &'static str) {
        match self {
            Group::Stages => ("Stages", "阶段"),
            Group::Messages => ("Messages end to end", "消息全程"),
            Group::Clients => ("Connections and sessions", "连接与会话"),
            Group::Store => ("The store", "存储"),
            Group::Webhooks => ("Webhooks and push", "Webhook 与推送"),
            Group::Traces => ("Exported traces", "导出的链路追踪"),
            Group::Alerts => ("Alerts", "告警"),
            Group::Process => ("The process", "进程"),
        }
    }
}

/// A label, and what keeps the set of its values small.
#[derive(Debug)]
pub struct Label {
    pub name: &'static str,
    pub values: &'static str,
    pub values_zh: &'static str,
}

/// Handles: one type a kind, with the number of labels.
macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident of $value:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name<const LABELS: usize>(About);

            impl<const LABELS: usize> $name<LABELS> {
                pub(super) const fn new(about: About) -> Self {
                    assert!(about.labels.len() == LABELS);
                    assert!(matches!(about.kind, Kind::$name));
                    $name(about)
                }

                pub const fn about(&self) -> &About {
                    &self.0
                }

                /// Its samples: the labels' values in the labels' order, and what was found.
                pub fn of<L: ToString>(
                    &'static self,
                    samples: impl IntoIterator<Item = ([L; LABELS], $value)>,
                ) -> Family {
                    let sample = |(labels, value): ([L; LABELS], $value)| {
                        let names = self.0.labels.iter().map(|label| label.name);
                        let labels = names.zip(labels).map(|(name, value)| (name, value.to_string())).collect();
                        Sample { labels, value: value.into() }
                    };
                    Family { about: &self.0, samples: samples.into_iter().map(sample).collect() }
                }
            }

            impl $name<0> {
                /// The one sample of a metric without labels; none where nothing is known.
                pub fn is(&'static self, value: impl Into<Option<$value>>) -> Family {
                    self.of(value.into().map(|value| ([""; 0], value)))
                }
            }
        )*
    };
}

handles! {
    /// Only grows, from the start of the process.
    Counter of f64;
    Gauge of f64;
    Histogram of Distribution;
}

/// One metric with all its samples.
#[derive(Debug)]
pub struct Family {
    pub about: &'static About,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// For counters and gauges.
    Number(f64),
    /// For histograms.
    Distribution(Distribution),
}

/// `buckets`: upper bound, and how many fell between the bound before and this one; the last bound should be
/// `f64::MAX`, which is written as `+Inf`.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    pub sum: f64,
    pub count: u64,
    pub buckets: Vec<(f64, u64)>,
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

impl From<Distribution> for Value {
    fn from(distribution: Distribution) -> Value {
        Value::Distribution(distribution)
    }
}
