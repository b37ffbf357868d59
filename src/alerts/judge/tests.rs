//! Judged by series that are played: one value a minute, over days.

use fastrand::Rng;

use super::super::hours::{Hour, Hours};
use super::super::signal::{SIGNALS, Signal};
use super::super::teller::{Kind, Teller};
use super::*;

const HOUR: usize = 60;
const DAY: usize = 24 * HOUR;
const MINUTE_MS: i64 = 60_000;
/// A midnight.
const BEGIN_MS: i64 = 20_000 * 86_400_000;

/// As by default.
const HOW: Sensitivity = Sensitivity { factor: 2.0, floor: 10.0, may_fall: true };
const PATIENCE: Patience = Patience { hold: 2, clear: 5, most_clear: 60, relapse: 60, adapt: 360 };

/// All that stands between values and notices.
struct Played {
    judge: Judge,
    hours: Hours,
    teller: Teller,
    minute: usize,
    state: State,
    heard: Vec<(usize, Kind)>,
}

impl Played {
    fn new(begin: usize, hours: Vec<Hour>) -> Played {
        let (judge, hours, teller) = (Judge::new(HOW, PATIENCE), Hours::new(hours, HOUR), Teller::new(60));
        Played { judge, hours, teller, minute: begin, state: State::Learning, heard: Vec::new() }
    }

    fn see(&mut self, value: Option<f64>) {
        let at = BEGIN_MS + self.minute as i64 * MINUTE_MS;
        let found = self.judge.see(value, &self.hours.usual(Signal::Messages, at));
        let is_raised = found.state == State::Raised;
        let mut values = [None; SIGNALS];
        values[Signal::Messages as usize] = value;
        self.hours.see(at, values);
        let told = self.teller.due(Signal::Messages, is_raised, false);
        self.heard.extend(told.map(|kind| (self.minute, kind)));
        self.state = found.state;
        self.minute += 1;
    }

    fn play(mut self, minutes: usize, mut value: impl FnMut(usize) -> f64) -> Played {
        for _ in 0..minutes {
            let now = value(self.minute);
            self.see(Some(now));
        }
        self
    }
}

fn play(minutes: usize, value: impl FnMut(usize) -> f64) -> Vec<(usize, Kind)> {
    Played::new(0, Vec::new()).play(minutes, value).heard
}

/// Normally distributed about 0, with a deviation of 1.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

#[test]
fn steady_load_with_its_noise_is_never_news() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let even = play(7 * DAY, |_| 100.0 * (1.0 + 0.1 * normal(&mut rng)));
        assert_eq!(even, [], "seed {seed}");
        let uneven = play(7 * DAY, |_| 100.0 * (0.25 * normal(&mut rng)).exp());
        assert_eq!(uneven, [], "seed {seed}, with a heavy tail");
        // Three in place of one at night.
        let few = play(7 * DAY, |_| (rng.u32(0..60) / 20) as f64);
        assert_eq!(few, [], "seed {seed}, hardly anything");
    }
}

/// Quiet nights, and days that begin and end within five minutes, about at nine and at six.
fn rhythm(seed: u64) -> impl FnMut(usize) -> f64 {
    let mut rng = Rng::with_seed(seed);
    let mut late = 0;
    move |minute| {
        if minute % DAY == 0 {
            late = rng.usize(0..20);
        }
        let of_day = minute % DAY;
        let from = |hour: usize| ((of_day + 10) as f64 - (hour * HOUR + late) as f64).clamp(0.0, 5.0) / 5.0;
        let share = from(9) - from(18);
        (20.0 + 380.0 * share) * (1.0 + 0.1 * normal(&mut rng))
    }
}

#[test]
fn a_morning_as_every_morning_is_news_in_the_first_days_alone() {
    for seed in 0..50 {
        let heard = play(14 * DAY, rhythm(seed));
        assert!(heard.iter().any(|(minute, _)| *minute < DAY), "a first morning is news: {heard:?}");
        let later: Vec<_> = heard.iter().filter(|(minute, _)| *minute >= 2 * DAY).collect();
        assert!(later.is_empty(), "seed {seed}: {later:?}");
    }
}

#[test]
fn a_restart_does_not_forget_the_mornings() {
    let mut before = Played::new(0, Vec::new()).play(3 * DAY + 8 * HOUR, rhythm(7));
    before.see(Some(20.0));
    let hours = before.hours.done().to_vec();
    let heard = |hours| {
        let mut next = rhythm(8);
        next(3 * DAY);
        Played::new(3 * DAY + 8 * HOUR, hours).play(4 * HOUR, next).heard
    };
    assert_eq!(heard(hours), []);
    assert!(!heard(Vec::new()).is_empty(), "without them it would have been news");
}

#[test]
fn a_step_up_is_told_and_after_six_hours_it_is_the_usual() {
    let mut rng = Rng::with_seed(3);
    let heard = play(DAY, |minute| {
        let level = if minute < 3 * HOUR { 100.0 } else { 500.0 };
        level * (1.0 + 0.1 * normal(&mut rng))
    });
    let (first, last) = (heard[0], heard[heard.len() - 1]);
    assert_eq!(first, (3 * HOUR + 1, Kind::Raised), "{heard:?}");
    assert_eq!(last, (9 * HOUR + 1, Kind::Cleared), "{heard:?}");
    let between = &heard[1..heard.len() - 1];
    assert!(between.len() == 5 && between.iter().all(|(_, kind)| *kind == Kind::Still), "{heard:?}");
}

