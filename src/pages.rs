//! The development page, as it is in the binary: no build step, nothing fetched from elsewhere.

use tidegate_http::Page;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! page {
    ($path:literal, $file:literal, $kind:expr) => {
        Page { path: $path, content_type: $kind, body: include_bytes!(concat!("page/", $file)) }
    };
}

pub const PAGES: &[Page] = &[
    page!("/", "index.html", HTML),
    page!("/page/style.css", "style.css", CSS),
    page!("/page/app.js", "app.js", JS),
    page!("/page/chat.js", "chat.js", JS),
    page!("/page/journey.js", "journey.js", JS),
    page!("/page/make.js", "make.js", JS),
    page!("/page/session.js", "session.js", JS),
    page!("/page/wire.js", "wire.js", JS),
    page!("/page/words.js", "words.js", JS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_that_is_imported_is_served() {
        for page in PAGES {
            let text = String::from_utf8_lossy(page.body);
            for import in text.split("from \"./").skip(1).chain(text.split("from './").skip(1)) {
                let name = import.split(['"', '\'']).next().unwrap_or_default();
                assert!(PAGES.iter().any(|p| p.path == format!("/page/{name}")), "{} imports {name}", page.path);
            }
        }
    }
}
