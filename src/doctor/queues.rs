//! Queues against rates: how long a full queue takes, as a running server works it off, against its delay target.
//!
//! A rate says what a stage can do only while the stage has enough to do; where none has, that is said instead.

use serde_json::Value;
use tidegate_config::grouped;

use super::finding::{Finding, Severity, about, ms};

/// A stage of a running server, as its admin side tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    pub name: String,
    pub bound: u64,
    pub workers: u64,
    pub batch: u64,
    /// Events waiting.
    pub depth: u64,
    /// The share of its workers' time in which it is at work.
    pub utilisation: f64,
    /// Events a second.
    pub rate: f64,
    pub delay_target_ms: Option<f64>,
}

/// Its threads have enough to do for their rate to say what they can do.
const BUSY: f64 = 0.5;
/// Events a second that are too few to tell anything.
const FEW: f64 = 10.0;
/// A full queue that takes so many times its target hurts whoever is in it.
const FAR: f64 = 10.0;

/// `GET /stages`; `None` where that is another answer than a Tidegate's.
pub fn stages(answer: &Value) -> Option<Vec<Stage>> {
    let one = |stage: &Value| {
        Some(Stage {
            name: stage["name"].as_str()?.to_owned(),
            bound: stage["bound"].as_u64()?,
            workers: stage["workers"].as_u64()?,
            batch: stage["batch"].as_u64()?,
            depth: stage["depth"].as_u64()?,
            utilisation: stage["utilisation"].as_f64()?,
            rate: stage["rate"].as_f64()?,
            delay_target_ms: stage["delay_target_ms"].as_f64(),
        })
    };
    answer.as_array()?.iter().map(one).collect()
}

impl Stage {
    /// Events a second that it can do. `None`: it has too little to do to tell.
    fn capacity(&self) -> Option<f64> {
        if self.rate < FEW {
            return None;
        }
        if self.utilisation >= BUSY {
            return Some(self.rate / self.utilisation.min(1.0));
        }
        // More waits than its threads can take, and yet they rest: something outside sets the pace, and this is it.
        (self.depth > self.batch * self.workers).then_some(self.rate)
    }
}

/// `from`: where the figures are from. `Err`: why there are none.
pub fn judge(from: &str, stages: Result<&[Stage], &str>) -> Vec<Finding> {
    let stages = match stages {
        Ok(stages) => stages,
        Err(why) => {
            return vec![
                Finding::new("config.queue_time", Severity::Note, format!("no rates to hold the queues against: {why}"))
                    .why("How long a full queue takes depends on what its stage can do, which only a server under load shows.")
                    .todo("Run this again beside one (--admin URL; tidegate bench pairs loads it)."),
            ];
        }
    };
    let measured: Vec<(&Stage, f64)> = stages.iter().filter_map(|stage| Some((stage, stage.capacity()?))).collect();
    if measured.is_empty() {
        let busiest = stages.iter().max_by(|a, b| a.utilisation.total_cmp(&b.utilisation));
        let busiest = busiest
            .map(|stage| format!(" (the busiest, {}: {:.0}%)", stage.name, stage.utilisation * 100.0))
            .unwrap_or_default();
        let says = format!("{} stages at {from}, none busy enough to tell what it can do{busiest}", stages.len());
        return vec![
            Finding::new("config.queue_time", Severity::Note, says)
                .why("A queue is judged by how long it takes to work it off, and a stage at rest does not show that.")
                .todo("Run this again under load (tidegate bench pairs)."),
        ];
    }
    let judged = measured.iter().filter_map(|(stage, capacity)| queue(stage, *capacity));
    judged.collect()
}

fn queue(stage: &Stage, capacity: f64) -> Option<Finding> {
    let Stage { name, bound, utilisation, rate, .. } = stage;
    let target = stage.delay_target_ms?;
    let takes = *bound as f64 / capacity * 1e3;
    let severity = match takes / target {
        ratio if ratio <= 1.0 => Severity::Ok,
        ratio if ratio <= FAR => Severity::Note,
        _ => Severity::Warning,
    };
    let says = format!(
        "a full queue of {name} ({}) takes {} at the {}/s that it can do ({}/s, busy {:.0}%); its delay target is {}",
        grouped(*bound),
        ms(takes),
        about(capacity),
        about(*rate),
        utilisation * 100.0,
        ms(target),
    );
    let found = Finding::new("config.queue_time", severity, says)
        .number("stage", name.as_str())
        .number("full_queue_ms", takes)
        .number("delay_target_ms", target)
        .number("events_per_second", capacity.round());
    if severity == Severity::Ok {
        return Some(found);
    }
    // Smaller than what its threads take at once it must not be.
    let fit = ((capacity * target / 1e3) as u64).max(stage.batch * stage.workers);
    Some(
        found
            .why("The door turns people away once waits are longer than the target; what a rush has put into the queue by \
                 then waits that long all the same.")
            .todo("Bound it by what may wait, or say with a higher delay_target that the wait is meant:")
            .command(format!("tidegate tune {name} bound={fit}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10,000/s at full work.
    fn stage() -> Stage {
        Stage {
            name: "persist".to_owned(),
            bound: 250,
            workers: 1,
            batch: 64,
            depth: 0,
            utilisation: 0.5,
            rate: 5_000.0,
            delay_target_ms: Some(25.0),
        }
    }

    fn of(stage: Stage) -> Finding {
        judge("there", Ok(&[stage])).remove(0)
    }

    #[test]
    fn a_full_queue_is_held_against_the_delay_target() {
        let with = |bound| of(Stage { bound, ..stage() });
        assert_eq!(
            [250, 251, 2_500, 2_501].map(|bound| with(bound).severity),
            [Severity::Ok, Severity::Note, Severity::Note, Severity::Warning]
        );
        let found = with(8_192);
        assert!(
            found.says.starts_with("a full queue of persist (8,192) takes 819 ms at the 10,000/s"),
            "{}",
            found.says
        );
        assert_eq!(found.commands, ["tidegate tune persist bound=250"]);
        let tight = of(Stage { bound: 8_192, batch: 512, ..stage() });
        assert_eq!(tight.commands, ["tidegate tune persist bound=512"], "a batch must fit");
    }

    #[test]
    fn a_stage_at_rest_tells_nothing() {
        let told = |stage: &Stage| stage.capacity().map(f64::round);
        assert_eq!(told(&stage()), Some(10_000.0));
        assert_eq!(told(&Stage { utilisation: 0.49, ..stage() }), None);
        assert_eq!(told(&Stage { rate: 9.9, ..stage() }), None);
        let rests = Stage { utilisation: 0.01, rate: 100.0, ..stage() };
        assert_eq!(told(&Stage { depth: 64, ..rests.clone() }), None);
        assert_eq!(told(&Stage { depth: 65, ..rests.clone() }), Some(100.0), "it waits for somebody outside");
        let found = of(rests);
        assert!(found.severity == Severity::Note && found.says.contains("the busiest, persist: 1%"), "{}", found.says);
    }

    #[test]
    fn without_a_server_it_says_what_it_needs() {
        let found = judge("there", Err("nobody answers")).remove(0);
        assert_eq!(found.severity, Severity::Note);
        assert!(found.says.contains("nobody answers") && found.todo.contains("--admin"));
    }

    #[test]
    fn only_a_tidegates_answer_is_read() {
        assert_eq!(stages(&serde_json::json!({"error": "no"})), None);
        assert_eq!(stages(&serde_json::json!([{"name": "x"}])), None);
        assert_eq!(stages(&serde_json::json!([])), Some(Vec::new()));
    }
}
