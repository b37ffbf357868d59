//! What happened to a client or a message lately.

use tidegate_http::{TraceOf, TraceStep};
use tidegate_stages::shared::World;

pub fn steps(_: &World, _: &TraceOf) -> Vec<TraceStep> {
    Vec::new()
}
