//! What comes of a log-in, given the client's sessions at that moment (wire.md 3.1.1 and 3.1.2).
//!
//! Owns the table of tag conflicts and which of a client's older sessions a new one takes the place of. Runs inside
//! `Directory::change`, so that two log-ins at once see each other. Must not know frames, tokens' seals or signatures.

use crate::directory::SessionEntry;
use crate::error::{Code, Failure};
use crate::ids::{ClientId, check_client};

/// The longest tag and device id that are kept, in bytes: both go into every token.
const MOST_TAG_BYTES: usize = 256;

/// A log-in that was authenticated and asks to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entering {
    pub entry: SessionEntry,
    /// The client says that it is coming back (`r`), not that a person logs in.
    pub reopen: bool,
    /// The id of the token by which it comes back, if by one.
    pub shown: Option<[u8; 16]>,
}

/// What a log-in does to the client's older sessions, all of which have left the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// Told `closed` with 4111, and their tokens end: their next re-open must meet 4111 too.
    pub kicked: Vec<SessionEntry>,
    /// Went quietly: the new session is the same one, come back.
    pub replaced: Vec<SessionEntry>,
}

/// Decides, and on success puts the new session last into `sessions`. Fails with 4111, or with 4116 where the
/// client has `most` sessions besides; a log-in that fails changes nothing.
pub fn enter(sessions: &mut Vec<SessionEntry>, new: Entering, most: usize) -> Result<Admission, Failure> {
    let fate: Vec<Fate> = sessions.iter().map(|old| fate(old, &new)).collect();
    if fate.contains(&Fate::Wins) {
        let detail = "another device has logged in under this client id and tag";
        return Err(Failure::because(Code::SessionConflict, detail));
    }
    if fate.iter().filter(|fate| **fate == Fate::Stays).count() >= most {
        let detail = format!("this client has {most} sessions, the most that are allowed");
        return Err(Failure::because(Code::Overloaded, detail));
    }
    let mut admission = Admission::default();
    for (old, fate) in std::mem::take(sessions).into_iter().zip(fate) {
        match fate {
            Fate::Stays | Fate::Wins => sessions.push(old),
            Fate::Replaced => admission.replaced.push(old),
            Fate::Kicked => admission.kicked.push(old),
        }
    }
    sessions.push(new.entry);
    Ok(admission)
}

/// What becomes of one older session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Replaced,
    Kicked,
    /// It stays, and the new one is refused.
    Wins,
}

fn fate(old: &SessionEntry, new: &Entering) -> Fate {
    let same_device = new.entry.device.is_some() && new.entry.device == old.device;
    let same_token = new.shown == Some(old.token);
    if old.conn == new.entry.conn || same_token {
        // Java opens twice on each new connection; a lost connection may come back before its end is noticed.
        return Fate::Replaced;
    }
    let same_tag = new.entry.tag.is_some() && new.entry.tag == old.tag;
    match (same_tag, same_device, new.reopen) {
        (true, true, _) => Fate::Replaced,
        (true, false, false) => Fate::Kicked,
        (true, false, true) => Fate::Wins,
        // Two programs on one device may log in as one client; only who comes back is taken for the one before.
        (false, true, true) => Fate::Replaced,
        (false, _, _) => Fate::Stays,
    }
}

/// The client id of a log-in: as given, or one made of 16 random bytes. 4103 where no client can have it.
pub fn client_of(given: Option<&ClientId>, random: [u8; 16]) -> Result<ClientId, Failure> {
    match given {
        Some(client) => check_client(client).map(|()| client.clone()),
        None => Ok(format!("{:032x}", u128::from_be_bytes(random)).into()),
    }
}

/// The tag that counts: none, the empty one and `default` never conflict. 4103 where it is too long to keep.
pub fn tag_of(given: Option<&str>) -> Result<Option<Box<str>>, Failure> {
    match given {
        None | Some("" | "default") => Ok(None),
        Some(tag) => bounded("tag", tag).map(Some),
    }
}

/// The device id that counts: the empty one is none. 4103 where it is too long to keep.
pub fn device_of(given: Option<&str>) -> Result<Option<Box<str>>, Failure> {
    match given {
        None | Some("") => Ok(None),
        Some(device) => bounded("device id", device).map(Some),
    }
}

