//! What limits the server now: which stage, why, by which numbers, and what to do about it.
//!
//! Three steps: a look at all that is counted, once a second (`sample`, `machine`); what the last looks say of the seconds
//! between (`evidence`); the verdict (`judge`, in the words of `words`). The judge knows numbers only, so that its rules can
//! be tried without a server. Nothing here costs a message anything.

mod evidence;
mod judge;
mod machine;
mod sample;
mod words;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_engine::{Glance, Pipeline};
use tidegate_http::{Verdict, WebhookHooks, WebhookNotifier};
use tidegate_net::Stats;
use tidegate_stages::event::Event;
use tidegate_store::Store;

use evidence::Evidence;
use sample::Sample;

/// Looks that a verdict is of, a second apart: long enough for a slow disk to show, short enough to follow a change.
const LOOKS: usize = 5;

pub struct Bottleneck {
    pipeline: Arc<Pipeline<Event>>,
    store: Arc<dyn Store>,
    hooks: Arc<WebhookHooks>,
    notifier: Arc<WebhookNotifier>,
    reactors: usize,
    state: Mutex<State>,
}

struct State {
    /// The oldest first.
    samples: Vec<Sample>,
    verdict: Verdict,
}

impl Bottleneck {
    pub fn new(
        pipeline: Arc<Pipeline<Event>>,
        store: Arc<dyn Store>,
        hooks: Arc<WebhookHooks>,
        notifier: Arc<WebhookNotifier>,
        reactors: usize,
    ) -> Self {
        let verdict = judge::judge(&Evidence::default());
        let state = Mutex::new(State { samples: Vec::new(), verdict });
        Bottleneck { pipeline, store, hooks, notifier, reactors, state }
    }

    /// What was found at the last look.
    pub fn verdict(&self) -> Verdict {
        self.state().verdict.clone()
    }

    /// Looks and judges; to be called once a second. `stages`: the pipeline's at a glance, just now.
    pub fn tick(&self, net: &Stats, stages: Vec<Glance>) {
        let mut state = self.state();
        let before = state.samples.last().and_then(|sample| sample.processors.as_ref());
        let sample = Sample {
            at: Instant::now(),
            stages,
            pools: self.pipeline.pools(),
            processors: machine::look(before),
            synced: self.store.synced(),
            hooks: self.hooks.calls(),
            pushes: self.notifier.calls(),
            net: net.clone(),
        };
        if state.samples.len() == LOOKS {
            state.samples.remove(0);
        }
        state.samples.push(sample);
        if let Some(evidence) = sample::evidence(&state.samples, self.reactors) {
            state.verdict = judge::judge(&evidence);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
