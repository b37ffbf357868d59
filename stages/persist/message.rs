//! A message joins its conversation's history, once.

use tidegate_domain::command::Send as SendCommand;
use tidegate_domain::error::Code;
use tidegate_domain::ids::ClientId;
use tidegate_domain::reply::Answer;
use tidegate_store::{Change, StoreError, Stored};

use super::draft::{Draft, Outcome};
use super::truth::Hot;
use crate::event::{Ask, Going};
use crate::shared::delivery::{self, Accepted};

impl Draft<'_> {
    pub fn append(
        &mut self,
        ask: &Ask,
        send: Box<SendCommand>,
        to: Option<Vec<ClientId>>,
        going: Going,
    ) -> Result<Outcome, StoreError> {
        let cid = send.cid;
        let hot = self.hot(ask.app, cid)?;
        // Route looked at its cache; here is the truth.
        let refused = match &hot {
            None => Some(Code::InvalidTarget.into()),
            Some(hot) => hot.conversation.may_send(&ask.client).err(),
        };
        let (Some(Hot { conversation, mut newest }), None) = (hot, &refused) else {
            let mid = self.world.message_id(self.now);
            let failure = refused.unwrap_or_else(|| Code::InvalidTarget.into());
            return Ok(Outcome::answer(Answer::NotSent { failure, mid, at: self.now }));
        };
        let token = send.dedupe.clone().map(|dedupe| (ask.app, cid, ask.client.clone(), dedupe));
        if let Some(token) = &token {
            if let Some((mid, at)) = self.sent.get(token).copied() {
                return Ok(Outcome::durable(Answer::Sent { mid, at, cid }, None));
            }
            if let Some((mid, at)) = self.world.store.resent(ask.app, cid, &ask.client, &token.3)? {
                return Ok(Outcome::answer(Answer::Sent { mid, at, cid }));
            }
        }
        // Strictly increasing, so that time alone orders a conversation, whatever the clock does.
        // After the last join too: what comes then is unread to the one who joined.
        let at = self.now.max(newest.last_at + 1).max(conversation.updated + 1);
        let mid = self.world.message_id(at);
        let message = Stored {
            mid,
            from: ask.client.clone(),
            at,
            body: send.body.clone(),
            receipt: send.receipt,
            mentions: send.mentions.clone(),
            patched_at: None,
        };
        self.changes.push(Change::Message { app: ask.app, cid, message, dedupe: send.dedupe.clone() });
        newest.follow(mid, &ask.client, send.receipt);
        self.set(ask.app, Hot { conversation: conversation.clone(), newest });
        if let Some(token) = token {
            self.sent.insert(token, (mid, at));
        }
        let delivery = delivery::of_message(ask, Accepted { conversation, send, mid, at, to, going }, self.now);
        Ok(Outcome::durable(Answer::Sent { mid, at, cid }, Some(delivery)))
    }
}
