//! What is measured, always, and kept out of the workers' way.
//!
//! A worker has a recorder of its own for each stage and touches it once a batch, under a lock that only the sampler ever
//! contends for. Every second the sampler swaps the recorders' contents for empty ones and files them in a ring of ten seconds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use hdrhistogram::Histogram;

use crate::law::{Law, Passed, spent};
use crate::report::{Percentiles, SecondReport, Spread, TIME_BUCKETS_NS, Totals};

/// How much of the past the percentiles cover.
const SECONDS: usize = 10;

/// Times beyond this count as this.
pub(crate) const LONGEST_NS: u64 = 600_000_000_000;

/// What happened in a stage during some time.
pub(crate) struct Recorder {
    events: u64,
    busy: u64,
    wait_sum: u64,
    /// Who has left the stage.
    left: Passed,
    /// The batches' times, each as often as events left in it.
    worked: u64,
    wait: Histogram<u32>,
    service: Histogram<u32>,
    held: Histogram<u32>,
    batch: Histogram<u32>,
}

/// A histogram of times up to [`LONGEST_NS`], exact to a hundredth.
pub(crate) fn no_times() -> Histogram<u32> {
    histogram(LONGEST_NS, 2)
}

fn histogram(most: u64, digits: u8) -> Histogram<u32> {
    Histogram::new_with_bounds(1, most, digits).expect("1 to a large number at some digits is valid")
}

impl Recorder {
    fn new() -> Recorder {
        Recorder {
            events: 0,
            busy: 0,
            wait_sum: 0,
            left: Passed::default(),
            worked: 0,
            wait: no_times(),
            service: no_times(),
            held: no_times(),
            // People compare these with a number that they set: at 3 digits whatever is below 2,048 is exact.
            batch: histogram(1 << 20, 3),
        }
    }

    /// One batch of `items`: how long each new one waited and each resumed one was held, and the time from start to end.
    pub fn note(&mut self, waits: &[u64], held: &[u64], service: u64, items: usize) {
        self.events += waits.len() as u64;
        self.busy += service;
        for wait in waits {
            self.wait_sum += wait;
            self.wait.saturating_record((*wait).min(LONGEST_NS));
        }
        for held in held {
            self.held.saturating_record((*held).min(LONGEST_NS));
        }
        self.service.saturating_record(service.min(LONGEST_NS));
        self.batch.saturating_record(items as u64);
    }

    /// So many events left the stage at the end of a batch that took `service`.
    pub fn left(&mut self, events: usize, service: u64, end: u64) {
        self.left.pass(events as u64, end);
        self.worked += service * events as u64;
    }

    fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.left.events == 0
    }

    /// The time that all events together were inside, by the histograms.
    fn told(&self) -> u64 {
        let all = |times: &Histogram<u32>| times.mean() * times.len() as f64;
        // The histogram of service has batches, and an event is inside for as long as its whole batch.
        let events_a_batch = self.worked as f64 / self.busy.max(1) as f64;
        (all(&self.wait) + all(&self.held) + all(&self.service) * events_a_batch) as u64
    }

    fn add(&mut self, other: &Recorder) {
        if other.is_empty() {
            return;
        }
        self.events += other.events;
        self.busy += other.busy;
        self.wait_sum += other.wait_sum;
        self.left.add(other.left);
        self.worked += other.worked;
        for (mine, theirs) in [
            (&mut self.wait, &other.wait),
            (&mut self.service, &other.service),
            (&mut self.held, &other.held),
            (&mut self.batch, &other.batch),
        ] {
            // Cannot fail: all are made with the same bounds.
            let _ = mine.add(theirs);
        }
    }

    fn clear(&mut self) {
        if !self.is_empty() {
            (self.events, self.busy, self.wait_sum, self.worked) = (0, 0, 0, 0);
            self.left = Passed::default();
            self.wait.reset();
            self.service.reset();
            self.held.reset();
            self.batch.reset();
        }
    }
}

pub(crate) struct StageMetrics {
    recorders: Mutex<Vec<Arc<Mutex<Recorder>>>>,
    past: Mutex<Past>,
    refused: AtomicU64,
    panics: AtomicU64,
}

struct Past {
    /// Whole seconds, the oldest first.
    seconds: VecDeque<Second>,
    /// Empty, to be swapped in.
    spare: Recorder,
    since: u64,
    /// The stage's blocked time when the present second began.
    blocked: u64,
    /// Who has left up to then, and the time that all had spent inside.
    left: Passed,
    spent: u64,
    totals: Totals,
}

