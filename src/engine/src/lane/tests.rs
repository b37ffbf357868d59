//! A lane against a model: what each key may do next, told in the plainest way.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

struct Ev {
    key: u64,
    n: usize,
}

impl Event for Ev {
    type Answer = ();
    type Stub = ();
    fn stub(&self) {}
}

#[derive(Debug, Clone)]
enum Op {
    Push(u64),
    /// Takes a batch of at most so many and does with its items what the list says, over and over.
    Batch(usize, Vec<Fate>),
    /// Answers one of the held.
    Answer(prop::sample::Index),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Emit,
    Swallow,
    Hold,
    Overlap,
    /// This item and all after it are left.
    Leave,
    Panic,
}

fn op() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        4 => Just(Fate::Emit),
        1 => Just(Fate::Swallow),
        2 => Just(Fate::Hold),
        3 => Just(Fate::Overlap),
        1 => Just(Fate::Leave),
        1 => Just(Fate::Panic),
    ];
    prop_oneof![
        4 => (0..3u64).prop_map(Op::Push),
        3 => (1..6usize, prop::collection::vec(fate, 1..6)).prop_map(|(room, fates)| Op::Batch(room, fates)),
        3 => any::<prop::sample::Index>().prop_map(Op::Answer),
    ]
}

/// The model: each key's events in the order in which they were pushed, and what has become of them.
#[derive(Default)]
struct Model {
    keys: HashMap<u64, Vec<Is>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Is {
    Waiting,
    Held {
        exclusive: bool,
    },
    /// Finished behind a held one; its emission is kept.
    Kept,
    Out,
    /// Finished without an emission, or lost to a panic.
    Nothing,
}

struct Bench {
    lane: Lane<Ev>,
    window: usize,
    model: Model,
    pending: Vec<(u64, u64)>,
    emitted: Vec<(u64, usize)>,
    finished: usize,
    pushed: usize,
    lost: usize,
}

impl Bench {
    fn run(&mut self, op: &Op) {
        match op {
            Op::Push(key) => {
                let events = self.model.keys.entry(*key).or_default();
                let n = events.len();
                events.push(Is::Waiting);
                let _ = self.lane.push(Entry { event: Ev { key: *key, n }, key: *key, at: 0 });
                self.pushed += 1;
            }
            Op::Batch(room, fates) if self.lane.scheduled => self.batch(*room, fates),
            Op::Batch(..) => {}
            Op::Answer(index) if !self.pending.is_empty() => {
                let (key, slot) = self.pending.swap_remove(index.index(self.pending.len()));
                assert!(self.lane.answer(key, slot, Ok(())).is_ok());
                assert!(self.lane.answer(key, slot, Ok(())).is_err(), "an answer counts once");
            }
            Op::Answer(_) => {}
        }
    }

