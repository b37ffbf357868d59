//! What tests and benchmarks of the real stages begin with: an app, a conversation that is in the store, the usual stages,
//! and nobody outside who is asked anything.
#![allow(dead_code)] // not each of them needs all of it

use tidegate_domain::app::{App, SignaturePolicy};
use tidegate_domain::conversation::{Conversation, Kind, Member};
use tidegate_domain::hook::{
    HookEvent, Hooks, MessageReceived, MessageSent, Notification, Notifier, Offline, ReceiversOffline, Verdict,
};
use tidegate_domain::ids::{AppId, ClientId, ConvId, Millis};
use tidegate_engine::{StageSettings, Topology};
use tidegate_stages::catalogue::DECLARED;
use tidegate_store::{Change, Store};

pub const APP: AppId = AppId(0);
/// When all begins.
pub const EPOCH: Millis = 1_790_000_000_000;

pub fn app() -> App {
    App {
        index: APP,
        id: "app".into(),
        key: "key".into(),
        master_key: "master".into(),
        origins: Vec::new(),
        signature: SignaturePolicy::default(),
        push_webhook: None,
        webhooks: Vec::new(),
    }
}

/// Puts a conversation into the store without anybody's knowing: no cache has it.
pub fn conversation(store: &dyn Store, number: u8, kind: Kind, members: &[&str]) -> ConvId {
    let id = ConvId::Object([number; 12]);
    let record = Conversation {
        id,
        kind,
        creator: "maker".into(),
        members: members.iter().map(|client| Member { client: (*client).into(), joined: EPOCH - 1 }).collect(),
        muted: Vec::new(),
        attributes: Default::default(),
        unique_id: None,
        created: EPOCH - 1,
        updated: EPOCH - 1,
        version: 1,
        expires: None,
    };
    let came = members.iter().map(|client| ClientId::from(*client)).collect();
    store.commit(&[Change::Conversation { app: APP, record, came, went: Vec::new() }]).expect("it is kept");
    id
}

/// Every stage with its defaults, bound as usual.
pub fn topology() -> Topology {
    let stages = DECLARED.iter().map(|declared| {
        let targets = declared.targets.iter();
        targets.fold(StageSettings::new(declared.name), |stage, (output, to)| stage.to(*output, *to))
    });
    Topology { stages: stages.collect(), pools: Vec::new() }
}

/// No app's server.
pub struct Nobody;

impl Hooks for Nobody {
    fn wants(&self, _: AppId, _: HookEvent) -> bool {
        false
    }
    fn message_received(&self, _: MessageReceived, done: Box<dyn FnOnce(Verdict) + Send>) {
        done(Verdict::Pass { body: None, to: None, failed: false });
    }
    fn message_sent(&self, _: MessageSent, done: Box<dyn FnOnce(bool) + Send>) {
        done(true);
    }
    fn receivers_offline(&self, _: ReceiversOffline, done: Box<dyn FnOnce(Offline) + Send>) {
        done(Offline { push: None, failed: false });
    }
}

impl Notifier for Nobody {
    fn serves(&self, _: AppId) -> bool {
        false
    }
    fn notify(&self, _: Notification, done: Box<dyn FnOnce(Result<(), String>) + Send>) {
        done(Ok(()));
    }
}
