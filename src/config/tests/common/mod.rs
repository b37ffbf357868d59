//! A catalogue like that of the real stages.

use tidegate_config::{ModuleCatalogue, ModuleEntry};
use tidegate_engine::{Output, OutputKind};

const fn output(name: &'static str, kind: OutputKind) -> Output {
    Output { name, kind, most: 1 }
}

const NET: Output = Output { name: "net", kind: OutputKind::Sink("net"), most: 4 };

pub fn catalogue() -> ModuleCatalogue {
    const DECODE: &[Output] = &[output("next", OutputKind::Stage), NET];
    const AUTHENTICATE: &[Output] = &[NET, Output { name: "next", kind: OutputKind::Stage, most: 4 }];
    const ROUTE: &[Output] = &[
        output("durable", OutputKind::Stage),
        output("transient", OutputKind::Stage),
        output("before", OutputKind::OptionalSide),
        output("lookup", OutputKind::Side),
        NET,
    ];
    const READ: &[Output] = &[NET];
    const PERSIST: &[Output] = &[output("fan_out", OutputKind::Stage), output("lookup", OutputKind::Side), NET];
    const FAN_OUT: &[Output] = &[NET, Output { name: "offline", kind: OutputKind::OptionalSide, most: 2 }];
    const HOOK: &[Output] = &[output("push", OutputKind::OptionalSide)];
    const PUSH: &[Output] = &[];
    let module = |name, outputs, targets| ModuleEntry {
        name,
        outputs,
        targets,
        blocks: matches!(name, "read" | "persist"),
        keeps: match name {
            "authenticate" => Some("the ends of connections pass here, and nobody tells them twice"),
            "fan_out" => Some("what waits here is acknowledged already"),
            _ => None,
        },
        in_flight: (name == "hook").then_some(256),
    };
    ModuleCatalogue::new([
        module("decode", DECODE, &[("next", "authenticate")]),
        module("authenticate", AUTHENTICATE, &[("next", "route")]),
        module(
            "route",
            ROUTE,
            &[("durable", "persist"), ("transient", "fan_out"), ("before", "hook"), ("lookup", "read")],
        ),
        module("read", READ, &[]),
        module("persist", PERSIST, &[("fan_out", "fan_out"), ("lookup", "read")]),
        module("fan_out", FAN_OUT, &[("offline", "hook")]),
        module("hook", HOOK, &[("push", "push")]),
        module("push", PUSH, &[]),
    ])
}
