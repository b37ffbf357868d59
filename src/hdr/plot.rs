//! `tidegate hdr plot`: percentile curves of logs, beside one another, or a heat map of one over time, as SVG.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::read::{self, Interval, Log};
use crate::cli::Stop;

/// Draw HdrHistogram logs
#[derive(Debug, Subcommand)]
pub enum HdrCommand {
    Plot(PlotArgs),
}

/// Draw percentile curves of one or several logs, or a heat map of one
///
/// Reads what a server leaves in its data folder's hdr/, what `tidegate bench --hdr` writes, and others in HdrHistogram's
/// interval log format. Values are taken for nanoseconds.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// The logs (*.hlog); curves of several are drawn into one picture
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only this series, as in persist.wait or delivery; may be given several times
    #[arg(long, value_name = "NAME")]
    series: Vec<String>,
    /// A heat map over time instead of curves; of one series of one log
    #[arg(long)]
    heat: bool,
    /// Where the picture goes
    #[arg(long, value_name = "FILE", default_value = "hdr.svg")]
    out: PathBuf,
}

const SIZE: (u32, u32) = (960, 560);
const TIME_ROWS: usize = 60;
const MOST_COLUMNS: usize = 360;
/// Told apart by people who see few colours too (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

pub fn run(command: &HdrCommand) -> Result<(), Stop> {
    let HdrCommand::Plot(args) = command;
    let logs = args.files.iter().map(|path| read::file(path).map(|log| (path.as_path(), log)));
    let logs: Vec<(&Path, Log)> = logs.collect::<Result<_, _>>().map_err(Stop::because)?;
    if args.heat {
        let [(_, log)] = logs.as_slice() else { return Err(Stop::because("a heat map is of one log: name one file")) };
        let found = names(log, &args.series);
        let [series] = found.as_slice() else { return Err(Stop::because(choose(log))) };
        let intervals: Vec<&Interval> = log.intervals.iter().filter(|i| i.series == *series).collect();
        return heat(&args.out, series, &intervals).map_err(|why| unwritten(&args.out, why.as_ref()));
    }
    let mut curves: Vec<(String, Histogram<u64>)> = Vec::new();
    for (path, log) in &logs {
        for (series, histogram) in sums(log, &args.series) {
            let file = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = [series, file.into_owned()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
            curves.push((if logs.len() > 1 { name.join(", ") } else { name[0].clone() }, histogram));
        }
    }
    curves.retain(|(_, histogram)| !histogram.is_empty());
    if curves.is_empty() {
        return Err(Stop::because(choose(&logs[0].1)));
    }
    percentiles(&args.out, &curves).map_err(|why| unwritten(&args.out, why.as_ref()))
}

fn unwritten(out: &Path, why: &dyn std::error::Error) -> Stop {
    Stop::because(format!("cannot draw {}: {why}", out.display()))
}

/// The series that are meant, of those that there are.
fn names(log: &Log, wanted: &[String]) -> Vec<String> {
    let mut names: Vec<String> = log.intervals.iter().map(|interval| interval.series.clone()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| wanted.is_empty() || wanted.contains(name));
    names
}

fn choose(log: &Log) -> String {
    let shown = names(log, &[]).into_iter().map(|name| if name.is_empty() { "\"\"".to_owned() } else { name });
    format!("choose with --series one of: {}", shown.collect::<Vec<_>>().join(", "))
}

/// Each series over the whole log.
fn sums(log: &Log, wanted: &[String]) -> BTreeMap<String, Histogram<u64>> {
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for interval in &log.intervals {
        if !wanted.is_empty() && !wanted.contains(&interval.series) {
            continue;
        }
        let sum = sums.entry(interval.series.clone()).or_insert_with(super::empty);
        for value in interval.histogram.iter_recorded() {
            sum.saturating_record_n(value.value_iterated_to(), value.count_at_value());
        }
    }
    sums
}

type Failed = Box<dyn std::error::Error>;

fn percentiles(out: &Path, curves: &[(String, Histogram<u64>)]) -> Result<(), Failed> {
    let most = curves.iter().map(|(_, histogram)| histogram.len()).max().unwrap_or(1);
    let right = (most as f64).log10().clamp(1.0, 7.0);
    let (low, high) = range(curves.iter().map(|(_, histogram)| (histogram.min_nz(), histogram.max())));
    let area = SVGBackend::new(out, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Latency by percentile", ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..right, low..high)?;
    mesh(&mut chart, "percentile", right as usize + 1, &|x| {
        format!("{:.7}", 100.0 - 100.0 / 10f64.powf(*x)).trim_end_matches('0').trim_end_matches('.').to_owned() + " %"
    })?;
    for ((name, histogram), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let steps = (0..=400).map(|step| right * f64::from(step) / 400.0);
        // Each nine is as far from the last as that from the one before.
        let line = steps.map(|x| (x, (histogram.value_at_quantile(1.0 - 10f64.powf(-x)).max(1) as f64).log10()));
        let p99 = time(histogram.value_at_quantile(0.99) as f64);
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(format!("{name}: {} values, p99 {p99}", histogram.len()))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    area.present()?;
    Ok(())
}

fn heat(out: &Path, series: &str, intervals: &[&Interval]) -> Result<(), Failed> {
    let (low, high) = range(intervals.iter().map(|i| (i.histogram.min_nz(), i.histogram.max())));
    let begin = intervals.iter().map(|i| i.since).min().unwrap_or_default();
    let end = intervals.iter().map(|i| i.since + i.length).max().unwrap_or_default();
    let seconds = end.saturating_sub(begin).as_secs_f64().max(1.0);
    let columns = intervals.len().clamp(1, MOST_COLUMNS);
    let mut cells = vec![[0u64; TIME_ROWS]; columns];
    for interval in intervals {
        let at = interval.since.saturating_sub(begin).as_secs_f64() / seconds * columns as f64;
        let Some(column) = cells.get_mut(at as usize) else { continue };
        for value in interval.histogram.iter_recorded() {
            let share = ((value.value_iterated_to().max(1) as f64).log10() - low) / (high - low);
            let row = ((share * TIME_ROWS as f64) as usize).min(TIME_ROWS - 1);
            column[row] += value.count_at_value();
        }
    }
    let most = cells.iter().flatten().max().copied().unwrap_or(1).max(1) as f64;
    let area = SVGBackend::new(out, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{series} over time"), ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..seconds, low..high)?;
    mesh(&mut chart, "seconds", 8, &|x| format!("{x:.0}"))?;
    let (width, height) = (seconds / columns as f64, (high - low) / TIME_ROWS as f64);
    for (at, column) in cells.iter().enumerate() {
        let filled = column.iter().enumerate().filter(|(_, n)| **n > 0);
        chart.draw_series(filled.map(|(row, n)| {
            let (x, y) = (at as f64 * width, low + row as f64 * height);
            let share = (*n as f64).ln_1p() / most.ln_1p();
            Rectangle::new([(x, y), (x + width, y + height)], ViridisRGB.get_color(1.0 - share).filled())
        }))?;
    }
    area.present()?;
    Ok(())
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn mesh(chart: &mut Chart<'_, '_>, x: &str, x_labels: usize, x_label: &dyn Fn(&f64) -> String) -> Result<(), Failed> {
    chart
        .configure_mesh()
        .x_desc(x)
        .x_labels(x_labels)
        .x_label_formatter(x_label)
        .y_labels(8)
        .y_label_formatter(&|y| time(10f64.powf(*y)))
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    Ok(())
}

/// The powers of ten between which all values lie, as their logarithms.
fn range(of: impl Iterator<Item = (u64, u64)>) -> (f64, f64) {
    let (low, high) = of.fold((u64::MAX, 1), |(low, high), (min, max)| (low.min(min), high.max(max)));
    let low = (low.min(high).max(1) as f64).log10().floor();
    (low, (high as f64).log10().ceil().max(low + 1.0))
}

/// In at most four digits and a unit.
fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "us"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    let number = format!("{value:.digits$}");
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn log() -> Log {
        let interval = |series: &str, at, ns: &[u64]| {
            let mut histogram = Histogram::new(2).unwrap();
            ns.iter().for_each(|ns| histogram.record(*ns).unwrap());
            Interval {
                series: series.into(),
                since: Duration::from_secs(at),
                length: Duration::from_secs(1),
                histogram,
            }
        };
        Log {
            intervals: vec![interval("a", 5, &[1_000, 2_000]), interval("b", 5, &[]), interval("a", 6, &[9_000_000])],
        }
    }

    #[test]
    fn series_are_summed_and_chosen() {
        let sums = sums(&log(), &[]);
        assert_eq!((sums["a"].len(), sums["b"].len()), (3, 0));
        assert!((8_900_000..9_100_000).contains(&sums["a"].max()), "{}", sums["a"].max());
        assert_eq!(names(&log(), &["a".into()]), ["a"]);
        assert!(choose(&log()).ends_with("a, b"));
        assert_eq!(range([(1_000, 9_000_000)].into_iter()), (3.0, 7.0));
        assert_eq!(range(std::iter::empty()), (0.0, 1.0));
    }

    #[test]
    fn pictures_are_drawn_even_of_little() {
        let folder = tempfile::TempDir::new().unwrap();
        let out = folder.path().join("x.svg");
        let log = log();
        percentiles(&out, &sums(&log, &["a".into()]).into_iter().collect::<Vec<_>>()).unwrap();
        assert!(std::fs::read_to_string(&out).unwrap().contains("polyline"));
        heat(&out, "a", &log.intervals.iter().filter(|i| i.series == "a").collect::<Vec<_>>()).unwrap();
        assert!(std::fs::read_to_string(&out).unwrap().matches("<rect").count() >= 4);
        heat(&out, "b", &log.intervals.iter().filter(|i| i.series == "b").collect::<Vec<_>>()).unwrap();
    }
}
