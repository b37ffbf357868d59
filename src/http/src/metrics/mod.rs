//! Figures for Prometheus: what there is (`registry`), what is said of each (`about`), and the page that a scraper reads
//! (`page`).
//!
//! There is no metric but those of the registry. Others hand in samples by its handles, which know kind and number of
//! labels, so that a wrong one does not compile. What a panel or a rule asks is up to who makes them.

mod about;
mod page;
pub mod registry;
mod stages;

pub use about::{About, Counter, Distribution, Family, Gauge, Group, Histogram, Kind, Label, Sample, Unit, Value};
pub(crate) use page::{CONTENT_TYPE, text};
pub(crate) use stages::of_stages;
