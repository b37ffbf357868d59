//! The kinds of stages that a topology may name, made over one world.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_engine::{Module, Modules};

use crate::authenticate::Authenticate;
use crate::decode::Decode;
use crate::event::Event;
use crate::fan_out::FanOut;
use crate::hook::Hook;
use crate::persist::Persist;
use crate::push::Push;
use crate::read::Read;
use crate::route::Route;
use crate::shared::World;

/// Every module under its name.
pub fn modules(world: &Arc<World>) -> Modules<Event> {
    let all: [(&str, Arc<dyn Module<Event>>); 8] = [
        ("decode", Arc::new(Decode(world.clone()))),
        ("authenticate", Arc::new(Authenticate(world.clone()))),
        ("route", Arc::new(Route(world.clone()))),
        ("read", Arc::new(Read(world.clone()))),
        ("persist", Arc::new(Persist::new(world.clone()))),
        ("fan_out", Arc::new(FanOut(world.clone()))),
        ("hook", Arc::new(Hook(world.clone()))),
        ("push", Arc::new(Push(world.clone()))),
    ];
    all.into_iter().map(|(name, module)| (name.to_owned(), module)).collect::<HashMap<_, _>>()
}
