//! How senders of one-to-one and of group messages go on: by what is acknowledged, or at a rate whatever is.

use clap::Args;

use crate::args::Timing;
use crate::drive::Pace;
use crate::report::Report;
use crate::setup;

#[derive(Debug, Clone, Args)]
pub struct Pacing {
    /// Closed loop: messages that each sender keeps unacknowledged
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub outstanding: u32,
    /// Open loop instead: messages a second over all senders, whatever is acknowledged
    #[arg(long, value_name = "R", conflicts_with = "outstanding")]
    pub rate: Option<f64>,
}

impl Pacing {
    /// For the heading.
    pub fn words(&self) -> String {
        match self.rate {
            Some(rate) => format!("{rate} messages/s offered"),
            None => format!("{} outstanding each", self.outstanding),
        }
    }

    pub fn settings(&self, report: &mut Report) {
        match self.rate {
            Some(rate) => report.setting("rate", rate),
            None => report.setting("outstanding", self.outstanding),
        }
    }

    pub fn pace(&self, start: u64, timing: &Timing) -> Pace {
        match self.rate {
            Some(rate) => setup::at_rate(rate, start, timing),
            None => Pace::Outstanding(self.outstanding),
        }
    }
}
