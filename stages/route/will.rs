//! Wills: messages that are sent when their session's connection is lost without a close (wire.md 3.8.4).
//!
//! Kept in memory with the session, one each, the last one wins; acknowledged with its id when it is kept. In no history
//! and counted nowhere.

use std::sync::Arc;

use tidegate_domain::command::Send as SendCommand;
use tidegate_domain::conversation::Conversation;
use tidegate_domain::ids::{ClientId, ConvId};
use tidegate_domain::reply::Answer;
use tidegate_engine::Batch;

use super::{TRANSIENT, Worker};
use crate::event::{Ask, Event, Will};
use crate::shared::delivery::{self, Accepted};
use crate::shared::traces::Step;

impl Worker {
    /// Its checks are done, and will be once more when it is sent.
    pub(super) fn keep_will(
        &self,
        ask: &Ask,
        mut send: Box<SendCommand>,
        to: Option<Vec<ClientId>>,
        batch: &mut Batch<'_, Event>,
    ) {
        let at = self.world.now();
        let (mid, cid) = (self.world.message_id(at), send.cid);
        // The frame that it came in may be much larger.
        send.body.own();
        let will = Box::new(Will { send, to, mid });
        match self.world.connections.keep_will(ask, will) {
            Ok(()) => self.answer(ask, &Answer::Sent { mid, at, cid }, batch),
            Err(failure) => self.not_sent(ask, failure, batch),
        }
    }

    /// The connection is lost.
    pub(super) fn send_will(
        &self,
        ask: &Ask,
        will: Will,
        conversation: Arc<Conversation>,
        batch: &mut Batch<'_, Event>,
    ) {
        if let Err(failure) = conversation.may_send(&ask.client) {
            return self.will_is_void(ask, &will, failure.code.number());
        }
        let at = self.world.now();
        let Will { send, to, mid } = will;
        self.world.traces.note(|| Step::new(at, "admitted", "route").conn(ask.conn).client(&ask.client).message(mid));
        let going = self.world.crowds.set_out(ask.app, &conversation, batch.now());
        let delivery = delivery::of_message(ask, Accepted { conversation, send, mid, at, to, going }, at);
        batch.emit(TRANSIENT, Event::Delivery(Box::new(delivery)));
    }

    /// Nobody is there to be told, but who looks for it finds why.
    pub(super) fn will_is_void(&self, ask: &Ask, will: &Will, code: i32) {
        let now = self.world.now();
        self.world.traces.note(|| {
            Step::new(now, "refused", "route").conn(ask.conn).client(&ask.client).message(will.mid).code(code)
        });
    }

    pub(super) fn will(&self, ask: Ask, will: Box<Will>, batch: &mut Batch<'_, Event>) {
        let cid: ConvId = will.send.cid;
        match self.world.views.get(ask.app, cid) {
            Some(conversation) => self.send_will(&ask, *will, conversation, batch),
            None => self.load(ask, crate::event::Work::Will(will), cid, batch),
        }
    }
}
