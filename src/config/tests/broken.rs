//! Each file of `broken/` and what is said about it, word for word. `UPDATE=1` writes what is said now; read the
//! difference before it is committed: these texts are what people see.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_config::{load, render_all};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let entries = fs::read_dir(folder).expect("the corpus is there").map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    files
}

fn said_about(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).unwrap();
    match load(&text, "pipeline.toml", &common::catalogue()) {
        Ok(_) => Err(format!("{} is taken for a good file", path.display())),
        Err(diagnostics) => Ok(render_all(&diagnostics, false)),
    }
}

#[test]
fn every_broken_file_is_explained_word_for_word() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for path in files() {
        let expected_path = path.with_extension("txt");
        let said = match said_about(&path) {
            Ok(said) => said,
            Err(wrong_file) => {
                wrong.push(wrong_file);
                continue;
            }
        };
        if update {
            fs::write(&expected_path, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}: said\n{said}\nexpected\n{expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corpus_is_large_and_without_leftovers() {
    let files = files();
    assert!(files.len() >= 60, "{} files", files.len());
    for path in fs::read_dir(files[0].parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()) {
        let pair = path.with_extension(if path.extension().is_some_and(|e| e == "toml") { "txt" } else { "toml" });
        assert!(pair.exists(), "{} has no {}", path.display(), pair.display());
    }
}

#[test]
fn each_complaint_has_a_place_a_reason_and_help() {
    for path in files() {
        let said = said_about(&path).unwrap();
        for complaint in said.split("\n\n").filter(|text| text.contains("-->")) {
            assert!(complaint.contains("help: "), "{}: no help in\n{complaint}", path.display());
            let underlined = complaint.lines().any(|line| line.contains('^'));
            assert!(underlined, "{}: nothing underlined in\n{complaint}", path.display());
        }
        assert!(!said.contains("s3cret"), "{}: a secret is shown", path.display());
    }
}
