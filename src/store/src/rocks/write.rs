//! Changes as RocksDB writes them: one batch for one commit.
//!
//! Nothing is read to write: what depends on what is there (marks) is merged by RocksDB, so that commits of several
//! threads need no lock among them.

use rocksdb::{DB, WriteBatch};
use tidegate_domain::conversation::{Conversation, Kind};
use tidegate_domain::day::Day;
use tidegate_domain::ids::Millis;

use super::meta::Meta;
use super::{cf, tables};
use crate::{Change, Marks, StoreError, codec, key};

/// The changes as one batch, in their order.
pub(super) fn batch(db: &DB, meta: &Meta, changes: &[Change]) -> Result<WriteBatch, StoreError> {
    let mut batch = WriteBatch::default();
    for change in changes {
        add(db, meta, change, &mut batch)?;
    }
    Ok(batch)
}

/// Whether any of it must be on disk before anybody is told. Marks, nonces and days ride with the next that must:
/// losing the last moments of them to a power cut repeats a receipt, and no log-in waits for the disk.
pub(super) fn must_sync(changes: &[Change]) -> bool {
    changes.iter().any(|change| match change {
        Change::Conversation { .. } | Change::Unique { .. } | Change::Message { .. } | Change::Revoked { .. } => true,
        Change::Read { .. } | Change::Delivered { .. } | Change::Nonce { .. } | Change::Day { .. } => false,
    })
}

fn add(db: &DB, meta: &Meta, change: &Change, batch: &mut WriteBatch) -> Result<(), StoreError> {
    match change {
        Change::Conversation { app, record, came, went } => {
            let app = meta.number(*app)?;
            let id = key::conversation(app, record.id);
            batch.put_cf(cf(db, tables::CONVERSATIONS)?, id, codec::write_conversation(record));
            let members = cf(db, tables::MEMBERS)?;
            let mut put = |client: &str| {
                let value = codec::write_membership(joined(record, client), record.expires);
                batch.put_cf(members, key::membership(app, client, record.id), value);
            };
            if matches!(record.kind, Kind::Normal | Kind::Temporary) {
                came.iter().for_each(|client| put(client));
            }
            if record.kind == Kind::Temporary {
                // An entry expires with its conversation, whose time may have changed. They are few.
                record.members.iter().for_each(|member| put(&member.client));
            }
            for client in went {
                batch.delete_cf(members, key::membership(app, client, record.id));
            }
        }
        Change::Unique { app, unique_id, cid } => {
            let key = key::unique(meta.number(*app)?, *unique_id);
            batch.put_cf(cf(db, tables::UNIQUE)?, key, codec::write_conv_id(*cid));
        }
        Change::Message { app, cid, message, dedupe } => {
            let app = meta.number(*app)?;
            let key = key::message(app, *cid, message.at, message.mid);
            batch.put_cf(cf(db, tables::MESSAGES)?, key, codec::write_message(message));
            if let Some(dt) = dedupe {
                let key = key::dedupe(app, *cid, &message.from, dt);
                batch.put_cf(cf(db, tables::SENT)?, key, codec::write_sent(message.mid, message.at));
            }
        }
        Change::Read { app, cid, client, mark } => {
            let said = Marks { read: Some(*mark), delivered: Vec::new() };
            let key = key::marks(meta.number(*app)?, *cid, client);
            batch.merge_cf(cf(db, tables::MARKS)?, key, codec::write_marks(&said));
        }
        Change::Delivered { app, cid, client, range } => {
            let said = Marks { read: None, delivered: vec![*range] };
            let key = key::marks(meta.number(*app)?, *cid, client);
            batch.merge_cf(cf(db, tables::MARKS)?, key, codec::write_marks(&said));
        }
        Change::Nonce { app, nonce, until } => {
            let key = key::nonce(meta.number(*app)?, nonce);
            batch.put_cf(cf(db, tables::NONCES)?, key, codec::write_time(*until));
        }
        Change::Revoked { token, until } => {
            batch.put_cf(cf(db, tables::REVOKED)?, token, codec::write_time(*until));
        }
        Change::Day { app, day, figures, oldest } => {
            let app = meta.number(*app)?;
            batch.put(key::day(app, *day), figures.to_bytes());
            batch.delete_range(key::day(app, Day(0)), key::day(app, *oldest));
        }
    }
    Ok(())
}

fn joined(record: &Conversation, client: &str) -> Millis {
    let member = record.members.iter().find(|member| &*member.client == client);
    member.map_or(record.updated, |member| member.joined)
}