struct Second {
    since: u64,
    blocked: u64,
    /// The time that all events together spent inside: by who came and who left, and by the histograms.
    inside: u64,
    told: u64,
    /// Absent where nothing happened, so that an idle stage costs no memory.
    recorder: Option<Box<Recorder>>,
}

/// The last seconds in one.
pub(crate) struct Recent {
    pub events: u64,
    pub busy: u64,
    pub blocked: u64,
    /// How long it covers.
    pub ns: u64,
    pub wait: Percentiles,
    pub service: Percentiles,
    pub held: Percentiles,
    pub batch: Percentiles,
    /// Of the whole seconds alone.
    pub law: Law,
}

/// What [`StageMetrics::sums`] says; times in nanoseconds.
pub(crate) struct Sums {
    pub events: u64,
    pub batches: u64,
    pub busy: u64,
    pub wait: u64,
}

impl StageMetrics {
    pub fn new(now: u64) -> StageMetrics {
        StageMetrics {
            recorders: Mutex::new(Vec::new()),
            past: Mutex::new(Past {
                seconds: VecDeque::new(),
                spare: Recorder::new(),
                since: now,
                blocked: 0,
                left: Passed::default(),
                spent: 0,
                totals: Totals::default(),
            }),
            refused: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    /// A recorder for one worker. When the worker is gone the sampler forgets it.
    pub fn recorder(&self) -> Arc<Mutex<Recorder>> {
        let recorder = Arc::new(Mutex::new(Recorder::new()));
        held(&self.recorders).push(recorder.clone());
        recorder
    }

    pub fn refused(&self, n: u64) {
        self.refused.fetch_add(n, Relaxed);
    }

    pub fn refusals(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    pub fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// Ends the present second. `blocked`: the stage's blocked time so far; `came`: who has come in so far.
    pub fn rotate(&self, now: u64, blocked: u64, came: Passed) {
        let mut past = held(&self.past);
        let past = &mut *past;
        let oldest = if past.seconds.len() == SECONDS { past.seconds.pop_front() } else { None };
        let mut used_again = oldest.and_then(|oldest| oldest.recorder);
        let mut second: Option<Box<Recorder>> = None;
        held(&self.recorders).retain(|recorder| {
            let mut present = held(recorder);
            if !present.is_empty() {
                std::mem::swap(&mut *present, &mut past.spare);
                drop(present);
                let second = second.get_or_insert_with(|| match used_again.take() {
                    Some(mut old) => {
                        old.clear();
                        old
                    }
                    None => Box::new(Recorder::new()),
                });
                second.add(&past.spare);
                past.spare.clear();
            }
            Arc::strong_count(recorder) > 1
        });
        if let Some(second) = &second {
            count(&mut past.totals, second);
            past.left.add(second.left);
        }
        let spent = spent(came, past.left, now);
        past.seconds.push_back(Second {
            since: past.since,
            blocked: blocked.saturating_sub(past.blocked),
            // Events that come and go while the sums are taken may make next to nothing a little less than that.
            inside: (spent.wrapping_sub(past.spent) as i64).max(0) as u64,
            told: second.as_ref().map_or(0, |second| second.told()),
            recorder: second,
        });
        (past.blocked, past.spent) = (blocked, spent);
        past.since = now;
    }

    /// The seconds that have ended and began at `after` or later, of the last ten, the oldest first.
    pub fn seconds(&self, after: u64) -> Vec<SecondReport> {
        let past = held(&self.past);
        let ends = past.seconds.iter().skip(1).map(|second| second.since).chain([past.since]);
        let recent = past.seconds.iter().zip(ends).filter(|(second, _)| second.since >= after);
        let report = |(second, until): (&Second, u64)| {
            let of = second.recorder.as_deref();
            SecondReport {
                since: second.since,
                until,
                events: of.map_or(0, |of| of.events),
                busy_ns: of.map_or(0, |of| of.busy),
                blocked_ns: second.blocked,
                law: Law::over(until.saturating_sub(second.since), second.inside, second.told),
                spread: of.map(|of| {
                    let (wait, service) = (of.wait.clone(), of.service.clone());
                    Spread { wait, service, held: of.held.clone(), batch: of.batch.clone() }
                }),
            }
        };
        recent.map(report).collect()
    }

    /// Sums since the start, cheaply: no histogram is merged.
    pub fn sums(&self) -> Sums {
        let past = held(&self.past);
        let totals = &past.totals;
        let mut sums = Sums {
            events: totals.events,
            batches: totals.batches,
            busy: totals.service_sum_ns,
            wait: totals.wait_sum_ns,
        };
        for recorder in held(&self.recorders).iter() {
            let present = held(recorder);
            sums.events += present.events;
            sums.batches += present.batch.len();
            sums.busy += present.busy;
            sums.wait += present.wait_sum;
        }
        sums
    }

    /// The last ten seconds and the present one, and everything since the start.
    pub fn report(&self, now: u64, blocked: u64) -> (Recent, Totals) {
        let past = held(&self.past);
        let mut present = Recorder::new();
        for recorder in held(&self.recorders).iter() {
            present.add(&held(recorder));
        }
        let mut totals = past.totals.clone();
        count(&mut totals, &present);
        totals.refused = self.refusals();
        totals.panics = self.panics.load(Relaxed);
        totals.blocked_ns = blocked;
        let mut recent_blocked = blocked.saturating_sub(past.blocked);
        let mut since = past.since;
        let (mut inside, mut told) = (0, 0);
        for second in past.seconds.iter().rev() {
            if let Some(recorder) = &second.recorder {
                present.add(recorder);
            }
            recent_blocked += second.blocked;
            (inside, told) = (inside + second.inside, told + second.told);
            since = second.since;
        }
        let recent = Recent {
            events: present.events,
            busy: present.busy,
            blocked: recent_blocked,
            ns: now.saturating_sub(since).max(1),
            wait: percentiles(&present.wait),
            service: percentiles(&present.service),
            held: percentiles(&present.held),
            batch: percentiles(&present.batch),
            law: Law::over(past.since - since, inside, told),
        };
        (recent, totals)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

fn count(totals: &mut Totals, of: &Recorder) {
    if of.is_empty() {
        return;
    }
    totals.events += of.events;
    totals.batches += of.batch.len();
    totals.wait_sum_ns += of.wait_sum;
    totals.service_sum_ns += of.busy;
    for (times, buckets) in [(&of.wait, &mut totals.wait_buckets), (&of.service, &mut totals.service_buckets)] {
        for value in times.iter_recorded() {
            let bucket = TIME_BUCKETS_NS.partition_point(|bound| *bound < value.value_iterated_to());
            buckets[bucket] += value.count_since_last_iteration();
        }
    }
}

fn percentiles(of: &Histogram<u32>) -> Percentiles {
    let at = |quantile| of.value_at_quantile(quantile);
    Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: of.max() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_the_totals_stay() {
        let metrics = StageMetrics::new(1);
        let recorder = metrics.recorder();
        let second = 1_000_000_000;
        for n in 1..=20u64 {
            held(&recorder).note(&[n * 1000, n * 1000], &[], 500, 2);
            metrics.rotate(1 + n * second, n * second / 2, Passed::default());
        }
        held(&recorder).note(&[7], &[9], 500, 2);
        let (recent, totals) = metrics.report(1 + 20 * second + second / 2, 10 * second);
        assert_eq!(totals.events, 41);
        assert_eq!(recent.events, 21, "ten seconds of two, and the present one");
        assert_eq!(recent.ns, 10 * second + second / 2);
        assert_eq!(recent.blocked, 5 * second);
        assert!((19_800..=20_200).contains(&recent.wait.max), "{:?}", recent.wait);
        assert_eq!(recent.held.p50, 9);
        assert_eq!(totals.wait_buckets.iter().sum::<u64>(), 41);
        assert_eq!(totals.wait_sum_ns, 2 * 1000 * 210 + 7);
    }

    #[test]
    fn each_second_is_told_once_with_all_that_happened_in_it() {
        let metrics = StageMetrics::new(100);
        let recorder = metrics.recorder();
        held(&recorder).note(&[1000, 2000], &[7], 500, 3);
        metrics.rotate(200, 30, Passed::default());
        metrics.rotate(300, 30, Passed::default());
        let seconds = metrics.seconds(0);
        let told: Vec<_> = seconds.iter().map(|s| (s.since, s.until, s.events, s.busy_ns, s.blocked_ns)).collect();
        assert_eq!(told, [(100, 200, 2, 500, 30), (200, 300, 0, 0, 0)]);
        let spread = seconds[0].spread.as_ref().unwrap();
        assert_eq!((spread.wait.len(), spread.held.max(), spread.batch.max()), (2, 7, 3));
        assert!(seconds[1].spread.is_none());
        assert_eq!(metrics.seconds(seconds[1].since + 1).len(), 0);
    }

    #[test]
    fn seconds_in_which_nothing_happened_keep_nothing() {
        let metrics = StageMetrics::new(0);
        let recorder = metrics.recorder();
        held(&recorder).note(&[5], &[], 1, 1);
        (1..=3).for_each(|n| metrics.rotate(n, 0, Passed::default()));
        let kept = |metrics: &StageMetrics| {
            held(&metrics.past).seconds.iter().filter(|second| second.recorder.is_some()).count()
        };
        assert_eq!((kept(&metrics), metrics.report(4, 0).0.events), (1, 1));
        (4..=13).for_each(|n| metrics.rotate(n, 0, Passed::default()));
        assert_eq!((kept(&metrics), metrics.report(14, 0).0.events), (0, 0), "its second has passed");
        assert_eq!(metrics.report(14, 0).1.events, 1);
    }

    #[test]
    fn small_batches_are_told_exactly() {
        for size in [1, 63, 64, 129, 255, 256, 257, 512, 1_000, 2_047] {
            let metrics = StageMetrics::new(1);
            held(&metrics.recorder()).note(&[1], &[], 1, size);
            let batch = metrics.report(2, 0).0.batch;
            assert_eq!((batch.p50, batch.p999, batch.max), (size as u64, size as u64, size as u64));
        }
    }

    #[test]
    fn a_departed_worker_is_counted_and_forgotten() {
        let metrics = StageMetrics::new(1);
        let recorder = metrics.recorder();
        held(&recorder).note(&[5], &[], 1, 1);
        drop(recorder);
        metrics.rotate(2, 0, Passed::default());
        assert!(held(&metrics.recorders).is_empty());
        assert_eq!(metrics.report(3, 0).1.events, 1);
    }

    /// A second in which 1,000 events come, wait 2 ms and are worked on for 3 ms in batches of ten, as told by an
    /// instrument that says `lie` times the wait.
    fn a_steady_second(lie: f64) -> Law {
        let (metrics, ms) = (StageMetrics::new(0), 1_000_000);
        let (recorder, mut came) = (metrics.recorder(), Passed::default());
        for n in 0..100 {
            let at = n * 10 * ms;
            came.pass(10, at);
            let told = (2.0 * ms as f64 * lie) as u64;
            held(&recorder).note(&[told; 10], &[], 3 * ms, 10);
            held(&recorder).left(10, 3 * ms, at + 5 * ms);
        }
        metrics.rotate(1_000 * ms, 0, came);
        let law = metrics.seconds(0)[0].law;
        assert_eq!(law, metrics.report(1_000 * ms, 0).0.law);
        law
    }

    #[test]
    fn an_instrument_that_lies_is_noticed() {
        let honest = a_steady_second(1.0);
        assert!((honest.inside - 5.0).abs() < 0.001 && honest.error() < 0.01, "{honest:?}");
        for (lie, at_least) in [(0.0, 0.35), (0.5, 0.15), (2.0, 0.25), (100.0, 0.9)] {
            let law = a_steady_second(lie);
            assert!(law.error() > at_least, "waits told as {lie} times what they were: {law:?}");
        }
    }

    #[test]
    fn what_is_held_or_lost_is_inside_until_it_has_left() {
        let (metrics, mut came) = (StageMetrics::new(0), Passed::default());
        let recorder = metrics.recorder();
        came.pass(2, 100);
        held(&recorder).note(&[50, 50], &[], 10, 2);
        held(&recorder).left(1, 10, 160); // the other one is held
        metrics.rotate(1_000, 0, came);
        held(&recorder).note(&[], &[1_850], 40, 1);
        held(&recorder).left(1, 40, 2_040);
        came.pass(1, 2_500);
        held(&recorder).left(1, 100, 2_600); // a panic: nothing else is noted
        metrics.rotate(3_000, 0, came);
        let times: Vec<_> =
            metrics.seconds(0).iter().map(|s| (s.law.inside * (s.until - s.since) as f64).round()).collect();
        assert_eq!(times, [60.0 + 900.0, 1_040.0 + 100.0]);
    }
}
