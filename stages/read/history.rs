//! Pages of history (wire.md 3.14).

use tidegate_domain::command::{Direction, Logs};
use tidegate_domain::conversation::Conversation;
use tidegate_domain::history::{self, MOST_LOOKED_AT};
use tidegate_domain::ids::{ClientId, Millis};
use tidegate_domain::marks;
use tidegate_domain::reply::{Answer, LogItem};
use tidegate_store::{Marks, Page, StoreError};

use super::Worker;
use crate::event::Ask;
use crate::shared::history::log_item;

/// Of larger groups no delivery times are shown: SDKs show them for two members.
const MOST_MARKED: usize = 50;

impl Worker {
    pub(super) fn history(&self, ask: &Ask, logs: &Logs, conversation: &Conversation) -> Result<Answer, StoreError> {
        let cid = conversation.id;
        let limit = history::limit(logs.limit);
        let mut items = Vec::new();
        let mut start = logs.start;
        let mut looked_at = 0;
        // One round, unless only one kind of message is wanted.
        while items.len() < limit && looked_at < MOST_LOOKED_AT {
            let size = if logs.kind.is_none() { limit } else { history::MOST_ITEMS };
            let page = Page { start, end: logs.end, direction: logs.direction, limit: size };
            let stored = self.0.store.page(ask.app, cid, &page)?;
            let last_page = stored.len() < size;
            looked_at += stored.len();
            let far = match logs.direction {
                Direction::Old => stored.first(),
                Direction::New => stored.last(),
            };
            start = far.map(|message| history::beyond(message.at, message.mid));
            let mut wanted: Vec<LogItem> = stored
                .into_iter()
                .map(|message| log_item(message, conversation.kind))
                .filter(|item| history::is_wanted(logs, item))
                .collect();
            match logs.direction {
                Direction::Old => {
                    wanted.append(&mut items);
                    items = wanted;
                }
                Direction::New => items.append(&mut wanted),
            }
            if last_page || logs.kind.is_none() {
                break;
            }
        }
        // Too many of one kind: those nearest to the start are asked for.
        let surplus = items.len().saturating_sub(limit);
        match logs.direction {
            Direction::Old => drop(items.drain(..surplus)),
            Direction::New => items.truncate(limit),
        }
        if conversation.members.len() <= MOST_MARKED && !items.is_empty() {
            let marks = self.0.store.all_marks(ask.app, cid)?;
            items.iter_mut().for_each(|item| show_marks(item, &marks));
        }
        Ok(Answer::Logs { cid, items })
    }
}

/// When the first of the others had it, and had read it.
fn show_marks(item: &mut LogItem, marks: &[(ClientId, Marks)]) {
    let others = || marks.iter().filter(|(client, _)| *client != item.from).map(|(_, marks)| marks);
    let read: Option<Millis> = others()
        .filter_map(|marks| marks.read)
        .filter(|read| read.message_at >= item.at)
        .map(|read| read.read_at)
        .min();
    let delivered = others().filter_map(|marks| marks::delivered_at(&marks.delivered, item.at)).min();
    item.delivered_at = delivered;
    item.read_at = read;
}
