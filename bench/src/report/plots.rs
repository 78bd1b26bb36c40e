//! The plots, as SVG: rate and p99 side by side, one file for each thing that varies.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::fault::Fault;
use crate::results::{Point, Results, Run, median};

const SIZE: (u32, u32) = (920, 340);
const FONT: &str = "sans-serif";
const RATE: RGBColor = RGBColor(32, 96, 160);
const TAIL: RGBColor = RGBColor(176, 64, 32);

/// A plot that was drawn.
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
}

struct Subject<'r> {
    plot: Plot,
    what: &'static str,
    points: &'r [Point],
    axis: Axis,
}

#[derive(Clone, Copy)]
enum Axis {
    /// Points at equal distances: their values grow by factors.
    Steps,
    Linear,
}

/// Draws those that have points.
pub(crate) fn draw(results: &Results, folder: &Path) -> Result<Vec<Plot>, Fault> {
    let subject = |file, title, what, points, axis| Subject {
        plot: Plot { file, title },
        what,
        points,
        axis,
    };
    let (steps, linear) = (Axis::Steps, Axis::Linear);
    let (connections, bodies) = (&results.by_connections, &results.by_body);
    let (fan_out, stored) = (&results.by_fan_out, &results.growth);
    let subjects = [
        subject(
            "connections.svg",
            "Against connections",
            "connections",
            connections,
            steps,
        ),
        subject("body.svg", "Against body size", "bytes", bodies, steps),
        subject(
            "fan-out.svg",
            "Against fan-out",
            "destinations",
            fan_out,
            steps,
        ),
        subject(
            "stored.svg",
            "Against stored events",
            "events stored",
            stored,
            linear,
        ),
    ];
    let mut drawn = Vec::new();
    for subject in subjects.into_iter().filter(|one| !one.points.is_empty()) {
        one(&subject, &folder.join(subject.plot.file)).map_err(|error| Fault::Plot {
            name: subject.plot.file.to_owned(),
            detail: error.to_string(),
        })?;
        drawn.push(subject.plot);
    }
    Ok(drawn)
}

fn one(subject: &Subject<'_>, path: &Path) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((1, 2));
    panel(
        subject,
        &panels[0],
        "events delivered/s",
        RATE,
        Run::events_per_second,
    )?;
    panel(subject, &panels[1], "accept latency p99, ms", TAIL, |run| {
        f64::from(run.latency.p99) / 1_000.0
    })?;
    root.present()?;
    Ok(())
}

fn panel(
    subject: &Subject<'_>,
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    colour: RGBColor,
    value: fn(&Run) -> f64,
) -> Result<(), Box<dyn Error>> {
    let line = medians(subject, value);
    let most = line.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let last = line.iter().map(|(x, _)| *x).fold(0.0, f64::max);
    let span = match subject.axis {
        Axis::Steps => -0.3..last + 0.3,
        Axis::Linear => 0.0..(last * 1.05).max(1.0),
    };
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(span, 0.0..(most * 1.1).max(f64::EPSILON))?;
    let label = |x: &f64| subject.label(*x);
    let height = |y: &f64| {
        if most < 10.0 {
            format!("{y:.1}")
        } else {
            whole(*y)
        }
    };
    chart
        .configure_mesh()
        .x_desc(subject.what)
        .x_labels(line.len().max(2))
        .x_label_formatter(&label)
        .y_label_formatter(&height)
        .disable_x_mesh()
        .draw()?;
    let width = colour.stroke_width(2);
    chart.draw_series(LineSeries::new(line.iter().copied(), width))?;
    let dots = line.iter().map(|at| Circle::new(*at, 3, colour.filled()));
    chart.draw_series(dots)?;
    Ok(())
}

/// One dot for each point: the median of its runs.
fn medians(subject: &Subject<'_>, value: fn(&Run) -> f64) -> Vec<(f64, f64)> {
    let mut line = Vec::new();
    for (place, point) in subject.points.iter().enumerate() {
        let across = match subject.axis {
            Axis::Steps => place as f64,
            Axis::Linear => point.value as f64,
        };
        let height = median(point.runs.iter().map(value));
        line.extend(height.map(|height| (across, height)));
    }
    line
}

impl Subject<'_> {
    /// What stands below a place of the axis; nothing between two steps.
    fn label(&self, across: f64) -> String {
        match self.axis {
            Axis::Linear => whole(across),
            Axis::Steps => {
                let point = (0_u32..)
                    .zip(self.points)
                    .find(|(place, _)| (f64::from(*place) - across).abs() < 1e-6);
                point.map_or_else(String::new, |(_, point)| whole(point.value as f64))
            }
        }
    }
}

/// 262144 as `262,144`.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(whole(7.0), "7");
        assert_eq!(whole(1_536.0), "1,536");
        assert_eq!(whole(2_000_000.0), "2,000,000");
    }

    #[test]
    fn points_become_a_picture_and_no_points_become_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let point = |value| Point {
            value,
            runs: vec![Run {
                seconds_to_last: 1.0,
                ..Run::default()
            }],
        };
        let results = Results {
            by_connections: vec![point(1), point(256)],
            growth: vec![point(0)],
            ..Results::default()
        };
        let drawn = draw(&results, folder.path()).expect("drawn");
        let files: Vec<_> = drawn.iter().map(|plot| plot.file).collect();
        assert_eq!(files, ["connections.svg", "stored.svg"]);
        let text = std::fs::read_to_string(folder.path().join("stored.svg")).expect("written");
        assert!(text.contains("</svg>"), "{text}");
        let text = std::fs::read_to_string(folder.path().join("connections.svg")).expect("written");
        assert!(text.contains("\n256\n"), "no label at the point: {text}");
    }
}
