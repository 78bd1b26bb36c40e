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
    axis: &'static str,
    points: &'r [Point],
    /// Values double or more from point to point, and the axis with them.
    logarithmic: bool,
}

/// Draws those that have points.
pub(crate) fn draw(results: &Results, folder: &Path) -> Result<Vec<Plot>, Fault> {
    let subject = |file, title, axis, points, logarithmic| Subject {
        plot: Plot { file, title },
        axis,
        points,
        logarithmic,
    };
    let subjects = [
        subject(
            "connections.svg",
            "Against connections",
            "connections",
            &results.by_connections,
            true,
        ),
        subject(
            "body.svg",
            "Against body size",
            "bytes",
            &results.by_body,
            true,
        ),
        subject(
            "fan-out.svg",
            "Against fan-out",
            "destinations",
            &results.by_fan_out,
            true,
        ),
        subject(
            "stored.svg",
            "Against stored events",
            "events stored",
            &results.growth,
            false,
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
    let line = medians(subject.points, value);
    let most = line.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let (from, to) = span(&line, subject.logarithmic);
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(title, (FONT, 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64);
    let heights = 0.0..(most * 1.1).max(f64::EPSILON);
    let dots = || line.iter().map(|at| Circle::new(*at, 3, colour.filled()));
    let label = |x: &f64| whole(*x);
    // The two kinds of axis are two types.
    if subject.logarithmic {
        let mut chart = builder.build_cartesian_2d((from..to).log_scale(), heights)?;
        chart
            .configure_mesh()
            .x_desc(subject.axis)
            .x_label_formatter(&label)
            .draw()?;
        chart.draw_series(LineSeries::new(
            line.iter().copied(),
            colour.stroke_width(2),
        ))?;
        chart.draw_series(dots())?;
    } else {
        let mut chart = builder.build_cartesian_2d(from..to, heights)?;
        chart
            .configure_mesh()
            .x_desc(subject.axis)
            .x_labels(5)
            .x_label_formatter(&label)
            .draw()?;
        chart.draw_series(LineSeries::new(
            line.iter().copied(),
            colour.stroke_width(2),
        ))?;
        chart.draw_series(dots())?;
    }
    Ok(())
}

/// One dot for each point: the median of its runs.
fn medians(points: &[Point], value: fn(&Run) -> f64) -> Vec<(f64, f64)> {
    let at = |point: &Point| {
        let height = median(point.runs.iter().map(value))?;
        Some((point.value as f64, height))
    };
    points.iter().filter_map(at).collect()
}

fn span(line: &[(f64, f64)], logarithmic: bool) -> (f64, f64) {
    let least = line.iter().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let most = line.iter().map(|(x, _)| *x).fold(0.0, f64::max);
    if logarithmic {
        (least.clamp(1.0, most.max(1.0)) / 1.2, most.max(1.0) * 1.2)
    } else {
        (0.0, (most * 1.05).max(1.0))
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
    }
}
