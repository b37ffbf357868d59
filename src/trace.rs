//! `/trace`: what happened to a client or a message lately, in the admin API's words.

use tidegate_domain::error::Code;
use tidegate_domain::ids::{ClientId, MessageId};
use tidegate_http::{TraceOf, TraceStep};
use tidegate_stages::shared::World;
use tidegate_stages::shared::traces::{MOST_RECEIVERS, Step};

/// Clients have no app here: two apps' clients of one name are shown together.
pub fn steps(world: &World, of: &TraceOf) -> Vec<TraceStep> {
    let found = match of {
        TraceOf::Client { client, .. } => {
            let is = |c: &ClientId| **c == **client;
            world.traces.find(|step| step.client.as_ref().is_some_and(is) || step.to.iter().any(is))
        }
        TraceOf::Message(text) => match MessageId::parse(text) {
            Some(mid) => return of_message(world, mid),
            None => Vec::new(),
        },
    };
    found.into_iter().map(shown).collect()
}

/// A message's stages come first, where it was sampled: they say how long, the steps say what.
fn of_message(world: &World, mid: MessageId) -> Vec<TraceStep> {
    let steps = world.traces.of_message(mid);
    let begun = steps.first().map_or(mid.at(), |step| step.at);
    let journey = world.journeys.find(mid);
    let marks = journey.iter().flat_map(|journey| journey.marks()).map(|mark| TraceStep {
        at_ms: begun,
        what: "stage".to_owned(),
        stage: Some(mark.stage.to_string()),
        message: Some(mid.to_string()),
        detail: Some(format!(
            "waited {} us, worked on for {} us in a batch of {}",
            mark.started_at.saturating_sub(mark.queued_at) / 1_000,
            mark.ended_at.saturating_sub(mark.started_at) / 1_000,
            mark.batch
        )),
        ..TraceStep::default()
    });
    marks.chain(steps.into_iter().map(shown)).collect()
}

fn shown(step: Step) -> TraceStep {
    let name = step.code.and_then(|code| Code::ALL.iter().find(|known| known.number() == code)).map(|code| code.name());
    let to = match step.count {
        0 if step.what == "delivered" => Some("to nobody: no receiver was online".to_owned()),
        0 => (!step.note.is_empty()).then(|| step.note.to_owned()),
        count if !step.note.is_empty() && step.to.len() >= MOST_RECEIVERS => {
            Some(format!("{}: {count} clients", step.note))
        }
        _ if !step.note.is_empty() => Some(format!("{}: {}", step.note, step.to.join(", "))),
        count if step.to.len() >= MOST_RECEIVERS => Some(format!("to {count} sessions")),
        _ => Some(format!("to {}", step.to.join(", "))),
    };
    TraceStep {
        at_ms: step.at,
        what: step.what.to_owned(),
        stage: Some(step.stage.to_owned()),
        connection: step.conn.map(|conn| conn.to_string()),
        client: step.client.map(|client| client.to_string()),
        message: step.mid.map(|mid| mid.to_string()),
        code: step.code,
        detail: to.or(name.map(str::to_owned)),
    }
}
