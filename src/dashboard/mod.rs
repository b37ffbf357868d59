//! The dashboard: the admin port's page, embedded.
//!
//! The files are as they are served: no build step, nothing fetched from elsewhere. This module owns their list; the page
//! itself is `index.html`, whatever else it needs has a name of its own under `/dashboard/`.

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Name, content type and text of every file; the page is the first.
pub const FILES: &[(&str, &str, &str)] = &[
    ("index.html", HTML, include_str!("index.html")),
    ("style.css", CSS, include_str!("style.css")),
    ("parts.css", CSS, include_str!("parts.css")),
    ("app.js", JS, include_str!("app.js")),
    ("ask.js", JS, include_str!("ask.js")),
    ("buckets.js", JS, include_str!("buckets.js")),
    ("canvas.js", JS, include_str!("canvas.js")),
    ("changes.js", JS, include_str!("changes.js")),
    ("en.js", JS, include_str!("en.js")),
    ("feed.js", JS, include_str!("feed.js")),
    ("figures.js", JS, include_str!("figures.js")),
    ("graph.js", JS, include_str!("graph.js")),
    ("headline.js", JS, include_str!("headline.js")),
    ("heat.js", JS, include_str!("heat.js")),
    ("help.js", JS, include_str!("help.js")),
    ("journeys.js", JS, include_str!("journeys.js")),
    ("layout.js", JS, include_str!("layout.js")),
    ("lines.js", JS, include_str!("lines.js")),
    ("make.js", JS, include_str!("make.js")),
    ("maps.js", JS, include_str!("maps.js")),
    ("palette.js", JS, include_str!("palette.js")),
    ("status.js", JS, include_str!("status.js")),
    ("table.js", JS, include_str!("table.js")),
    ("theme.js", JS, include_str!("theme.js")),
    ("tune.js", JS, include_str!("tune.js")),
    ("units.js", JS, include_str!("units.js")),
    ("view.js", JS, include_str!("view.js")),
    ("words.js", JS, include_str!("words.js")),
    ("zh.js", JS, include_str!("zh.js")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_beside_this_one_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard");
        let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> = names.filter(|name| name != "mod.rs").collect();
        assert_eq!(FILES.iter().map(|(name, ..)| (*name).to_owned()).collect::<BTreeSet<_>>(), there);
    }
}
