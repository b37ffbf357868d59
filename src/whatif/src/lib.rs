//! What another configuration would have done with recorded work.
//!
//! There is no formula here. The engine itself runs, its workers, lanes, queues and policies, on a simulated machine
//! ([`tidegate_engine::Machine`]); only the stages are played (`model.rs`): their batches take times drawn from the
//! recording and send on as much as the recorded ones did. The same tape that took the recording tells what came of it,
//! so that what was recorded and what is predicted are the same figures.
//!
//! Owns the way from a tape to a recording (`taken.rs`) and from a recording to a prediction. Knows the engine and the
//! recording's format; must not know chat, stores, sockets or files.

mod arrivals;
mod figures;
mod keys;
mod model;
mod predict;
mod quantiles;
mod suggest;
mod taken;
mod work;

pub use figures::{Figures, Spread, StageFigures};
pub use predict::{Load, Unpredictable, predict};
pub use suggest::{Goal, Suggestion, suggest};
pub use taken::{beside, stages};
