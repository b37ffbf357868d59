//! A recording: what came to a server for some time and what its stages did, without what was said and who said it.
//!
//! One JSON file. `messages` is the pattern that `tidegate replay` sends again; `stages` is what `tidegate whatif`
//! simulates. Owns the format and what is said of a file that is none; knows nothing of how it is taken or used.

mod messages;
mod stages;
mod times;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use messages::{Conversation, Message, Messages};
pub use stages::{Emits, Service, StageTape, Turn, Way};
pub use times::Times;

/// The format that this program writes, and the only one that it reads.
pub const VERSION: u32 = 2;

/// A recording as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// [`VERSION`].
    pub version: u32,
    /// Which Tidegate wrote it.
    pub program: String,
    /// How long was recorded.
    pub seconds: f64,
    /// Processors that the server could use.
    pub cores: u32,
    /// How many of these the rest of the process kept busy, beside the stages: reactors, HTTP, the store's own threads.
    pub beside: f64,
    /// The running configuration, as `GET /config` tells it: without secrets.
    pub config: String,
    /// What each stage did, by its name.
    pub stages: BTreeMap<String, StageTape>,
    /// What clients sent.
    pub messages: Messages,
}

/// Reads a file.
///
/// # Errors
///
/// In words for whoever named it: it cannot be read, is no recording, is of another version, or says what cannot be.
pub fn read(path: &Path) -> Result<Recording, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => format!("{name} is no recording: it is no text"),
        _ => format!("{name}: {error}"),
    })?;
    parse(&text).map_err(|why| format!("{name} {why}"))
}

/// The text of a file; the error goes on behind the file's name.
pub fn parse(text: &str) -> Result<Recording, String> {
    /// Looked at first, as all else may be different in another version.
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let is_none = |why: serde_json::Error| {
        format!("is no recording: {why}. `tidegate record --for 60s --out FILE` makes one of a running server")
    };
    let Head { version } = serde_json::from_str(text).map_err(is_none)?;
    if version != VERSION {
        return Err(format!(
            "is a recording of version {version}, and this Tidegate reads version {VERSION}: record again with it, or \
             use the Tidegate that wrote the file"
        ));
    }
    let recording: Recording = serde_json::from_str(text).map_err(is_none)?;
    if !(recording.seconds.is_finite() && recording.seconds > 0.0) {
        return Err(format!("is damaged: it says that {} seconds were recorded", recording.seconds));
    }
    recording.messages.check().map_err(|why| format!("is damaged: {why}"))?;
    Ok(recording)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let message = |at, sender| Message { at, sender, conversation: 0, size: 5, transient: false };
        let messages = Messages {
            conversations: vec![Conversation { members: 2, room: false }],
            all: vec![message(1, 0), message(7, 1)],
            ..Messages::default()
        };
        Recording {
            version: VERSION,
            program: "tidegate 0".into(),
            seconds: 1.5,
            cores: 2,
            beside: 0.25,
            config: String::new(),
            stages: BTreeMap::new(),
            messages,
        }
    }

    fn refused(change: impl FnOnce(&mut Recording)) -> String {
        let mut recording = recording();
        change(&mut recording);
        parse(&serde_json::to_string(&recording).unwrap()).unwrap_err()
    }

    #[test]
    fn what_is_written_is_read() {
        let text = serde_json::to_string(&recording()).unwrap();
        assert!(text.contains("[1,0,0,5,false]"), "{text}");
        assert_eq!(parse(&text).unwrap(), recording());
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(parse("hello").unwrap_err().contains("is no recording"));
        assert!(parse("{}").unwrap_err().contains("is no recording"));
        assert!(refused(|of| of.version = 7).contains("version 7"));
        assert!(refused(|of| of.seconds = 0.0).contains("0 seconds"));
        assert!(refused(|of| of.messages.all[1].at = 0).contains("message 2 is earlier"));
        assert!(refused(|of| of.messages.all[1].conversation = 1).contains("conversation 1, and there are 1"));
        assert!(refused(|of| of.messages.all[0].sender = u32::MAX).contains("message 1 is of sender"));
    }
}
