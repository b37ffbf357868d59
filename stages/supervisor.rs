//! What is said for events that no stage will see: refused by a full queue, or lost to a panic.
//!
//! Everybody who waits gets an answer with the documented code; what waits inside gets its ticket back. Whom a panic kept
//! from hearing what is committed is closed, and learns it by unread.

use std::sync::Arc;

use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::ConnId;
use tidegate_engine::{Refusal, Supervisor};

use crate::event::{Ask, Event, Reading, Stub, Whom};
use crate::mail::{Lift, Mail, Recipient};
use crate::shared::traces::Step;
use crate::shared::{World, journeys, reply};

/// A way to the reactors for what has no room reserved: each refusal is covered by its command's credit.
pub trait Post: Send + Sync {
    fn post(&self, mail: Mail);
}

pub struct Watch(pub Arc<World>);

impl Supervisor<Event> for Watch {
    fn refused(&self, event: Event, why: Refusal) {
        if let Some(ask) = event.snapshot() {
            return self.lift(ask.session());
        }
        let (whom, journey) = (event.asker(), tidegate_engine::Event::journey(&event));
        if let (Some(journey), Event::Task(_) | Event::Write(_) | Event::Asked(_)) = (journey, &event) {
            journeys::refused(journey, Code::Overloaded);
        }
        let journey = journeys::id(journey);
        match event {
            Event::Question(question) => question.ticket.refuse(),
            Event::Reading(reading) => match *reading {
                Reading::Load { ticket, .. } | Reading::Resent { ticket, .. } => ticket.refuse(),
                // The marks are kept: the client's next log-in tells what is unread, `max_read` what the receipts would
                // have. `refused` of the read stage counts it.
                Reading::Marked { ask, .. } => self.untold(&ask),
                _ => self.refuse(whom, why),
            },
            Event::Task(_) | Event::Write(_) | Event::Asked(_) => self.refuse(whom, why),
            Event::Told(_) | Event::Push(..) => {
                log::debug!(journey = journey.map(|id| id.to_string()); "word to the app's server was dropped: {why:?}");
            }
            Event::Arrived(_) | Event::Delivery(_) | Event::Calling(_) | Event::Mail(_) => {}
        }
    }

    fn failed(&self, stub: Stub, _stage: &str) {
        let failure = || Failure::because(Code::Internal, "the server failed on this command; it was not done");
        match stub {
            Stub::Nothing => {}
            Stub::Asker(whom) => self.answer(Some(whom), failure()),
            Stub::Entering(whom) => {
                let conn = whom.conn;
                self.answer(Some(whom), failure());
                self.close(conn);
            }
            // Its answer cannot be made: the client learns by the close that something was lost.
            Stub::Arrived(conn) => self.close(conn),
            Stub::Gone(conn) => drop(self.0.forget(conn, None, |_| {})),
            Stub::Unread(session) => self.lift(session),
            Stub::Committed(app, cid) => {
                self.0.member_connections(app, cid).into_iter().for_each(|conn| self.close(conn))
            }
        }
    }
}

impl Watch {
    /// Nobody waits for the unread, but deliveries do.
    fn lift(&self, session: Recipient) {
        self.0.post.post(Mail::Lift(Lift::of_nothing(session)));
    }

    fn close(&self, conn: ConnId) {
        self.0.post.post(Mail::Close { conn, code: Code::Internal });
    }

    fn untold(&self, ask: &Ask) {
        let now = self.0.now();
        self.0.traces.note(|| Step::new(now, "untold", "pipeline").conn(ask.conn).client(&ask.client));
    }

    fn refuse(&self, whom: Option<Whom>, why: Refusal) {
        let detail = match why {
            Refusal::KeyShare => "this conversation has too much waiting: send more slowly",
            Refusal::Draining => "the server is about to stop: reconnect and send again",
            _ => "the server is too busy: send again later",
        };
        self.answer(whom, Failure::because(Code::Overloaded, detail));
    }

    fn answer(&self, whom: Option<Whom>, failure: Failure) {
        if let Some(whom) = &whom {
            let now = self.0.now();
            self.0.traces.note(|| {
                let step = Step::new(now, "refused", "pipeline").conn(whom.conn).code(failure.code.number());
                whom.client.iter().fold(step, Step::client)
            });
        }
        if let Some(mail) = whom.and_then(|whom| reply::refusal(&whom, self.0.now(), failure)) {
            self.0.post.post(mail);
        }
    }
}