fn bounded(what: &str, text: &str) -> Result<Box<str>, Failure> {
    match text.len() <= MOST_TAG_BYTES {
        true => Ok(text.into()),
        false => Err(Failure::because(Code::InvalidLogin, format!("a {what} has at most {MOST_TAG_BYTES} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConnId;

    /// A session whose token's id is its connection's number.
    fn entry(conn: u8, tag: &str, device: &str) -> SessionEntry {
        SessionEntry {
            conn: ConnId::new(0, 0, conn.into(), 1),
            tag: tag_of(Some(tag)).unwrap(),
            device: device_of(Some(device)).unwrap(),
            token: [conn; 16],
        }
    }

    fn fresh(entry: SessionEntry) -> Entering {
        Entering { entry, reopen: false, shown: None }
    }

    fn back(entry: SessionEntry, shown: Option<u8>) -> Entering {
        Entering { entry, reopen: true, shown: shown.map(|token| [token; 16]) }
    }

    fn kicked(entry: SessionEntry) -> Admission {
        Admission { kicked: vec![entry], replaced: Vec::new() }
    }

    fn replaced(entry: SessionEntry) -> Admission {
        Admission { kicked: Vec::new(), replaced: vec![entry] }
    }

    #[test]
    fn the_table_of_tag_conflicts() {
        let old = entry(1, "mobile", "phone");
        for (new, expected) in [
            (fresh(entry(2, "mobile", "tablet")), Some(kicked(old.clone()))),
            (fresh(entry(2, "mobile", "")), Some(kicked(old.clone()))),
            (back(entry(2, "mobile", "tablet"), None), None),
            (back(entry(2, "mobile", "tablet"), Some(9)), None),
            (fresh(entry(2, "mobile", "phone")), Some(replaced(old.clone()))),
            (back(entry(2, "mobile", "phone"), None), Some(replaced(old.clone()))),
            (fresh(entry(2, "desk", "tablet")), Some(Admission::default())),
            (fresh(entry(2, "", "tablet")), Some(Admission::default())),
            (fresh(entry(2, "default", "tablet")), Some(Admission::default())),
        ] {
            let mut sessions = vec![old.clone()];
            let result = enter(&mut sessions, new.clone(), 10);
            match expected {
                Some(expected) => {
                    let stays = expected == Admission::default();
                    assert_eq!(result, Ok(expected), "{new:?}");
                    assert_eq!(sessions.len(), 1 + usize::from(stays));
                    assert_eq!(sessions.last(), Some(&new.entry));
                }
                None => {
                    assert_eq!(result.map_err(|f| f.code), Err(Code::SessionConflict), "{new:?}");
                    assert_eq!(sessions, std::slice::from_ref(&old));
                }
            }
        }
    }

    #[test]
    fn two_without_a_tag_live_side_by_side() {
        for tag in ["", "default"] {
            let mut sessions = vec![entry(1, tag, "phone")];
            for new in [fresh(entry(2, tag, "tablet")), fresh(entry(3, tag, "phone")), back(entry(4, tag, ""), None)] {
                assert_eq!(enter(&mut sessions, new, 10), Ok(Admission::default()));
            }
            assert_eq!(sessions.len(), 4);
        }
    }

    #[test]
    fn opening_again_on_one_connection_is_the_same_session() {
        let old = entry(1, "mobile", "phone");
        for new in
            [fresh(entry(1, "mobile", "other")), back(entry(1, "mobile", "other"), None), fresh(entry(1, "", ""))]
        {
            let mut sessions = vec![old.clone()];
            assert_eq!(enter(&mut sessions, new, 1), Ok(replaced(old.clone())));
            assert_eq!(sessions.len(), 1);
        }
    }

    #[test]
    fn who_comes_back_takes_the_place_of_the_connection_it_lost() {
        let old = entry(1, "", "phone");
        for new in [back(entry(2, "", "phone"), None), back(entry(2, "", ""), Some(1))] {
            let mut sessions = vec![old.clone()];
            assert_eq!(enter(&mut sessions, new, 1), Ok(replaced(old.clone())));
        }
    }

    #[test]
    fn a_client_has_so_many_sessions_and_no_more() {
        let mut sessions = vec![entry(1, "", "a"), entry(2, "", "b")];
        let full = enter(&mut sessions, fresh(entry(3, "", "c")), 2);
        assert_eq!(full.map_err(|f| f.code), Err(Code::Overloaded));
        assert_eq!(sessions.len(), 2);
        assert!(enter(&mut sessions, fresh(entry(2, "", "b")), 2).is_ok());
    }

    #[test]
    fn ids_are_checked_and_anonymous_ones_made() {
        assert_eq!(client_of(Some(&"ann".into()), [0; 16]).as_deref(), Ok("ann"));
        assert_eq!(client_of(None, [0xab; 16]).as_deref(), Ok(&*"ab".repeat(16)));
        for id in ["", &"a".repeat(65)] {
            assert_eq!(client_of(Some(&id.into()), [0; 16]).map_err(|f| f.code), Err(Code::InvalidLogin));
        }
        assert_eq!(tag_of(Some(&"t".repeat(257))).map_err(|f| f.code), Err(Code::InvalidLogin));
        assert_eq!(device_of(Some(&"d".repeat(257))).map_err(|f| f.code), Err(Code::InvalidLogin));
    }
}
