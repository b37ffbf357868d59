//! Chat rooms: joined and left in memory, without notices (wire.md section 4).

use tidegate_domain::command::Change;
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::ids::ConvId;
use tidegate_domain::reply::{Answer, Changed};
use tidegate_engine::Batch;

use super::{NET, Worker};
use crate::event::{Ask, Event};
use crate::mail::Mail;

/// wire.md 3.6.6.
const MOST_MEMBERS_SHOWN: usize = 50;

impl Worker {
    pub(super) fn join(&self, ask: Ask, change: Change, room: &Conversation, batch: &mut Batch<'_, Event>) {
        let moved = match room.clone().add(&ask.client, &change.members, self.world.now()) {
            Ok(moved) => moved,
            Err(failure) => return self.answer(&ask, &Answer::Failed(failure), batch),
        };
        let Some(mail) = self.world.enter_room(ask.app, room.id, &ask.session()) else {
            return self.answer(&ask, &Answer::Failed(Code::SessionRequired.into()), batch);
        };
        let changed = Changed { cid: room.id, allowed: moved.allowed, failed: moved.failed, updated: moved.updated };
        self.answer(&ask, &Answer::Added(changed), batch);
        mail.into_iter().for_each(|mail| batch.emit(NET, Event::Mail(mail)));
    }

    pub(super) fn leave(&self, ask: Ask, change: Change, room: &Conversation, batch: &mut Batch<'_, Event>) {
        let moved = match room.clone().remove(&ask.client, &change.members, self.world.now()) {
            Ok(moved) => moved,
            Err(failure) => return self.answer(&ask, &Answer::Failed(failure), batch),
        };
        let session = ask.session();
        let left = self.world.rooms.leave(ask.app, room.id, &session);
        let changed = Changed { cid: room.id, allowed: moved.allowed, failed: moved.failed, updated: moved.updated };
        self.answer(&ask, &Answer::Removed(changed), batch);
        if let Some(left) = left {
            batch.emit(NET, Event::Mail(Mail::Leave { group: left.group, member: session }));
        }
    }

    pub(super) fn members(
        &self,
        ask: &Ask,
        cid: ConvId,
        limit: Option<i32>,
        conversation: &Conversation,
        batch: &mut Batch<'_, Event>,
    ) {
        if conversation.kind != Kind::Room {
            let failure = Failure::because(Code::TransientConversationRequired, "only chat rooms list who is online");
            return self.answer(ask, &Answer::Failed(failure), batch);
        }
        let asked = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        let most = asked.unwrap_or(MOST_MEMBERS_SHOWN).min(MOST_MEMBERS_SHOWN);
        let members = self.world.rooms.some(ask.app, cid, most);
        self.answer(ask, &Answer::Members { cid, members }, batch);
    }
}
