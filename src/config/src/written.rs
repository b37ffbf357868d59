//! A topology as the part of a `pipeline.toml` that says it, for what was changed while the server ran.
//!
//! Owns the spelling only; what is left out is what the key table has as the default. Must not know whether the
//! topology is good.

use std::fmt::Write;

use tidegate_engine::{StageSettings, Topology};

use crate::keys::{self, Fallback};
use crate::units::duration;

/// The `[stages]` and `[pools]` tables that load as this topology, with `in_flight` of the stages that have one.
pub fn write_topology(topology: &Topology, in_flight: &[(String, usize)]) -> String {
    let mut out = String::new();
    for stage in &topology.stages {
        _ = writeln!(out, "[stages.{}]", stage.name);
        stage_keys(stage, &mut out);
        let calls = in_flight.iter().find(|(name, _)| *name == stage.name);
        if let Some((_, calls)) = calls {
            _ = writeln!(out, "in_flight = {calls}");
        }
        out.push('\n');
    }
    for pool in &topology.pools {
        _ = writeln!(out, "[pools.{}]", pool.name);
        line("pools", "workers", pool.workers.to_string(), &mut out);
        line("pools", "spin", quoted(&duration(pool.spin)), &mut out);
        line("pools", "reactors", pool.helped.to_string(), &mut out);
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn stage_keys(stage: &StageSettings, out: &mut String) {
    if stage.module != stage.name {
        line("stages", "module", quoted(&stage.module), out);
    }
    if !stage.to.is_empty() {
        let bound = stage.to.iter().map(|(output, target)| format!("{output} = {}", quoted(target)));
        line("stages", "to", format!("{{ {} }}", bound.collect::<Vec<_>>().join(", ")), out);
    }
    if let Some(pool) = &stage.pool {
        line("stages", "pool", quoted(pool), out);
    }
    line("stages", "workers", stage.workers.to_string(), out);
    line("stages", "batch", stage.batch.to_string(), out);
    line("stages", "bound", stage.bound.to_string(), out);
    line("stages", "policy", quoted(&stage.policy.to_string()), out);
    // Its default depends on the module: always said.
    _ = writeln!(out, "delay_target = {}", quoted(&duration(stage.delay_target)));
    line("stages", "delay_interval", quoted(&duration(stage.delay_interval)), out);
    line("stages", "key_share", format!("{:?}", stage.key_share), out);
    line("stages", "window", stage.window.to_string(), out);
}

fn line(section: &str, name: &str, value: String, out: &mut String) {
    let default = keys::find(section, name).map(|key| &key.fallback);
    if !matches!(default, Some(Fallback::Value(default)) if *default == value) {
        _ = writeln!(out, "{name} = {value}");
    }
}

/// Names and figures have nothing to escape.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
