//! The development page, as it is in the binary.

use tidegate_http::Page;

pub const PAGES: [Page; 0] = [];
