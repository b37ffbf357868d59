//! Answers as mail: one place that puts envelope and answer together.

use tidegate_domain::error::Failure;
use tidegate_domain::ids::{MessageId, Millis};
use tidegate_domain::reply::Answer;

use crate::event::{Ask, Event, Whom};
use crate::mail::Mail;

/// The answer to `ask`. A command without `i` waits for none, and gets none.
pub fn answer(ask: &Ask, now: Millis, answer: &Answer) -> Option<Event> {
    ask.i?;
    let frame = tidegate_protocol::answer(ask.i, Some(&ask.client), now, answer);
    Some(Event::Mail(Mail::Reply { conn: ask.conn, frame, busy: ask.busy.clone() }))
}

/// The refusal of a command, in the form that its asker understands; nothing where nobody waits.
pub fn refusal(whom: &Whom, now: Millis, failure: Failure) -> Option<Mail> {
    // A message that never got an id still wants one in its refusal (wire.md 3.8.2).
    let answer = whom.form.answer(failure, MessageId::new(now, 0, 0), now)?;
    let frame = tidegate_protocol::answer(whom.i, whom.client.as_deref(), now, &answer);
    Some(Mail::Reply { conn: whom.conn, frame, busy: None })
}
