//! A file put in place of another on a real disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tidegate_config::{NotReplaced, replace};

/// The names in a folder, so that a test sees what is left behind.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_old_text_is_kept_beside_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.toml");
    fs::write(&path, "one").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let replaced = replace(&path, "one", "two").unwrap();
    assert_eq!(fs::read_to_string(&replaced.file).unwrap(), "two");
    assert_eq!(fs::read_to_string(replaced.backup.as_ref().unwrap()).unwrap(), "one");
    assert_eq!(names(folder.path()), ["pipeline.toml", "pipeline.toml.bak"]);
    assert_eq!((mode(&path), mode(replaced.backup.as_ref().unwrap())), (0o640, 0o640));
    // The next backup takes the place of this one.
    replace(&path, "two", "three").unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("pipeline.toml.bak")).unwrap(), "two");
    assert_eq!(names(folder.path()), ["pipeline.toml", "pipeline.toml.bak"]);
}

#[test]
fn the_same_text_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.toml");
    fs::write(&path, "one").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(replace(&path, "one", "one").unwrap().backup, None);
    assert_eq!((fs::metadata(&path).unwrap().ino(), names(folder.path())), (inode, vec!["pipeline.toml".to_owned()]));
}

#[test]
fn a_file_that_changed_since_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.toml");
    fs::write(&path, "somebody's").unwrap();
    for new in ["two", "one"] {
        let error = replace(&path, "one", new).unwrap_err();
        assert!(matches!(error, NotReplaced::Changed(_)), "{error}");
        assert!(error.to_string().contains("changed on disk since it was read"), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
    assert_eq!(names(folder.path()), ["pipeline.toml"]);
}

#[test]
fn a_link_stays_one_and_what_it_leads_to_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (real, etc) = (folder.path().join("real"), folder.path().join("etc"));
    fs::create_dir(&real).unwrap();
    fs::create_dir(&etc).unwrap();
    fs::write(real.join("v1.toml"), "one").unwrap();
    symlink("../real/v1.toml", etc.join("link.toml")).unwrap();
    symlink("link.toml", etc.join("pipeline.toml")).unwrap();
    let replaced = replace(&etc.join("pipeline.toml"), "one", "two").unwrap();
    assert_eq!(fs::read_link(etc.join("pipeline.toml")).unwrap(), Path::new("link.toml"));
    assert_eq!(fs::read_to_string(real.join("v1.toml")).unwrap(), "two");
    assert_eq!(replaced.backup.unwrap().file_name().unwrap(), "v1.toml.bak");
    assert_eq!((names(&real).len(), names(&etc).len()), (2, 2));
}

#[test]
fn a_backup_that_is_a_link_is_replaced_and_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.toml");
    fs::write(&path, "one").unwrap();
    fs::write(folder.path().join("precious"), "precious").unwrap();
    symlink("precious", folder.path().join("pipeline.toml.bak")).unwrap();
    replace(&path, "one", "two").unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("precious")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(folder.path().join("pipeline.toml.bak")).unwrap(), "one");
}

#[test]
fn what_cannot_be_written_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.toml");
    let said = replace(&path, "one", "two").unwrap_err().to_string();
    assert!(said.starts_with("cannot find ") && said.contains("pipeline.toml"), "{said}");
    assert!(matches!(replace(folder.path(), "one", "two"), Err(NotReplaced::NoFile(_))));

    fs::write(&path, "one").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let said = replace(&path, "one", "two").unwrap_err().to_string();
    assert!(said.contains("write-protected"), "{said}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

    // Something in the backup's place: nothing is replaced, and nothing is left behind.
    fs::create_dir(folder.path().join("pipeline.toml.bak")).unwrap();
    let said = replace(&path, "one", "two").unwrap_err().to_string();
    assert!(said.starts_with("cannot write ") && said.contains("pipeline.toml.bak"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    assert_eq!(names(folder.path()), ["pipeline.toml", "pipeline.toml.bak"]);
}
