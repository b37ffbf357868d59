//! The kinds of stages that a topology may name: what each declares, and each made over one world.

use std::sync::Arc;

use tidegate_engine::{Module, Modules, Output};

use crate::event::Event;
use crate::shared::World;
use crate::{authenticate, decode, fan_out, hook, persist, push, read, route};

/// What a kind of stage declares, for whoever checks a topology without running it.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// What a topology calls it, and its usual stage.
    pub name: &'static str,
    pub outputs: &'static [Output],
    /// Its outputs and the stages that they usually go to.
    pub targets: &'static [(&'static str, &'static str)],
    pub blocks: bool,
    /// Why what waits before it must not be refused, for people. `None`: it may be.
    pub keeps: Option<&'static str>,
    /// Calls to the outside at once, where it makes any.
    pub in_flight: Option<usize>,
}

const USUAL: Declared = Declared { name: "", outputs: &[], targets: &[], blocks: false, keeps: None, in_flight: None };

/// All of them, in the order of the pipeline.
pub const DECLARED: [Declared; 8] = [
    Declared { name: "decode", outputs: decode::OUTPUTS, targets: &[("next", "authenticate")], ..USUAL },
    Declared {
        name: "authenticate",
        outputs: authenticate::OUTPUTS,
        targets: &[("next", "route")],
        keeps: Some("the ends of connections pass here, and nobody tells them twice"),
        ..USUAL
    },
    Declared {
        name: "route",
        outputs: route::OUTPUTS,
        targets: &[("durable", "persist"), ("transient", "fan_out"), ("before", "hook"), ("lookup", "read")],
        ..USUAL
    },
    Declared { name: "read", outputs: read::OUTPUTS, blocks: true, ..USUAL },
    Declared {
        name: "persist",
        outputs: persist::OUTPUTS,
        targets: &[("fan_out", "fan_out"), ("lookup", "read")],
        blocks: true,
        ..USUAL
    },
    Declared {
        name: "fan_out",
        outputs: fan_out::OUTPUTS,
        targets: &[("offline", "hook")],
        keeps: Some("what waits here is acknowledged already"),
        ..USUAL
    },
    Declared { name: "hook", outputs: hook::OUTPUTS, targets: &[("push", "push")], in_flight: Some(256), ..USUAL },
    Declared { name: "push", outputs: push::OUTPUTS, ..USUAL },
];

/// Every module under its name.
pub fn modules(world: &Arc<World>) -> Modules<Event> {
    let made = |name: &str| -> Arc<dyn Module<Event>> {
        let world = world.clone();
        match name {
            "decode" => Arc::new(decode::Decode(world)),
            "authenticate" => Arc::new(authenticate::Authenticate(world)),
            "route" => Arc::new(route::Route::new(world)),
            "read" => Arc::new(read::Read(world)),
            "persist" => Arc::new(persist::Persist::new(world)),
            "fan_out" => Arc::new(fan_out::FanOut(world)),
            "hook" => Arc::new(hook::Hook(world)),
            _ => Arc::new(push::Push(world)),
        }
    };
    DECLARED.iter().map(|declared| (declared.name.to_owned(), made(declared.name))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_declared_names_real_outputs_and_stages() {
        let names: HashSet<_> = DECLARED.iter().map(|declared| declared.name).collect();
        for declared in DECLARED {
            for (output, stage) in declared.targets {
                assert!(declared.outputs.iter().any(|o| o.name == *output), "{}: {output}", declared.name);
                assert!(names.contains(stage), "{stage}");
            }
        }
    }
}
