//! The truth about conversations, as far as anybody was told of it.
//!
//! A conversation is a line in time on which messages stand and members come and go. Every acknowledgement, delivery, page
//! of history, count and notice says something about that line, and all of it must fit together. Knows nothing of how the
//! server works.

use std::collections::BTreeMap;

use tidegate_domain::conversation::Kind;
use tidegate_domain::ids::{ConnId, ConvId, MessageId};

/// When something was said or heard, in the order of the run.
pub type Tick = u64;

/// A client's session: a connection, and which client.
pub type Key = (ConnId, usize);

/// Something that a client wanted to be said. Its text is its own.
pub struct Message {
    pub text: String,
    pub from: usize,
    pub conv: usize,
    pub dt: Option<String>,
    pub receipt: bool,
    pub transient: bool,
    pub mentions_all: bool,
    pub mentions: Option<String>,
    pub attempts: Vec<Attempt>,
    /// Where on the line it stands.
    pub places: Vec<i64>,
}

pub struct Attempt {
    pub by: Key,
    pub asked: Tick,
    pub fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Waiting,
    Done,
    Refused,
    /// Nobody will ever say.
    Lost,
}

impl Message {
    /// How many of it there may be.
    fn most(&self) -> usize {
        let open = self.attempts.iter().filter(|attempt| attempt.fate != Fate::Refused).count();
        if self.dt.is_some() { open.min(1) } else { open }
    }

    pub fn too_many(&self) -> bool {
        self.places.len() > self.most()
    }

    pub fn first_asked(&self) -> Tick {
        self.attempts.first().map_or(0, |attempt| attempt.asked)
    }

    pub fn is_done(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.fate == Fate::Done)
    }

    pub fn was_tried_by(&self, key: Key) -> bool {
        self.attempts.iter().any(|attempt| attempt.by == key)
    }

    pub fn mentions(&self, client: &str) -> bool {
        self.mentions_all || self.mentions.as_deref() == Some(client)
    }
}

/// A message's number, from what arrived of it.
pub fn number_of(text: &str) -> Option<usize> {
    text.trim_end_matches(super::super::app::SEEN).strip_prefix('m')?.parse().ok()
}

pub struct Placed {
    pub mid: String,
    pub message: usize,
    /// When somebody first heard of it.
    pub seen: Tick,
    /// When a receipt first said that it was delivered, or read.
    pub delivered: Option<Tick>,
    pub read: Option<Tick>,
}

pub struct Conv {
    pub cid: ConvId,
    pub id: String,
    pub kind: Kind,
    pub line: BTreeMap<i64, Placed>,
    /// All of the line up to here is known: nothing new may appear on it.
    pub upto: i64,
    /// Further parts of which that is so.
    whole: Vec<(i64, i64)>,
    pub of: Vec<Stance>,
    /// Somebody's coming or going was asked for or answered so often.
    pub moves: u64,
    /// What is known of its attributes: by key, what each change made of it.
    pub attributes: BTreeMap<&'static str, BTreeMap<i64, i64>>,
    /// Values that it may have besides, because nobody was told.
    pub maybe: Vec<(&'static str, i64)>,
    /// Increments that were acknowledged, and that may have been done besides.
    pub counted: (i64, i64),
    /// How far others had got and read, when somebody asked, by client: the answer and when it came.
    pub shown: BTreeMap<usize, (i64, i64, Tick)>,
}

impl Conv {
    pub fn new(cid: ConvId, kind: Kind, clients: usize) -> Conv {
        Conv {
            cid,
            id: cid.to_string(),
            kind,
            line: BTreeMap::new(),
            upto: 0,
            whole: Vec::new(),
            of: (0..clients).map(|_| Stance::default()).collect(),
            moves: 0,
            attributes: BTreeMap::new(),
            maybe: Vec::new(),
            counted: (0, 0),
            shown: BTreeMap::new(),
        }
    }

    pub fn is_room(&self) -> bool {
        self.kind == Kind::Room
    }

    /// The last message's time.
    pub fn last(&self) -> i64 {
        self.line.last_key_value().map_or(0, |(at, _)| *at)
    }

