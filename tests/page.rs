//! The development page: its wire against the schema, and two tabs that talk in headless Chromium. The programs are in
//! `tests/page`.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use common::Server;

fn folder() -> &'static PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/page");
        // Modules that are imported are looked for beside the program, nowhere else.
        if !folder.join("node_modules/playwright-core").exists() || !folder.join("node_modules/protobufjs").exists() {
            run(Command::new("npm").arg("ci"), &folder);
        }
        folder
    })
}

fn run(command: &mut Command, folder: &PathBuf) {
    let done = command.current_dir(folder).output();
    let done = done.unwrap_or_else(|failed| panic!("{command:?}: {failed}. This needs Node.js 18 or later and npm"));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{command:?} failed\n{said}{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn its_wire_is_the_schemas() {
    run(Command::new("npm").arg("test"), folder());
}

#[test]
fn two_tabs_talk_in_chromium() {
    let server = Server::start();
    run(Command::new("node").arg("check.mjs").arg(format!("http://{}", server.http())), folder());
}
