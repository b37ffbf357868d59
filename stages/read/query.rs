//! Conversation queries (wire.md 3.6.3).

use std::sync::Arc;

use serde_json::Value;
use tidegate_domain::command::Query;
use tidegate_domain::conversation::Conversation;
use tidegate_domain::error::{Code, Failure};
use tidegate_domain::filter::Filter;
use tidegate_domain::query::{Sort, Window};
use tidegate_domain::reply::Answer;
use tidegate_store::StoreError;

use super::Worker;
use crate::event::Ask;
use crate::shared::history::log_item;

/// Conversations looked at for one query; a filter that no index narrows and that would need more is refused.
const MOST_LOOKED_AT: usize = 20_000;
const SCANNED_AT_ONCE: usize = 500;

impl Worker {
    pub(super) fn query(&self, ask: &Ask, query: &Query) -> Result<Answer, StoreError> {
        match self.rows(ask, query)? {
            Ok(rows) => Ok(Answer::Results { json: Value::Array(rows).to_string() }),
            Err(failure) => Ok(Answer::Failed(failure)),
        }
    }

    fn rows(&self, ask: &Ask, query: &Query) -> Result<Result<Vec<Value>, Failure>, StoreError> {
        let window = Window::new(query.skip, query.limit);
        // Temporary conversations come later: none is found.
        if window.limit == 0 || !query.temporary_ids.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let read = || {
            let filter = Filter::parse(query.filter.as_deref())?;
            Ok((filter, Sort::parse(query.sort.as_deref())?))
        };
        let (filter, sort) = match read() {
            Ok(read) => read,
            Err(failure) => return Ok(Err(failure)),
        };
        // No condition at all means the caller's own; any condition is taken literally.
        let filter = if filter.is_empty() { Filter::of_member(&ask.client) } else { filter };
        let candidates = match self.candidates(ask, &filter)? {
            Ok(candidates) => candidates,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut rows = Vec::new();
        for conversation in candidates {
            let last = self.0.store.last(ask.app, conversation.id)?;
            let lm = last.as_ref().map(|last| last.at);
            let last = last.filter(|_| query.last_message).map(|last| log_item(last, conversation.kind));
            let row = conversation.to_query_json(&ask.client, false, last.as_ref(), lm);
            if filter.matches(&row) {
                rows.push(row);
            }
        }
        rows.sort_by(|a, b| sort.compare(a, b));
        let mut rows = window.cut(rows);
        if query.compact {
            rows.iter_mut().filter_map(Value::as_object_mut).for_each(|row| {
                row.remove("m");
            });
        }
        Ok(Ok(rows))
    }

    /// All that can match, by the narrowest index that the filter allows.
    fn candidates(&self, ask: &Ask, filter: &Filter) -> Result<Result<Vec<Arc<Conversation>>, Failure>, StoreError> {
        let ids = match (filter.object_ids(), filter.required_members()) {
            (Some(ids), _) => Some(ids),
            (None, Some(members)) => match members.first() {
                Some(member) => Some(self.0.store.conversations_of(ask.app, member, MOST_LOOKED_AT)?),
                None => None,
            },
            (None, None) => None,
        };
        let mut found = Vec::new();
        if let Some(ids) = ids {
            for cid in ids.into_iter().take(MOST_LOOKED_AT) {
                found.extend(self.conversation(ask.app, cid)?);
            }
            return Ok(Ok(found));
        }
        let mut after = None;
        loop {
            let some = self.0.store.scan(ask.app, after, SCANNED_AT_ONCE)?;
            let at_end = some.len() < SCANNED_AT_ONCE;
            after = some.last().map(|conversation| conversation.id);
            found.extend(some.into_iter().map(Arc::new));
            if at_end {
                return Ok(Ok(found));
            }
            if found.len() >= MOST_LOOKED_AT {
                let detail = "this query would look at too many conversations: ask for an objectId or a member (m)";
                return Ok(Err(Failure::because(Code::ConversationQueryFailed, detail)));
            }
        }
    }
}