    /// A message was seen at this place.
    pub fn place(&mut self, at: i64, mid: &str, number: usize, message: &mut Message, now: Tick) -> Result<(), String> {
        if let Some(there) = self.line.get(&at) {
            return match (there.mid == mid, there.message == number) {
                (true, true) => Ok(()),
                _ => Err(format!(
                    "m{number} ({mid}) stands at {at} of {}, and so does m{} ({})",
                    self.id, there.message, there.mid
                )),
            };
        }
        if MessageId::parse(mid).map(MessageId::at) != Some(at) {
            return Err(format!("the id {mid} of m{number} is not of its time {at}"));
        }
        if at <= self.upto || self.whole.iter().any(|(from, to)| (from..=to).contains(&&at)) {
            return Err(format!("m{number} appears at {at} of {}, where it was not when all was known of it", self.id));
        }
        message.places.push(at);
        if message.too_many() {
            return Err(format!("m{number} stands at {:?} of {}: too often", message.places, self.id));
        }
        let placed = Placed { mid: mid.to_owned(), message: number, seen: now, delivered: None, read: None };
        self.line.insert(at, placed);
        Ok(())
    }

    /// All of this part of the line was seen.
    pub fn is_whole(&mut self, from: i64, to: i64) {
        if from <= to {
            self.whole.push((from, to));
        }
    }

    pub fn all_is_known(&mut self) {
        self.upto = self.last();
        self.whole.clear();
    }

    /// At this version somebody was a member, or was not.
    pub fn fact(&mut self, client: usize, version: i64, is_member: bool) -> Result<(), String> {
        match self.of[client].facts.insert(version, is_member) {
            Some(before) if before != is_member => {
                Err(format!("c{client} was and was not a member of {} at {version}", self.id))
            }
            _ => Ok(()),
        }
    }

    /// Members for certain; `None` where that is not known.
    pub fn members(&self) -> Option<usize> {
        let firm: Option<Vec<bool>> = self.of.iter().map(Stance::firm).collect();
        firm.map(|firm| firm.iter().filter(|is| **is).count())
    }
}

/// How one client stands to a conversation.
#[derive(Default)]
pub struct Stance {
    /// Whether it was a member, at the versions of which this was said.
    facts: BTreeMap<i64, bool>,
    /// Parts of the line where nobody can say, because an answer was lost.
    unsure: Vec<(i64, i64)>,
    /// It came or went since the last rest, or may have.
    pub touched: bool,
    /// How far it has read: at least, and at most.
    pub read: (i64, i64),
    /// Reads since the last rest.
    pub reads: Vec<(i64, Key)>,
    /// Time ranges that it has acknowledged, and those of them since the last rest.
    pub acked: Vec<(i64, i64)>,
    pub acks: Vec<(i64, i64, Key)>,
    /// Whether it gets no pushes, where that is known.
    pub muted: Option<bool>,
    pub mutes: u32,
}

impl Stance {
    /// Whether it was a member when a message of this time was sent.
    pub fn at(&self, at: i64) -> Option<bool> {
        if self.unsure.iter().any(|(from, to)| *from < at && at <= *to) {
            return None;
        }
        self.facts.range(..at).next_back().map(|(_, is)| *is)
    }

    /// Whether it was a member then and ever since.
    pub fn stays_from(&self, at: i64) -> bool {
        let gone = self.facts.range(at..).any(|(_, is)| !is) || self.unsure.iter().any(|(_, to)| *to >= at);
        self.at(at) == Some(true) && !gone
    }

    pub fn latest(&self) -> Option<bool> {
        self.facts.last_key_value().map(|(_, is)| *is)
    }

    /// Whether it is a member and was all the time since the last rest.
    pub fn firm(&self) -> Option<bool> {
        if self.touched { None } else { self.latest() }
    }

    pub fn unsure_since(&mut self, at: i64) {
        self.unsure.push((at, i64::MAX));
        self.touched = true;
    }

    /// Whether there was something open; that is over from here on.
    pub fn sure_after(&mut self, at: i64) -> bool {
        let mut any = false;
        for (_, to) in self.unsure.iter_mut().filter(|(_, to)| *to == i64::MAX) {
            (*to, any) = (at, true);
        }
        any
    }

    pub fn has_acked(&self, at: i64) -> bool {
        let covers = |from: i64, to: i64| (from..=to).contains(&at);
        self.acked.iter().any(|(from, to)| covers(*from, *to)) || self.acks.iter().any(|(f, t, _)| covers(*f, *t))
    }
}
