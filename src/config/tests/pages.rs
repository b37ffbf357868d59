//! The page and the drawings that are kept in the repository or shown to people. `UPDATE=1` writes what they are now.

mod common;

use std::fs;
use std::path::Path;

use tidegate_config::{DEFAULT, Format, graph, load, reference};

/// Compares with a kept file, or writes it.
fn kept(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(kept == text, "{} is not current: run this test with UPDATE=1. It should be\n{text}", path.display());
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_reference_page_is_current() {
    kept(&here().join("../../docs/configuration.md"), &reference(&common::catalogue()));
}

#[test]
fn the_built_in_pipeline_is_drawn() {
    let config = load(DEFAULT, "pipeline.toml", &common::catalogue()).unwrap();
    for (format, name) in [(Format::Text, "default.txt"), (Format::Dot, "default.dot"), (Format::Svg, "default.svg")] {
        let drawn = graph(&config.topology, &config.net.to, &common::catalogue(), format);
        kept(&here().join("tests/graphs").join(name), &drawn);
    }
}

const WIDE: &str = "
[net]
to = \"first_decoder\"
[stages.first_decoder]
module = \"decode\"
to = { next = \"authenticate_everybody\" }
pool = \"common\"
[stages.authenticate_everybody]
module = \"authenticate\"
to = { next = \"route_with_a_long_name\" }
pool = \"common\"
[stages.route_with_a_long_name]
module = \"route\"
to = { durable = \"persist\", transient = \"fan_out\", before = \"late_hook\", lookup = \"read\" }
pool = \"common\"
[stages.persist]
to = { fan_out = \"fan_out\", lookup = \"read\" }
pool = \"disk\"
[stages.fan_out]
to = { offline = \"hook\" }
[stages.read]
pool = \"disk\"
[stages.hook]
to = { push = \"none\" }
[stages.late_hook]
module = \"hook\"
to = { push = \"none\" }
[pools.common]
workers = 2
[pools.disk]
workers = 3
";

#[test]
fn a_wide_pipeline_is_drawn_within_80_columns() {
    let config = load(WIDE, "pipeline.toml", &common::catalogue()).unwrap();
    let drawn = graph(&config.topology, &config.net.to, &common::catalogue(), Format::Text);
    assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
    kept(&here().join("tests/graphs/wide.txt"), &drawn);
    let drawn = graph(&config.topology, &config.net.to, &common::catalogue(), Format::Svg);
    kept(&here().join("tests/graphs/wide.svg"), &drawn);
}

#[test]
fn every_stage_and_every_edge_is_in_every_drawing() {
    for text in [DEFAULT, WIDE] {
        let config = load(text, "pipeline.toml", &common::catalogue()).unwrap();
        for format in [Format::Text, Format::Dot, Format::Svg] {
            let drawn = graph(&config.topology, &config.net.to, &common::catalogue(), format);
            for stage in &config.topology.stages {
                assert!(drawn.contains(&stage.name), "{} in {drawn}", stage.name);
                for (output, target) in &stage.to {
                    // In text, the arrows of a chain are not named.
                    let named = target == "none" || format == Format::Text || drawn.contains(output.as_str());
                    assert!(named, "{output} in {drawn}");
                }
            }
        }
    }
}

#[test]
fn formats_are_found_by_name() {
    assert_eq!("dot".parse(), Ok(Format::Dot));
    assert!("png".parse::<Format>().unwrap_err().contains("svg"));
}
