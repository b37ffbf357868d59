//! A plot as SVG: lines over a common horizontal axis, which is logarithmic; so is the vertical one where asked.

use std::fmt::Write;

pub struct Plot<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub log_y: bool,
    /// Name and points of each line.
    pub lines: Vec<(&'a str, Vec<(f64, f64)>)>,
}

const COLOURS: [&str; 4] = ["#0b6e99", "#c2410c", "#4d7c0f", "#6b21a8"];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Left, right, top and bottom of the field.
const FIELD: [f64; 4] = [60.0, 620.0, 40.0, 310.0];

impl Plot<'_> {
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let (left, right) = (points().map(|p| p.0).fold(f64::MAX, f64::min), points().map(|p| p.0).fold(0.0, f64::max));
        let top = points().map(|p| p.1).fold(0.0, f64::max) * 1.1;
        let bottom = if self.log_y { points().map(|p| p.1).fold(f64::MAX, f64::min).max(1.0) / 1.5 } else { 0.0 };
        let scale = |value: f64, from: f64, to: f64, log: bool| match log {
            true => (value.max(from).ln() - from.ln()) / (to.ln() - from.ln()),
            false => (value - from) / (to - from),
        };
        let x = |value: f64| FIELD[0] + scale(value, left, right, true) * (FIELD[1] - FIELD[0]);
        let y = |value: f64| FIELD[3] - scale(value, bottom, top, self.log_y) * (FIELD[3] - FIELD[2]);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{}\" y=\"22\" font-size=\"14\">{}</text>\n",
            FIELD[0], self.title
        );
        let text = |svg: &mut String, x: f64, y: f64, anchor: &str, words: &str| {
            let _ = writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{words}</text>");
        };
        for mark in marks(bottom, top, self.log_y) {
            let at = y(mark);
            let [from, to, ..] = FIELD;
            let _ = writeln!(svg, "<path d=\"M{from} {at:.1}H{to}\" stroke=\"#ddd\"/>");
            text(&mut svg, from - 6.0, at + 4.0, "end", &format!("{mark}"));
        }
        let mut seen: Vec<f64> = points().map(|p| p.0).collect();
        seen.sort_by(f64::total_cmp);
        seen.dedup();
        for mark in seen {
            text(&mut svg, x(mark), FIELD[3] + 18.0, "middle", &format!("{mark}"));
        }
        text(&mut svg, (FIELD[0] + FIELD[1]) / 2.0, HEIGHT - 10.0, "middle", self.x);
        for (i, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let path: Vec<String> = points.iter().map(|p| format!("{:.1} {:.1}", x(p.0), y(p.1))).collect();
            let path = path.join("L");
            let _ = writeln!(svg, "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
            let at = FIELD[2] + 14.0 + 16.0 * i as f64;
            let _ = writeln!(svg, "<path d=\"M{} {at}h20\" stroke=\"{colour}\" stroke-width=\"2\"/>", FIELD[0] + 10.0);
            text(&mut svg, FIELD[0] + 36.0, at + 4.0, "start", name);
        }
        svg + "</svg>\n"
    }
}

/// Round numbers between the two.
fn marks(from: f64, to: f64, log: bool) -> Vec<f64> {
    if log {
        return (0..8).map(|n| 10f64.powi(n)).filter(|mark| (from..=to).contains(mark)).collect();
    }
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0].into_iter().find(|step| to / step <= 8.0).unwrap_or(10.0);
    (0..).map(|n| (n as f64 * step * 100.0).round() / 100.0).take_while(|mark| *mark <= to).collect()
}
