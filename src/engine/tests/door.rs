//! What the door tells of what waits behind it.
#![cfg(not(feature = "shuttle"))]
#![allow(clippy::disallowed_methods)]

mod common;

use common::*;
use tidegate_engine::*;

const BATCH: usize = 8;

fn one_stage(sim: &Sim<Ev>, blocks: bool) -> Rig {
    let mut only = StageSettings::new("only");
    (only.bound, only.batch) = (10_000, BATCH);
    let passes = move |batch: &mut Batch<'_, Ev>, item| match item {
        Item::New(event) | Item::Resumed(event, _) => batch.emit(0, event),
    };
    let module = std::sync::Arc::new(Fun { outputs: END, sheddable: true, blocks, work: std::sync::Arc::new(passes) });
    rig(Topology { stages: vec![only], pools: vec![] }, [("only", module as _)], 10_000, sim.env())
}

#[test]
fn the_door_tells_how_much_waits() {
    for blocks in [false, true] {
        // Where the disk is waited for, a queue is as it should be.
        let tells = |backlog| if blocks { Backlog::Nothing } else { backlog };
        let mut sim = Sim::new(1);
        let rig = one_stage(&sim, blocks);
        let door = rig.pipeline.door("only");
        assert_eq!(door.backlog(), Backlog::Nothing);
        for n in 0..BATCH as u64 / 2 {
            door.offer(ev(n, 0)).unwrap();
            assert_eq!(door.backlog(), tells(Backlog::Some));
        }
        door.offer(ev(7, 0)).unwrap();
        assert_eq!(door.backlog(), tells(Backlog::Much));
        sim.run(&rig.pipeline);
        assert_eq!(door.backlog(), Backlog::Nothing);
    }
}
