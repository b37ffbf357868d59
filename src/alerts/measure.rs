//! From what the server counts since its start to one interval's value of each signal.

use tidegate_net::Stats;
use tidegate_stages::shared::World;

use super::signal::SIGNALS;
use crate::live::{quantile, since};

/// Sums at one moment.
pub struct Counted {
    /// Of the day.
    messages: u64,
    refused: u64,
    asked: u64,
    connections: u64,
    delivery_ns: Vec<(u64, u64)>,
}

impl Counted {
    pub fn now(world: &World, stats: &Stats) -> Counted {
        Counted {
            messages: world.days.messages(),
            refused: world.traces.refused(),
            asked: stats.frames_in,
            connections: stats.accepted + stats.closed.values().sum::<u64>(),
            delivery_ns: stats.delivery_ns.clone(),
        }
    }

    /// What came since, by the signals' places. `least`: with fewer a second, a share or a percentile says nothing.
    pub fn values_since(&self, before: &Counted, seconds: f64, least: f64) -> [Option<f64>; SIGNALS] {
        let a_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        // The count begins anew at midnight: that one interval is not known.
        let messages = self.messages.checked_sub(before.messages).map(|count| count as f64 / seconds);
        let delivered = since(&before.delivery_ns, &self.delivery_ns);
        let is_enough = delivered.iter().map(|(_, count)| count).sum::<u64>() as f64 >= least * seconds;
        let latency = quantile(&delivered, 0.99).filter(|_| is_enough).map(|ns| ns as f64 / 1e6);
        let refused = self.refused.saturating_sub(before.refused);
        // What is refused at the door may not be among what was handed in.
        let all = self.asked.saturating_sub(before.asked).max(refused) as f64;
        let errors = (all > 0.0 && all >= least * seconds).then(|| refused as f64 / all);
        [messages, latency, errors, Some(a_second(self.connections, before.connections))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(messages: u64, refused: u64, asked: u64, connections: u64, delivered: u64) -> Counted {
        Counted { messages, refused, asked, connections, delivery_ns: vec![(20_000_000, delivered)] }
    }

    #[test]
    fn values_are_of_the_interval_alone() {
        let (before, now) = (counted(100, 5, 1_000, 7, 50), counted(700, 15, 2_000, 127, 650));
        let values = now.values_since(&before, 60.0, 10.0);
        assert_eq!(values, [Some(10.0), Some(20.0), Some(0.01), Some(2.0)]);
    }

    #[test]
    fn of_too_little_there_is_no_share_and_no_percentile() {
        let (before, now) = (counted(0, 0, 0, 0, 0), counted(60, 1, 100, 0, 99));
        assert_eq!(now.values_since(&before, 60.0, 10.0), [Some(1.0), None, None, Some(0.0)]);
        assert_eq!(now.values_since(&before, 0.5, 10.0)[2], Some(0.01));
    }

    #[test]
    fn the_interval_in_which_a_day_begins_is_not_known() {
        let (before, now) = (counted(1_000_000, 0, 0, 0, 0), counted(30, 0, 0, 0, 0));
        assert_eq!(now.values_since(&before, 60.0, 10.0)[0], None);
    }
}
