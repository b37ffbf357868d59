//! The hours that are over, in a small file of the data folder, so that a restart does not forget them.
//!
//! It is put in place in one step, so at any moment there is a whole one. One that cannot be read is begun anew.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::hours::Hour;

/// Its name in the data folder.
pub const NAME: &str = "alerts.json";
const VERSION: u32 = 1;
/// More than two weeks of hours ever come to.
const MOST_BYTES: u64 = 4 << 20;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    hours: &'a [Hour],
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    hours: Vec<Hour>,
}

/// Empty where there is no file. The error says what is wrong with the one that is there.
pub fn load(path: &Path) -> Result<Vec<Hour>, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Ok(found) if found.len() > MOST_BYTES => return Err("it is larger than such a file ever is".to_owned()),
        _ => {}
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let read: Read = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if read.version != VERSION {
        return Err(format!("it is of version {}, and this server writes version {VERSION}", read.version));
    }
    if !read.hours.is_sorted_by(|a, b| a.hour < b.hour) {
        return Err("its hours are not in order".to_owned());
    }
    Ok(read.hours)
}

/// Returns when it is on disk.
pub fn save(path: &Path, hours: &[Hour]) -> io::Result<()> {
    let text = serde_json::to_vec(&Written { version: VERSION, hours })?;
    let draft = path.with_extension("json.new");
    let mut file = File::create(&draft)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::hours::Range;
    use super::*;

    fn hours() -> Vec<Hour> {
        let range = Range { low: 0.1, middle: 1.0 / 3.0, high: 1e9 };
        [5, 6, 29].map(|hour| Hour { hour, usual: [Some(range), None, Some(range), None] }).into()
    }

    #[test]
    fn what_is_saved_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(load(&path), Ok(Vec::new()));
        save(&path, &hours()).unwrap();
        assert_eq!(load(&path), Ok(hours()));
        save(&path, &hours()[1..]).unwrap();
        assert_eq!(load(&path), Ok(hours()[1..].to_vec()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_damaged_one_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        save(&path, &hours()).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let swapped = good.replace("\"hour\":5", "\"hour\":7");
        for (damaged, why) in [
            (&good[..good.len() / 2], "EOF"),
            ("", "EOF"),
            ("{\"version\":9,\"hours\":[]}", "version 9"),
            (&*swapped, "not in order"),
        ] {
            fs::write(&path, damaged).unwrap();
            assert!(load(&path).is_err_and(|said| said.contains(why)), "{damaged}");
        }
    }
}
