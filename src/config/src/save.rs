//! What is running, written into somebody's own `pipeline.toml`: only the values that differ change.
//!
//! Owns which settings can be written, and that what is written loads as what is running. The text is edited in
//! `edit.rs`, put on disk by `file.rs`.

use crate::catalogue::ModuleCatalogue;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, render_all};
use crate::difference::{Difference, Other, changed, differences};
use crate::edit;
use crate::load::load;
use crate::settings::{self, Setting, Value};

/// Why what is running was not written into a file's text. `Display` is for people, ends without a newline, and says
/// what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unsaved {
    /// The text is no good file to begin with.
    #[error("the file is not good as it stands, so that nothing was written into it:\n{}", render_all(.0, false).trim_end())]
    Broken(Vec<Diagnostic>),
    /// A setting that is not changed while a server runs, or that stands where it cannot be changed in place.
    #[error(
        "`{path}` cannot be written into the file: {reason}; change it by hand, or write a new file from `GET /config`"
    )]
    Stuck {
        /// Dotted.
        path: String,
        reason: String,
    },
    /// What is running would be refused at the next start.
    #[error("a file that says what is running would be refused at the next start, so that nothing was written:\n{}", render_all(.0, false).trim_end())]
    Refused(Vec<Diagnostic>),
    /// A mistake of ours: the text would load, and say something else.
    #[error("the file would not say what is running, so that nothing was written: {}; please report this", lines(.0))]
    Different(Vec<Difference>),
}

fn lines(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The text of a file, changed so that it loads as what is running; the very same text where it does already.
///
/// Values that differ are replaced where they stand, in whatever form the file has its tables; a missing key is added
/// behind the last one of its table, a missing table at the end of the file. Comments, order, blanks, line ends and the
/// spelling of all else stay, byte for byte. A key that no longer holds (`pool` of a stage that has its own again) is
/// taken out; a comment behind it stays. `file_name` is for complaints.
///
/// Apps, modules, outputs and lists do not change while a server runs: where they differ, it is an error.
pub fn rewrite(text: &str, file_name: &str, catalogue: &ModuleCatalogue, running: &Config) -> Result<String, Unsaved> {
    let mut file = load(text, file_name, catalogue).map_err(Unsaved::Broken)?;
    let wanted = settings::of(running);
    let mut out = text.to_owned();
    if !has_stages(text)
        && settings::of(&file).iter().filter(stands_in_stages).ne(wanted.iter().filter(stands_in_stages))
    {
        out = with_headers(&out, &file);
        file = load(&out, file_name, catalogue).map_err(Unsaved::Refused)?;
    }
    let written = settings::of(&file);
    for (setting, other) in changed(&written, &wanted) {
        let stuck = |reason: String| Unsaved::Stuck { path: setting.path.join("."), reason };
        fixed(setting).map_or(Ok(()), |reason| Err(stuck(reason.into())))?;
        out = match other {
            Other::OnlyBefore => edit::remove(&out, &setting.path),
            Other::Before(_) | Other::OnlyAfter => edit::set(&out, &setting.path, &setting.value),
        }
        .map_err(stuck)?;
    }
    let again = load(&out, file_name, catalogue).map_err(Unsaved::Refused)?;
    match differences(&again, running) {
        different if different.is_empty() => Ok(out),
        different => Err(Unsaved::Different(different)),
    }
}

/// Why a setting is not written.
fn fixed(setting: &Setting) -> Option<&'static str> {
    let path: Vec<&str> = setting.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["app", ..] => Some("apps change only with the file"),
        ["admin", ..] => Some("tokens change only with the file"),
        ["stages", _, "module" | "to", ..] => Some("where messages go changes only with the file"),
        _ if path.len() > 3 || matches!(setting.value, Value::List(_)) => Some("it changes only with the file"),
        _ => None,
    }
}

fn stands_in_stages(setting: &&Setting) -> bool {
    setting.path[0] == "stages"
}

fn has_stages(text: &str) -> bool {
    toml_edit::Document::parse(text).is_ok_and(|document| document.as_table().contains_key("stages"))
}

/// A file that names one stage names all of them; a header is enough for a stage of the built-in pipeline.
fn with_headers(text: &str, file: &Config) -> String {
    let end = edit::newline(text);
    let headers: Vec<String> = file.topology.stages.iter().map(|stage| format!("[stages.{}]", stage.name)).collect();
    edit::append(text, &headers.join(end))
}
