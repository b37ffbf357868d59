//! The dashboard: the admin port's page, embedded.
//!
//! The files are as they are served: no build step, nothing fetched from elsewhere. This module owns their list; the page
//! itself is `index.html`, whatever else it needs has a name of its own under `/dashboard/`.

use tidegate_http::Page;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($path:literal, $name:literal, $kind:expr) => {
        Page { path: $path, content_type: $kind, body: include_bytes!($name) }
    };
}

/// Every file; the page is the first.
pub const FILES: &[Page] = &[
    file!("/", "index.html", HTML),
    file!("/dashboard/style.css", "style.css", CSS),
    file!("/dashboard/parts.css", "parts.css", CSS),
    file!("/dashboard/alerts.js", "alerts.js", JS),
    file!("/dashboard/app.js", "app.js", JS),
    file!("/dashboard/ask.js", "ask.js", JS),
    file!("/dashboard/buckets.js", "buckets.js", JS),
    file!("/dashboard/canvas.js", "canvas.js", JS),
    file!("/dashboard/changes.js", "changes.js", JS),
    file!("/dashboard/days.js", "days.js", JS),
    file!("/dashboard/en.js", "en.js", JS),
    file!("/dashboard/feed.js", "feed.js", JS),
    file!("/dashboard/figures.js", "figures.js", JS),
    file!("/dashboard/graph.js", "graph.js", JS),
    file!("/dashboard/headline.js", "headline.js", JS),
    file!("/dashboard/heat.js", "heat.js", JS),
    file!("/dashboard/help.js", "help.js", JS),
    file!("/dashboard/journeys.js", "journeys.js", JS),
    file!("/dashboard/layout.js", "layout.js", JS),
    file!("/dashboard/lines.js", "lines.js", JS),
    file!("/dashboard/make.js", "make.js", JS),
    file!("/dashboard/maps.js", "maps.js", JS),
    file!("/dashboard/palette.js", "palette.js", JS),
    file!("/dashboard/status.js", "status.js", JS),
    file!("/dashboard/table.js", "table.js", JS),
    file!("/dashboard/theme.js", "theme.js", JS),
    file!("/dashboard/tune.js", "tune.js", JS),
    file!("/dashboard/units.js", "units.js", JS),
    file!("/dashboard/view.js", "view.js", JS),
    file!("/dashboard/words.js", "words.js", JS),
    file!("/dashboard/zh.js", "zh.js", JS),
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
        let served = |page: &Page| match page.path {
            "/" => "index.html".to_owned(),
            path => path.trim_start_matches("/dashboard/").to_owned(),
        };
        assert_eq!(FILES.iter().map(served).collect::<BTreeSet<_>>(), there);
    }
}
