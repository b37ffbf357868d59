//! A file put in place of another, so that at any moment there is a whole one: the old, or the new.
//!
//! The only part of this crate that writes to a disk. Must not know what a file says.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// What [`replace`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The file that was written: where the path is a link, what it leads to.
    pub file: PathBuf,
    /// The file as it was before; `None` where nothing differed and nothing was written.
    pub backup: Option<PathBuf>,
}

/// Why a file was not replaced. It is what it was, unless said otherwise. `Display` is for people.
#[derive(Debug, thiserror::Error)]
pub enum NotReplaced {
    /// Somebody changed it since it was read.
    #[error(
        "{} has changed on disk since it was read, and was left as it is: load it first (SIGHUP), or put back what was read",
        .0.display()
    )]
    Changed(PathBuf),
    /// Somebody took its write permission away.
    #[error("{} is write-protected: allow its owner to write it", .0.display())]
    Protected(PathBuf),
    /// A device, a pipe or a folder.
    #[error("{} is no ordinary file", .0.display())]
    NoFile(PathBuf),
    /// The system refused.
    #[error("cannot {doing} {}: {error}{}", .path.display(), help(.error))]
    Io {
        /// Such as "read".
        doing: &'static str,
        path: PathBuf,
        #[source]
        error: io::Error,
    },
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; the server's user must be able to write in the file's folder"
        }
        ErrorKind::ResourceBusy => "; where the file alone is mounted, mount its folder instead",
        _ => "",
    }
}

/// Puts a new text in a file's place, in one step, and returns when that is on disk.
///
/// `read` is the text that the new one was made of: where the file says anything else by now, it stays as it is. A link
/// is followed and stays a link. The new file has the old one's permissions and, as far as this user may give it away,
/// its owner. The old text is kept beside it as `NAME.bak` with the same permissions, in place of the backup of the time
/// before. Two calls at once for one file must be kept apart by the caller.
pub fn replace(path: &Path, read: &str, new: &str) -> Result<Replaced, NotReplaced> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |error| NotReplaced::Io { doing, path, error }
    };
    let file = fs::canonicalize(path).map_err(failed("find", path))?;
    let old = fs::metadata(&file).map_err(failed("read", &file))?;
    if !old.is_file() {
        return Err(NotReplaced::NoFile(file));
    }
    let unchanged = || Ok(fs::read(&file).map_err(failed("read", &file))? == read.as_bytes());
    if !unchanged()? {
        return Err(NotReplaced::Changed(file));
    }
    if new == read {
        return Ok(Replaced { file, backup: None });
    }
    if old.permissions().readonly() {
        return Err(NotReplaced::Protected(file));
    }
    let backup = beside(&file, "", ".bak");
    let kept = Draft::write(&file, &old, read).map_err(failed("write beside", &file))?;
    let draft = Draft::write(&file, &old, new).map_err(failed("write beside", &file))?;
    // A second look: whoever saves in their editor just now wins.
    if !unchanged()? {
        return Err(NotReplaced::Changed(file));
    }
    kept.become_file(&backup).map_err(failed("write", &backup))?;
    draft.become_file(&file).map_err(failed("replace", &file))?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("bring to disk the folder", folder))?;
    Ok(Replaced { file, backup: Some(backup) })
}

/// A name in the same folder.
fn beside(file: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(before);
    name.push(file.file_name().unwrap_or_default());
    name.push(after);
    file.with_file_name(name)
}

/// A file under a name of its own, gone when it is not put in place.
struct Draft {
    path: PathBuf,
}

impl Draft {
    /// On disk when this returns. Nobody else can read it before it has the permissions of the old one.
    fn write(of: &Path, like: &fs::Metadata, text: &str) -> io::Result<Draft> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = beside(of, ".", &format!(".{:016x}.tmp", u64::from_ne_bytes(random)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let draft = Draft { path };
        file.write_all(text.as_bytes())?;
        // Only root may give a file away; a group of one's own may be given to it.
        if fchown(&file, Some(like.uid()), Some(like.gid())).is_err() {
            let _ = fchown(&file, None, Some(like.gid()));
        }
        file.set_permissions(like.permissions())?;
        file.sync_all()?;
        Ok(draft)
    }

    fn become_file(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}
