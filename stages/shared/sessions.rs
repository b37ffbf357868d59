//! The sessions of one connection, each with its commands in flight, and which of them is the oldest.
//!
//! Nearly every connection carries one session, which lies here in place; one that carries thousands keeps them in a
//! map. Nothing here takes longer where there are many, but finding the oldest after the one before it has ended. Who
//! may be here is authenticate's business.

use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use tidegate_domain::ids::ClientId;

use super::busy::Busy;

#[derive(Debug, Default)]
pub struct Sessions(Form);

#[derive(Debug, Default)]
enum Form {
    #[default]
    Empty,
    One(ClientId, Arc<Busy>),
    Many(Box<Many>),
}

#[derive(Debug, Default)]
struct Many {
    open: IndexMap<ClientId, Open, RandomState>,
    opened: u64,
    /// The oldest, while it is known.
    first: Option<ClientId>,
}

#[derive(Debug)]
struct Open {
    busy: Arc<Busy>,
    /// How many were opened before it.
    nth: u64,
}

impl Many {
    fn open(&mut self, client: ClientId, busy: Arc<Busy>) {
        if self.open.is_empty() {
            self.first = Some(client.clone());
        }
        self.open.insert(client, Open { busy, nth: self.opened });
        self.opened += 1;
    }

    fn get(&self, client: &ClientId) -> Option<(ClientId, Arc<Busy>)> {
        self.open.get_key_value(client).map(|(client, open)| (client.clone(), open.busy.clone()))
    }

    fn first(&mut self) -> Option<(ClientId, Arc<Busy>)> {
        if self.first.is_none() {
            self.first = self.open.iter().min_by_key(|(_, open)| open.nth).map(|(client, _)| client.clone());
        }
        self.get(self.first.as_ref()?)
    }
}

impl Sessions {
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Empty => 0,
            Form::One(..) => 1,
            Form::Many(many) => many.open.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, client: &ClientId) -> bool {
        match &self.0 {
            Form::Empty => false,
            Form::One(one, _) => one == client,
            Form::Many(many) => many.open.contains_key(client),
        }
    }

    /// Opens a client's session; one that is open already stays as it is. Says whether it is new.
    pub fn open(&mut self, client: &ClientId) -> (bool, Arc<Busy>) {
        if let Some((_, busy)) = self.get(client) {
            return (false, busy);
        }
        let busy = Arc::<Busy>::default();
        let (client, own) = (client.clone(), busy.clone());
        self.0 = match mem::take(&mut self.0) {
            Form::Empty => Form::One(client, own),
            Form::One(older, of_older) => {
                let mut many = Box::<Many>::default();
                many.open(older, of_older);
                many.open(client, own);
                Form::Many(many)
            }
            Form::Many(mut many) => {
                many.open(client, own);
                Form::Many(many)
            }
        };
        (true, busy)
    }

    pub fn end(&mut self, client: &ClientId) -> Option<Arc<Busy>> {
        if let Form::Many(many) = &mut self.0 {
            let ended = many.open.swap_remove(client)?;
            many.first.take_if(|first| first == client);
            return Some(ended.busy);
        }
        let (_, busy) = self.get(client)?;
        self.0 = Form::Empty;
        Some(busy)
    }

    /// Looks at each client that has one.
    pub fn each(&self, look: impl FnMut(&ClientId)) {
        match &self.0 {
            Form::Empty => {}
            Form::One(client, _) => [client].into_iter().for_each(look),
            Form::Many(many) => many.open.keys().for_each(look),
        }
    }

    /// A client's session.
    pub fn get(&self, client: &ClientId) -> Option<(ClientId, Arc<Busy>)> {
        match &self.0 {
            Form::One(one, busy) if one == client => Some((one.clone(), busy.clone())),
            Form::Many(many) => many.get(client),
            _ => None,
        }
    }

    /// The oldest session.
    pub fn first(&mut self) -> Option<(ClientId, Arc<Busy>)> {
        match &mut self.0 {
            Form::Empty => None,
            Form::One(one, busy) => Some((one.clone(), busy.clone())),
            Form::Many(many) => many.first(),
        }
    }

    /// One of them.
    pub fn any(&self) -> Option<&ClientId> {
        match &self.0 {
            Form::Empty => None,
            Form::One(one, _) => Some(one),
            Form::Many(many) => many.open.keys().next(),
        }
    }

    pub fn into_clients(self) -> Vec<ClientId> {
        match self.0 {
            Form::Empty => Vec::new(),
            Form::One(client, _) => vec![client],
            Form::Many(many) => many.open.into_keys().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_that_opens_twice_is_one() {
        let mut sessions = Sessions::default();
        let (_, busy) = sessions.open(&"a".into());
        let (is_new, again) = sessions.open(&"a".into());
        assert!(!is_new && Arc::ptr_eq(&busy, &again));
        assert_eq!(sessions.len(), 1);
    }

    proptest! {
        /// The first is the oldest that is still open, and one that comes back is the youngest.
        #[test]
        fn it_is_a_list_in_order_of_entry(steps in prop::collection::vec((any::<bool>(), 0..4usize), 0..40)) {
            let ids = ["a", "b", "c", "d"].map(ClientId::from);
            let (mut sessions, mut model) = (Sessions::default(), Vec::new());
            for (open, client) in steps {
                let client = &ids[client];
                if open {
                    prop_assert_eq!(sessions.open(client).0, !model.contains(client));
                    if !model.contains(client) {
                        model.push(client.clone());
                    }
                } else {
                    prop_assert_eq!(sessions.end(client).is_some(), model.contains(client));
                    model.retain(|kept| kept != client);
                }
                prop_assert_eq!(sessions.first().map(|(client, _)| client), model.first().cloned());
                prop_assert_eq!((sessions.len(), sessions.any().is_some()), (model.len(), !model.is_empty()));
                for id in &ids {
                    prop_assert_eq!(sessions.contains(id), model.contains(id));
                    prop_assert_eq!(sessions.get(id).is_some_and(|(client, _)| client == *id), model.contains(id));
                }
            }
            let mut clients = sessions.into_clients();
            clients.sort();
            model.sort();
            prop_assert_eq!(clients, model);
        }
    }
}
