//! What the modules of a program declare, as far as a file is checked against it.
//!
//! The program fills it in (the stages crate knows its modules); this crate only looks things up. Must not know any
//! module by name.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_engine::{Batch, Event, Module, Modules, Output, Stage};

/// A module as a file sees it.
#[derive(Debug, Clone, Copy)]
pub struct ModuleEntry {
    /// What `module = "…"` says, and the name of its usual stage.
    pub name: &'static str,
    /// As `Module::outputs`.
    pub outputs: &'static [Output],
    /// Output by output, the stage that it goes to where a file does not say.
    pub targets: &'static [(&'static str, &'static str)],
    /// As `Module::blocks`.
    pub blocks: bool,
    /// Why what waits before it must not be refused, in a few words. `None`: it may be, as `Module::sheddable` has it.
    pub keeps: Option<&'static str>,
    /// The default of `in_flight`, for modules that call the outside.
    pub in_flight: Option<usize>,
}

/// All modules that a file may name.
#[derive(Debug, Clone, Default)]
pub struct ModuleCatalogue {
    entries: Vec<ModuleEntry>,
}

impl ModuleCatalogue {
    pub fn new(entries: impl IntoIterator<Item = ModuleEntry>) -> Self {
        ModuleCatalogue { entries: entries.into_iter().collect() }
    }

    pub fn find(&self, name: &str) -> Option<&ModuleEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Whether stages of this module wait for the disk.
    pub fn blocks(&self, module: &str) -> bool {
        self.find(module).is_some_and(|entry| entry.blocks)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().map(|entry| entry.name)
    }

    /// For `Topology::check`, which asks modules what they declare and never lets one work.
    pub(crate) fn declared(&self) -> Modules<Never> {
        let declared = |entry: &ModuleEntry| -> (String, Arc<dyn Module<Never>>) {
            (entry.name.to_owned(), Arc::new(Declared(*entry)))
        };
        self.entries.iter().map(declared).collect::<HashMap<_, _>>()
    }
}

/// An event that does not exist.
pub(crate) enum Never {}

impl Event for Never {
    type Answer = ();
    type Stub = ();

    fn stub(&self) {
        match *self {}
    }
}

struct Declared(ModuleEntry);

impl Module<Never> for Declared {
    fn outputs(&self) -> &'static [Output] {
        self.0.outputs
    }

    fn blocks(&self) -> bool {
        self.0.blocks
    }

    fn sheddable(&self) -> bool {
        self.0.keeps.is_none()
    }

    fn key(&self, event: &Never) -> u64 {
        match *event {}
    }

    fn worker(&self) -> Box<dyn Stage<Never>> {
        Box::new(Idle)
    }
}

struct Idle;

impl Stage<Never> for Idle {
    fn run(&mut self, _: &mut Batch<'_, Never>) {}
}
