//! What `tools/prepare` does on a machine that lacks things, with a compiler of straw: the real one takes a quarter of an
//! hour. On an empty machine it was tried by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use tempfile::TempDir;

const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools");

/// Runs `script` after `tools/prepare`, with `cargo` in place of the real one and an empty cache.
fn prepared(cache: &TempDir, cargo: &str, script: &str) -> Output {
    let bin = cache.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("cargo"), format!("#!/bin/sh\n{cargo}\n")).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new("bash")
        .args(["-c", &format!("set -euo pipefail; . {TOOLS}/prepare; {script}")])
        .env("PATH", path)
        .env("TIDEGATE_CACHE", cache.path())
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_library_is_built_once_and_kept() {
    let cache = TempDir::new().unwrap();
    let cargo = "sleep 1; mkdir -p $CARGO_TARGET_DIR/release/build/x; echo lib > $CARGO_TARGET_DIR/release/build/x/librocksdb.a";
    let output = prepared(&cache, cargo, "prepare_rocksdb; cat $ROCKSDB_LIB_DIR/librocksdb.a");
    assert!(output.status.success() && output.stdout == b"lib\n", "{output:?}");
    assert!(err(&output).contains("about 15 minutes"), "{}", err(&output));
    let again = prepared(&cache, "exit 9", "prepare_rocksdb; cat $ROCKSDB_LIB_DIR/librocksdb.a");
    assert!(again.status.success() && again.stdout == b"lib\n" && err(&again).is_empty(), "{again:?}");
}

#[test]
fn a_library_that_does_not_compile_is_said() {
    let cache = TempDir::new().unwrap();
    let output = prepared(&cache, "echo no such header; exit 3", "prepare_rocksdb");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = err(&output);
    assert!(said.contains("no such header") && said.contains("did not compile"), "{said}");
}

#[test]
fn what_apt_cannot_install_is_said() {
    let cache = TempDir::new().unwrap();
    for program in ["apt-get", "sudo"] {
        let path = cache.path().join("bin").join(program);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\necho no network; exit 100\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = prepared(&cache, "exit 0", "missing_packages=(figlet); install_missing");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = err(&output);
    // Root is told what apt said; another user, what to type.
    assert!(
        said.contains("figlet") && (said.contains("no network") || said.contains("sudo apt-get install")),
        "{said}"
    );
}
