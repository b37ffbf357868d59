//! The model checker's tests of credits and mailboxes: whoever sleeps is woken, in every interleaving tried.
//!
//! `cargo test -p tidegate-net --features shuttle --lib model`. A thread that nobody would wake is a deadlock, which the
//! checker reports with the schedule that leads to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuttle::sync::{Condvar, Mutex, mpsc};
use shuttle::{check_pct, check_random, thread};
use tidegate_domain::ids::ConnId;

use crate::credit::{Credit, Share};
use crate::door::Frame;
use crate::mail::Mail;
use crate::mailbox::{Mailbox, Post, Room};
use crate::sync::lock;
use crate::turnstile::Turnstile;

const SCHEDULES: usize = 5_000;

/// What a poll is to a reactor: one that parks until it was woken.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    ring: Condvar,
}

impl Bell {
    fn post(self: &Arc<Self>, bound: usize, room: &Arc<Room>) -> Arc<Post> {
        let bell = self.clone();
        let wake = Box::new(move || {
            *lock(&bell.rung) = true;
            bell.ring.notify_one();
        });
        Arc::new(Post::new(bound, wake, room.clone()))
    }

    fn wait(&self) {
        let mut rung = lock(&self.rung);
        while !std::mem::take(&mut *rung) {
            rung = self.ring.wait(rung).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// A reactor's rest between two turns.
    fn park(&self, post: &Post) {
        if post.may_sleep() {
            self.wait();
        }
        post.awake();
    }
}

fn explore(model: impl Fn() + Send + Sync + Clone + 'static) {
    check_random(model.clone(), SCHEDULES);
    check_pct(model, SCHEDULES, 3);
}

#[test]
fn a_paused_connection_is_always_asked_to_go_on() {
    explore(|| {
        let bell = Arc::new(Bell::default());
        let post = bell.post(1, &Arc::new(Room::default()));
        let conn = ConnId::new(0, 0, 1, 1);
        let share = Share::new(conn, post.clone(), 2, 1_000);
        let finishers: Vec<_> = (0..2)
            .map(|_| {
                let (give, take) = mpsc::channel::<Credit>();
                (give, thread::spawn(move || while take.recv().is_ok() {}))
            })
            .collect();
        let mut asked = Vec::new();
        for command in 0..4 {
            while !share.has_some() {
                while asked.is_empty() {
                    bell.park(&post);
                    post.take_attention(&mut asked);
                }
                asked.clear();
            }
            finishers[command % 2].0.send(share.take(1)).unwrap();
        }
        for (give, finisher) in finishers {
            drop(give);
            finisher.join().unwrap();
        }
        assert!(share.has_some());
    });
}

#[test]
fn who_waits_for_a_turn_is_always_let_in() {
    explore(|| {
        let bell = Arc::new(Bell::default());
        let post = bell.post(1, &Arc::new(Room::default()));
        let mut turnstile = Turnstile::new(1, Duration::from_secs(1 << 30), post.clone());
        let (give, take) = mpsc::channel::<Frame>();
        let finisher = thread::spawn(move || while take.recv().is_ok() {});
        let frame = || Frame { bytes: Bytes::new(), received_ns: 0, credit: Credit::none(), turn: None };
        let mut inside = 0;
        for _ in 0..3 {
            match turnstile.enter() {
                Some(turn) => {
                    give.send(Frame { turn: Some(turn), ..frame() }).unwrap();
                    inside += 1;
                }
                None => turnstile.wait(ConnId::new(0, 0, 1, 1), frame()),
            }
        }
        loop {
            while let Some((_, frame)) = turnstile.next(0) {
                give.send(frame).unwrap();
                inside += 1;
            }
            if inside == 3 {
                break;
            }
            if post.may_sleep() && !turnstile.has_next() {
                bell.wait();
            }
            post.awake();
        }
        drop(give);
        finisher.join().unwrap();
    });
}

#[test]
fn mail_wakes_reactors_and_room_wakes_producers() {
    const EACH: usize = 3;
    explore(|| {
        let room = Arc::new(Room::default());
        let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
        let posts: Vec<_> = bells.iter().map(|bell| bell.post(1, &room)).collect();
        let mailbox = Mailbox::new(posts.clone(), room);
        let producers_bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
        for bell in &producers_bells {
            let bell = bell.clone();
            mailbox.on_room(Arc::new(move || {
                *lock(&bell.rung) = true;
                bell.ring.notify_one();
            }));
        }
        let reactors = bells.into_iter().zip(posts).map(|(bell, post)| {
            thread::spawn(move || {
                let (mut got, mut inbox) = (0, VecDeque::new());
                while got < EACH {
                    bell.park(&post);
                    post.take(&mut inbox);
                    got += inbox.len();
                    post.free(inbox.drain(..).count());
                }
            })
        });
        let producers = producers_bells.into_iter().enumerate().map(|(reactor, bell)| {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                for _ in 0..EACH {
                    while !mailbox.reserve(1) {
                        bell.wait();
                    }
                    let conn = ConnId::new(0, reactor as u8, 1, 1);
                    mailbox.push(&mut vec![Mail::Alive { conn }]);
                }
            })
        });
        let threads: Vec<_> = reactors.chain(producers).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(mailbox.depth(), 0);
    });
}