    /// What a worker does with one lane (see `worker.rs` and `batch.rs`).
    fn batch(&mut self, room: usize, fates: &[Fate]) {
        let mut taken = Taken::new();
        let left = self.lane.take(0, room, self.window, &mut taken);
        assert!(taken.work.len() + taken.finished == room - left, "a take uses its room and no more");
        for emission in taken.released.drain(..) {
            self.out(emission.event, Is::Kept);
        }
        let (mut outs, mut back, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let mut started = Vec::new();
        let mut finished = taken.finished;
        let mut fate = fates.iter().cycle();
        let mut panicked = false;
        while let Some((_, work)) = taken.work.pop_front() {
            let fate = *fate.next().unwrap();
            if fate == Fate::Leave {
                taken.work.push_front((0, work));
                break;
            }
            let (slot, front) = match &work {
                Work::Resumed { slot, .. } => (Some(*slot), true),
                Work::New(entry) => match self.lane.admit(entry.key, self.window) {
                    Admission::Free => (None, true),
                    Admission::Behind(slot) => (Some(slot), false),
                    Admission::Back => {
                        back.push(work);
                        continue;
                    }
                },
            };
            self.check_start(&work, front);
            let entry = match work {
                Work::New(entry) | Work::Resumed { entry, .. } => entry,
            };
            let (key, n) = (entry.key, entry.event.n);
            slots.extend(slot.map(|slot| (key, slot)));
            started.push((key, n));
            let state = &mut self.model.keys.get_mut(&key).unwrap()[n];
            match fate {
                Fate::Hold | Fate::Overlap => {
                    let exclusive = fate == Fate::Hold;
                    *state = Is::Held { exclusive };
                    let id = self.lane.hold(entry, slot, Held::default(), exclusive);
                    slots.push((key, id));
                    self.pending.push((key, id));
                    taken.touched.push((0, key));
                }
                Fate::Panic => {
                    panicked = true;
                    break;
                }
                Fate::Emit | Fate::Swallow | Fate::Leave => {
                    let emits = fate == Fate::Emit;
                    *state = if emits && !front { Is::Kept } else { Is::Nothing };
                    let mut kept = Vec::new();
                    match (emits, front) {
                        (true, true) => outs.push(entry.event),
                        (true, false) => kept.push(Emission { output: 0, key, event: entry.event }),
                        (false, _) => {}
                    }
                    match slot {
                        None => finished += 1,
                        Some(slot) => {
                            self.lane.finish(key, slot, kept);
                            taken.touched.push((0, key));
                        }
                    }
                }
            }
        }
        if panicked {
            outs.clear();
            for (key, slot) in slots {
                drop(self.lane.forget(key, slot));
                self.pending.retain(|pending| *pending != (key, slot));
                taken.touched.push((0, key));
            }
            for (key, n) in &started {
                self.model.keys.get_mut(key).unwrap()[*n] = Is::Nothing;
            }
            finished = taken.finished + started.len();
            self.lost += started.len();
        }
        outs.into_iter().for_each(|event| self.out(event, Is::Nothing));
        let rest = taken.work.drain(..).map(|(_, work)| work).rev().chain(back.into_iter().rev());
        for work in rest {
            self.lane.put_back(work);
        }
        finished += self.lane.settle(taken.touched.drain(..).map(|(_, key)| key), self.window);
        self.finished += finished;
        let _ = self.lane.let_go();
    }

    /// An event may start only when the model says so.
    fn check_start(&self, work: &Work<Ev>, front: bool) {
        let entry = work.entry();
        let before = &self.model.keys[&entry.key][..entry.event.n];
        let held = before.iter().filter(|is| matches!(is, Is::Held { .. })).count();
        assert!(!before.contains(&Is::Waiting), "an event starts after those before it have started");
        assert!(!before.contains(&Is::Held { exclusive: true }), "nobody starts while the key is held");
        assert!(!front || (held == 0 && !before.contains(&Is::Kept)), "only the first may emit at once");
        assert!(held < self.window || matches!(work, Work::Resumed { .. }), "the window is a bound");
    }

    fn out(&mut self, event: Ev, was: Is) {
        let events = self.model.keys.get_mut(&event.key).unwrap();
        assert_eq!(events[event.n], was);
        events[event.n] = Is::Out;
        let open = |is: &Is| matches!(is, Is::Waiting | Is::Held { .. } | Is::Kept);
        assert!(!events[..event.n].iter().any(open), "{}.{} leaves before an earlier one", event.key, event.n);
        self.emitted.push((event.key, event.n));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]
    #[test]
    fn a_lane_does_what_its_model_does(window in 1..5usize, ops in prop::collection::vec(op(), 1..80)) {
        let mut bench = Bench {
            lane: Lane::new(), window, model: Model::default(), pending: Vec::new(), emitted: Vec::new(),
            finished: 0, pushed: 0, lost: 0,
        };
        ops.iter().for_each(|op| bench.run(op));
        // Everything is answered and worked on: nothing may be left, and nothing may have been counted twice.
        for _ in 0..1000 {
            while let Some((key, slot)) = bench.pending.pop() {
                prop_assert!(bench.lane.answer(key, slot, Ok(())).is_ok());
            }
            bench.run(&Op::Batch(3, vec![Fate::Emit]));
        }
        prop_assert!(!bench.lane.scheduled && !bench.lane.has_keys() && bench.lane.len() == 0);
        prop_assert_eq!(bench.finished, bench.pushed);
        for (key, events) in &bench.model.keys {
            prop_assert!(events.iter().all(|is| matches!(is, Is::Out | Is::Nothing)), "{}: {:?}", key, events);
        }
        let mut last: HashMap<u64, usize> = HashMap::new();
        for (key, n) in &bench.emitted {
            prop_assert!(last.insert(*key, *n).is_none_or(|before| before < *n), "{}.{} out of order", key, n);
        }
    }
}
