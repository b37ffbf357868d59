//! What a page promises and names a test for is held by a test that exists, in both languages alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every `file::test` in a page.
fn named(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.contains(".rs::")).map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_line_of_the_threat_model_has_its_test() {
    let tests = named("docs/security.md");
    assert!(tests.len() > 30, "{}", tests.len());
    for test in &tests {
        let (file, name) = test.split_once("::").unwrap();
        let source = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{test}: {error}"));
        assert!(source.contains(&format!("fn {name}()")), "{test} does not exist");
    }
    assert_eq!(tests, named("docs/zh/security.md"), "the pages differ");
}

/// A row that promises names a test: all tables but those whose last column is no test's.
#[test]
fn no_line_of_the_threat_model_goes_without() {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut of_tests = false;
    let mut rows = 0;
    for line in text.lines() {
        match line.strip_prefix('|') {
            None => of_tests = false,
            Some(row) if row.ends_with("| test |") => of_tests = true,
            Some(row) if of_tests && !row.starts_with("---") => {
                rows += 1;
                assert!(row.contains(".rs::"), "{line}");
            }
            Some(_) => {}
        }
    }
    assert!(rows > 30, "{rows}");
}
