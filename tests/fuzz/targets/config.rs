//! `pipeline.toml`: whatever stands in it, it is read or complained of in words.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate_config::{ModuleCatalogue, ModuleEntry, load, render_all};

/// As the program has it.
static CATALOGUE: LazyLock<ModuleCatalogue> = LazyLock::new(|| {
    ModuleCatalogue::new(tidegate_stages::catalogue::DECLARED.map(|declared| ModuleEntry {
        name: declared.name,
        outputs: declared.outputs,
        targets: declared.targets,
        blocks: declared.blocks,
        keeps: declared.keeps,
        in_flight: declared.in_flight,
    }))
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match load(text, "pipeline.toml", &CATALOGUE) {
        Ok(config) => drop(render_all(&config.warnings, true)),
        Err(complaints) => {
            assert!(!complaints.is_empty());
            assert!(!render_all(&complaints, false).is_empty());
        }
    }
});
