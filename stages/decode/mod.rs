//! Decode: bytes become a request.
//!
//! Heartbeats are answered here, so that they go on when everything behind is slow. What cannot be decoded closes its
//! connection with 4114. Keyed by connection.

use std::sync::Arc;

use tidegate_domain::command::Command;
use tidegate_domain::error::Code;
use tidegate_domain::reply::Answer;
use tidegate_engine::{Batch, Item, Module, Output, OutputKind, Stage};

use crate::event::{Arrival, Arrived, Asked, Event, Saying};
use crate::mail::Mail;
use crate::shared::World;
use crate::shared::world::key_of;

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
            Arrival::Closed { code } => Saying::Closed { code },
            Arrival::Frame { bytes, received_ns, held, journey } => match tidegate_protocol::decode(bytes) {
                Ok(request) if request.command == Command::Echo => {
                    let frame =
                        tidegate_protocol::answer(request.i, request.peer.as_deref(), self.0.now(), &Answer::Echo);
                    batch.emit(NET, Event::Mail(Mail::Reply { conn, frame, busy: None }));
                    return batch.emit(NET, Event::Mail(Mail::Alive { conn }));
                }
                Ok(request) => Saying::Request { request, received_ns, held, journey },
                Err(error) => {
                    log::debug!("connection {conn} sent what cannot be read: {error}");
                    return batch.emit(NET, Event::Mail(Mail::Close { conn, code: Code::Unparseable }));
                }
            },
        };
        batch.emit(NEXT, Event::Asked(Box::new(Asked { conn, what })));
    }
}
