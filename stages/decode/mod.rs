//! Decode: bytes become a request.
//!
//! Heartbeats are answered here, so that they go on when everything behind is slow. What cannot be decoded is refused with
//! 4114; where not even its envelope can be read, that closes its connection. Keyed by connection.

use std::sync::Arc;

use tidegate_domain::command::Command;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::{ClientId, ConnId};
use tidegate_domain::reply::Answer;
use tidegate_engine::{Batch, Item, Module, Output, OutputKind, Stage};
use tidegate_protocol::{DecodeError, FailureForm};

use crate::event::{Arrival, Arrived, Asked, Event, Saying, Whom};
use crate::mail::Mail;
use crate::shared::journeys::{self, said};
use crate::shared::traces::Step;
use crate::shared::world::key_of;
use crate::shared::{World, reply};

const NET: usize = 0;
const NEXT: usize = 1;
pub(crate) const OUTPUTS: &[Output] = &[
    // An answer, and word of life or a close.
    Output { name: "net", kind: OutputKind::Sink("net"), most: 2 },
    Output { name: "next", kind: OutputKind::Stage, most: 1 },
];

pub struct Decode(pub Arc<World>);

impl Module<Event> for Decode {
    fn outputs(&self) -> &'static [Output] {
        OUTPUTS
    }

    fn one_by_one(&self) -> bool {
        true
    }

    fn key(&self, event: &Event) -> u64 {
        match event {
            Event::Arrived(arrived) => key_of(arrived.conn),
            _ => 0,
        }
    }

    fn worker(&self) -> Box<dyn Stage<Event>> {
        Box::new(Worker(self.0.clone()))
    }
}

struct Worker(Arc<World>);

impl Stage<Event> for Worker {
    fn run(&mut self, batch: &mut Batch<'_, Event>) {
        while let Some(item) = batch.next() {
            if let Item::New(Event::Arrived(arrived)) = item {
                self.take(arrived, batch);
            }
        }
    }
}

impl Worker {
    fn take(&self, Arrived { conn, what }: Arrived, batch: &mut Batch<'_, Event>) {
        let what = match what {
            Arrival::Opened(origin) => Saying::Opened(origin),
            Arrival::Closed { code, held } => Saying::Closed { code, held },
            Arrival::Frame { bytes, received_ns, held, journey } => match tidegate_protocol::decode(bytes.clone()) {
                Ok(request) if request.command == Command::Echo => {
                    let frame =
                        tidegate_protocol::answer(request.i, request.peer.as_deref(), self.0.now(), &Answer::Echo);
                    batch.emit(NET, Event::Mail(Mail::Reply { conn, frame, busy: None }));
                    return batch.emit(NET, Event::Mail(Mail::Alive { conn }));
                }
                Ok(request) => Saying::Request { request, received_ns, held, journey },
                Err(error) => {
                    if let Some(journey) = &journey {
                        journeys::refused(journey, Code::Unparseable);
                    }
                    log::debug!(journey = said(journey.as_ref()); "connection {conn} sent what cannot be read: {error}");
                    return self.unreadable(conn, &bytes, &error, batch);
                }
            },
        };
        batch.emit(NEXT, Event::Asked(Box::new(Asked { conn, what })));
    }

    /// Others may share the connection, so it stays wherever it can be said whose mistake it was.
    fn unreadable(&self, conn: ConnId, bytes: &[u8], error: &DecodeError, batch: &mut Batch<'_, Event>) {
        let Some(head) = tidegate_protocol::envelope(bytes) else {
            return batch.emit(NET, Event::Mail(Mail::Close { conn, code: Code::Unparseable }));
        };
        let now = self.0.now();
        self.0.traces.note(|| {
            let step = Step::new(now, "refused", "decode").conn(conn).code(Code::Unparseable.number());
            head.peer.into_iter().fold(step, |step, peer| step.client(&peer.into()))
        });
        let (client, form) = (head.peer.map(ClientId::from), FailureForm::of_head(&head));
        let whom = Whom { conn, client, i: head.i, form };
        let failure = Failure::because(Code::Unparseable, error.to_string());
        if let Some(mail) = reply::refusal(&whom, now, failure) {
            batch.emit(NET, Event::Mail(mail));
        }
    }
}
