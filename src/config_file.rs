//! A configuration file: read, and judged by what the stages declare.

use std::path::Path;

use tidegate_config::{Config, Diagnostic, ModuleCatalogue, ModuleEntry, Tls};

/// The text of a file, or why there is none.
pub fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{}: not UTF-8 at byte {at}; save the file as UTF-8", path.display())
    })
}

/// What a text means, or all that is wrong with it. `name` is for people.
pub fn parse(text: &str, name: &str) -> Result<Config, Vec<Diagnostic>> {
    let certificate = |tls: &Tls| crate::certificate::from_files(&tls.cert, &tls.key).map(|_| ());
    tidegate_config::load_with(text, name, &catalogue(), &certificate)
}

/// What the stages declare, in the configuration's words.
pub fn catalogue() -> ModuleCatalogue {
    ModuleCatalogue::new(tidegate_stages::catalogue::DECLARED.map(|declared| ModuleEntry {
        name: declared.name,
        outputs: declared.outputs,
        targets: declared.targets,
        blocks: declared.blocks,
        keeps: declared.keeps,
        in_flight: declared.in_flight,
    }))
}