#[test]
fn a_drop_to_nothing_is_told_until_it_is_over() {
    let mut rng = Rng::with_seed(4);
    let (from, to) = (3 * HOUR, 5 * HOUR - 10);
    let heard =
        play(DAY, |minute| if (from..to).contains(&minute) { 0.0 } else { 60.0 * (1.0 + 0.2 * normal(&mut rng)) });
    assert_eq!(heard[0], (from + 1, Kind::Raised));
    let (over, kind) = heard[heard.len() - 1];
    assert!(kind == Kind::Cleared && (to + 4..to + 30).contains(&over), "{heard:?}");
    assert_eq!(heard.len(), 3, "{heard:?}");
}

#[test]
fn a_slow_growth_is_no_news() {
    let mut rng = Rng::with_seed(5);
    let grows = |minute: usize| 50.0 * 10f64.powf(minute as f64 / (2 * DAY) as f64);
    assert_eq!(play(2 * DAY, |minute| grows(minute) * (1.0 + 0.1 * normal(&mut rng))), []);
    assert_eq!(play(2 * DAY, |minute| grows(2 * DAY - minute) * (1.0 + 0.1 * normal(&mut rng))), []);
}

#[test]
fn one_odd_minute_is_no_news() {
    let heard = play(DAY, |minute| match minute % 100 {
        99 => 900.0,
        49 => 0.0,
        _ => 100.0,
    });
    assert_eq!(heard, []);
}

#[test]
fn what_comes_and_goes_is_told_a_few_times_only() {
    let mut rng = Rng::with_seed(6);
    let heard = play(DAY, |minute| {
        let is_out = minute >= 2 * HOUR && minute % 10 < 3;
        (if is_out { 900.0 } else { 100.0 }) * (1.0 + 0.05 * normal(&mut rng))
    });
    // Cleared once, and from then on it takes longer than the pauses are.
    let raised = heard.iter().filter(|(_, kind)| *kind == Kind::Raised).count();
    assert!((1..=4).contains(&raised), "{heard:?}");
    assert!(heard.len() <= 30, "{} notices in a day: {heard:?}", heard.len());
}

/// The most notices in any hour.
fn thickest(heard: &[(usize, Kind)]) -> usize {
    let within = |from: usize| heard.iter().filter(|(minute, _)| (from..from + HOUR).contains(minute)).count();
    heard.iter().map(|(minute, _)| within(*minute)).max().unwrap_or_default()
}

#[test]
fn whatever_happens_there_are_few_notices_in_an_hour() {
    // Somebody who wants as many as there can be: well as soon as it is raised, odd as soon as it is cleared.
    let mut worst = Played::new(0, Vec::new()).play(2 * HOUR, |_| 100.0);
    for _ in 0..7 * DAY {
        worst.see(Some(if worst.state == State::Raised { 100.0 } else { 900.0 }));
    }
    assert!(thickest(&worst.heard) <= 8, "{:?}", &worst.heard[..20]);
    let later: Vec<_> = worst.heard.iter().filter(|(minute, _)| *minute > DAY).copied().collect();
    assert!(thickest(&later) <= 3, "{:?}", &later[..20]);

    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let mut played = Played::new(0, Vec::new());
        while played.minute < DAY {
            let (level, noise) = ([0.0, 1.0, 9.0, 50.0, 100.0, 120.0, 210.0, 1e6][rng.usize(..8)], rng.f64() * 0.5);
            let most = [2, 8, 40, 300][rng.usize(..4)];
            for _ in 0..=rng.usize(..most) {
                let value = level * (1.0 + noise * normal(&mut rng)).max(0.0);
                played.see((rng.u8(..20) > 0).then_some(value));
            }
        }
        let heard = &played.heard;
        assert!(thickest(heard) <= 8, "seed {seed}: {heard:?}");
        let kinds = heard.iter().map(|(_, kind)| kind);
        let mut is_up = false;
        for kind in kinds {
            assert_eq!(*kind != Kind::Raised, is_up, "seed {seed}: {heard:?}");
            is_up = *kind != Kind::Cleared;
        }
        let repeats = heard.windows(2).filter(|pair| pair[1].1 == Kind::Still);
        assert!(repeats.into_iter().all(|pair| pair[1].0 - pair[0].0 >= HOUR), "seed {seed}: {heard:?}");
    }
}

#[test]
fn it_learns_before_it_judges() {
    let mut played = Played::new(0, Vec::new());
    for minute in 0..LEARNED {
        played.see(Some(if minute % 2 == 0 { 0.0 } else { 1e6 }));
        assert_eq!(played.state, State::Learning);
        // What cannot be measured teaches nothing.
        played.see(None);
        assert_eq!(played.state, if minute + 1 < LEARNED { State::Learning } else { State::Ok });
    }
}

#[test]
fn pending_comes_before_raised_and_says_on_which_side() {
    let mut judge = Judge::new(HOW, PATIENCE);
    (0..LEARNED).for_each(|_| _ = judge.see(Some(100.0), &[]));
    let of = |found: Finding| (found.state, found.side, found.limits.map(|limits| limits.high));
    assert_eq!(of(judge.see(Some(150.0), &[])), (State::Ok, None, Some(200.0)));
    assert_eq!(of(judge.see(Some(10.0), &[])).1, Some(Side::Low));
    // The other side begins anew.
    assert_eq!(of(judge.see(Some(900.0), &[])), (State::Pending, Some(Side::High), Some(200.0)));
    assert_eq!(of(judge.see(Some(900.0), &[])).0, State::Raised);
    // Usual at this hour is usual.
    let busy = Usual::of([900.0; 3]).unwrap();
    (0..4).for_each(|_| assert_eq!(judge.see(Some(900.0), &[busy]).state, State::Raised));
    assert_eq!(judge.see(Some(900.0), &[busy]).state, State::Ok);
}
