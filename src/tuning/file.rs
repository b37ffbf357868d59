//! The configuration file of a running server: read again, and brought up to what is running.

use std::path::Path;

use tidegate_config::{Config, differences, replace, rewrite};
use tidegate_http::{How, Refused, Saved};

use super::{Running, State, settings};
use crate::config_file;

impl State {
    /// What the file says now, as far as it may come into force, and its text. Refused, with all that `tidegate check`
    /// says, where the file is not good, and where it says something that takes a restart: whole or not at all.
    pub(super) fn reload(&self, running: &Running) -> Result<(Running, String), Refused> {
        let (path, _) = self.file()?;
        let text = config_file::read(path).map_err(Refused::Impossible)?;
        let name = path.display().to_string();
        let mut wanted = config_file::parse(&text, &name)
            .map_err(|wrong| Refused::Impossible(tidegate_config::render_all(&wrong, false).trim_end().to_owned()))?;
        wanted.put_in_order_of(&running.topology);
        let fixed: Vec<String> = differences(&self.with(running), &wanted)
            .into_iter()
            .filter(|difference| !difference.live)
            .map(|difference| difference.to_string())
            .collect();
        if !fixed.is_empty() {
            let list = fixed.join("; ");
            let why = format!("nothing was changed, for the file changes what is read at a start only: {list}");
            return Err(Refused::Conflict(format!("{name}: {why}. Restart for that, or take it back there.")));
        }
        Ok((Running { topology: wanted.topology, in_flight: wanted.in_flight }, text))
    }

    /// Writes what is running into the file.
    pub(super) fn save(&mut self, running: &Config, how: &How) -> Result<Saved, Refused> {
        let (path, read) = self.file()?;
        let name = path.display().to_string();
        let was =
            config_file::parse(read, &name).map_err(|_| Refused::Conflict(format!("{name} is not good any more")))?;
        let new = rewrite(read, &name, &config_file::catalogue(), running).map_err(conflict)?;
        let changes = settings(&was, running);
        if how.dry_run {
            return Ok(Saved { file: name, backup: None, changes, dry_run: true });
        }
        let replaced = replace(path, read, &new).map_err(conflict)?;
        let saved = Saved {
            file: replaced.file.display().to_string(),
            backup: replaced.backup.map(|backup| backup.display().to_string()),
            changes,
            dry_run: false,
        };
        if let Some(backup) = &saved.backup {
            ::log::info!("what is running was saved into {} by {}; before, it was {backup}", saved.file, how.by);
        }
        self.read(new);
        Ok(saved)
    }

    fn file(&self) -> Result<(&Path, &str), Refused> {
        const NONE: &str = "The server runs on its built-in configuration: there is no file. Write what GET /config answers \
                            into a pipeline.toml, and start with --config pipeline.toml.";
        let (path, text) = self.file.as_ref().ok_or_else(|| Refused::Conflict(NONE.to_owned()))?;
        Ok((path, text))
    }

    /// The file says this now, and it is what is running.
    pub(super) fn read(&mut self, text: String) {
        if let Some((_, read)) = &mut self.file {
            *read = text;
        }
    }
}

fn conflict(why: impl std::fmt::Display) -> Refused {
    Refused::Conflict(why.to_string())
}
