//! A topology as a picture: text for a terminal of 80 columns, Graphviz's dot, or an SVG that stands alone.
//!
//! Owns how stages are arranged (`shape.rs`) and drawn (one file a format). Must not know what stages do.

mod dot;
mod shape;
mod svg;
mod text;

use tidegate_engine::Topology;

use crate::catalogue::ModuleCatalogue;
use shape::Shape;

/// What `graph` draws with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Dot,
    Svg,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Format::Text),
            "dot" => Ok(Format::Dot),
            "svg" => Ok(Format::Svg),
            _ => Err(format!("no format is called `{text}`; there are text, dot and svg")),
        }
    }
}

/// Draws a topology whose events enter at the stage `entry`. The end is a newline.
pub fn graph(topology: &Topology, entry: &str, catalogue: &ModuleCatalogue, format: Format) -> String {
    let shape = Shape::of(topology, entry, catalogue);
    match format {
        Format::Text => text::draw(&shape),
        Format::Dot => dot::draw(&shape),
        Format::Svg => svg::draw(&shape),
    }
}
