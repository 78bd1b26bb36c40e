//! The page itself.

use std::fmt::Write as _;

use super::method::METHOD;
use super::plots::Plot;
use crate::goals::{Figure, figures};
use crate::results::{Results, Round, Run, median};

const TITLE: &str =
    "# Performance\n\nThis page is written by `bench/`; changes by hand are lost.\n\n";
/// Cores that others may use before a run is called disturbed.
const QUIET_BEFORE: f64 = 0.1;
/// More, because the kernel's own work for the disk is seen as others'.
const QUIET_DURING: f64 = 0.3;

type OfRound = fn(&Round) -> &Run;

pub(super) fn without_figures() -> String {
    format!(
        "{TITLE}## Figures\n\nNot measured yet on a quiet machine.\n\n{}\n{METHOD}",
        goals()
    )
}

pub(super) fn page(results: &Results, notes: &str, plots: &[Plot], folder: &str) -> String {
    let parts = [
        TITLE.to_owned(),
        warnings(results),
        "## Figures\n\n".to_owned(),
        table(results),
        machine(results),
        behind(results),
        notes.to_owned(),
        safety(results),
        pictures(results, plots, folder),
        METHOD.to_owned(),
    ];
    parts.concat()
}

/// What a reader has to know before the first figure.
fn warnings(results: &Results) -> String {
    let mut text = String::new();
    if results.machine.debug_build {
        text.push_str("> A debug build made this page. Its figures mean nothing.\n\n");
    }
    if results.settings.quick {
        text.push_str("> A quick run made this page. Its figures mean nothing.\n\n");
    }
    let (before, during) = results.disturbance();
    if before > QUIET_BEFORE || during > QUIET_DURING {
        let what = format!("{before:.2} cores before a round, {during:.2} during one");
        // Writing to a text does not fail.
        writeln!(text, "> The machine was not quiet: other programs used up to {what}. Rates are lower bounds.\n").ok();
    }
    text
}

/// Every goal, its figure and its verdict.
pub(super) fn table(results: &Results) -> String {
    let mut text = String::from(
        "| Figure | Median | Rounds from – to | Floor | Aim | Verdict |\n| --- | ---: | ---: | ---: | ---: | --- |\n",
    );
    for figure in figures(results) {
        let value = figure
            .value
            .map_or("–".to_owned(), |value| shown(&figure, value));
        let spread = figure.spread.map_or("–".to_owned(), |(least, most)| {
            format!("{} – {}", number(least), number(most))
        });
        let (floor, aim) = (shown(&figure, figure.floor), shown(&figure, figure.aim));
        let (name, verdict) = (figure.name, figure.verdict.words());
        writeln!(
            text,
            "| {name} | {value} | {spread} | {floor} | {aim} | {verdict} |"
        )
        .ok();
    }
    text.push('\n');
    text
}

fn goals() -> String {
    let mut text = String::from("| Figure | Floor | Aim |\n| --- | ---: | ---: |\n");
    for figure in figures(&Results::default()) {
        let (floor, aim) = (shown(&figure, figure.floor), shown(&figure, figure.aim));
        writeln!(text, "| {} | {floor} | {aim} |", figure.name).ok();
    }
    text
}

fn shown(figure: &Figure, value: f64) -> String {
    match figure.unit {
        "" => format!("{value:.2}"),
        "×" => format!("{}×", number(value)),
        unit => format!("{} {unit}", number(value)),
    }
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn machine(results: &Results) -> String {
    let (machine, settings) = (&results.machine, &results.settings);
    let flush = |of: fn(&Round) -> u32| {
        number(median(results.rounds.iter().map(|round| f64::from(of(round)))).unwrap_or(0.0))
    };
    format!(
        "## Machine and run\n\n\
        - {}: {} with {} cores, {} MiB of memory, Linux {}\n\
        - flush (write of 2 KiB and fdatasync): over written blocks p50 {} µs, p99 {} µs; at the end of a growing file p50 {} µs, p99 {} µs\n\
        - rounds: {} of {} s, {} connections, bodies of {} bytes, {} deliveries at once; {} events stored at most; {} MiB at the SIGKILL\n\n",
        settings.day,
        machine.processor,
        machine.cores,
        machine.memory_mib,
        machine.kernel,
        flush(|round| round.flush.prepared.p50),
        flush(|round| round.flush.prepared.p99),
        flush(|round| round.flush.growing.p50),
        flush(|round| round.flush.growing.p99),
        settings.rounds,
        settings.seconds,
        settings.connections,
        settings.body_size,
        settings.deliveries,
        settings.stored,
        settings.recovery_bytes >> 20,
    )
}

/// The numbers that the ratios are made of.
fn behind(results: &Results) -> String {
    let mut text = String::from(
        "## Behind the ratios\n\nMedians of the rounds. They hold for this machine and this disk only.\n\n\
        | Load | requests/s | p50 ms | p99 ms | server µs/request | generator µs/request | sink µs/request | others, cores |\n\
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let loads: [(&str, OfRound); 4] = [
        ("bare server", |round| &round.bare),
        ("agent, accepting", |round| &round.accept),
        ("agent, accepting and delivering", |round| &round.deliver),
        ("the same at half the rate", |round| &round.half),
    ];
    for (name, of) in loads {
        let of_run = |value: fn(&Run) -> f64| {
            let values = results.rounds.iter().map(|round| value(of(round)));
            number(median(values).unwrap_or(0.0))
        };
        writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            of_run(Run::delivered_per_second),
            of_run(|run| f64::from(run.latency.p50) / 1_000.0),
            of_run(|run| f64::from(run.latency.p99) / 1_000.0),
            of_run(|run| run.server_cpu_micros as f64 / run.acknowledged.max(1) as f64),
            of_run(|run| run.load_cpu_micros as f64 / run.acknowledged.max(1) as f64),
            of_run(|run| run.sink_cpu_micros as f64 / run.acknowledged.max(1) as f64),
            of_run(|run| run.others_cores),
        )
        .ok();
    }
    let late = results
        .rounds
        .iter()
        .map(|round| f64::from(round.half.lateness.p50));
    let late = number(median(late).unwrap_or(0.0));
    writeln!(text, "\nAt half the rate the generator itself was late by {late} µs (p50), which is part of the latency.\n").ok();
    text
}

/// What was checked beside the speed.
pub(super) fn safety(results: &Results) -> String {
    let flushing = &results.flushing;
    let verdict = match flushing.shown() {
        Some(true) => "shown",
        Some(false) => "**NOT ENOUGH**",
        None if flushing.countable => "not shown, because other programs flushed too",
        None => "not shown, because the kernel counts no flushes of this disk",
    };
    let flushes = format!(
        "{verdict}: {} answers one at a time, {} flushes of the disk, {} at rest, {:.2} for each answer",
        flushing.answers,
        flushing.flushes,
        flushing.flushes_at_rest,
        flushing.per_answer(),
    );
    let under_load = match (results.flushed_under_load(), results.answers_per_flush()) {
        (Some(enough), Some(answers)) => format!(
            "{}: {answers:.1} answers for each flush of the disk, and {} connections can share one",
            if enough { "shown" } else { "**NOT ENOUGH**" },
            results.settings.connections,
        ),
        _ => "not shown".to_owned(),
    };
    let (mut owed, mut lost, mut foreign) = (0, 0, 0);
    let books = results.all_books();
    for (_, one) in &books {
        owed += one.owed;
        lost += one.lost;
        foreign += one.foreign;
    }
    let killed = results
        .recoveries
        .iter()
        .map(|one| one.books.repeated)
        .max();
    format!(
        "## Safety\n\n\
        - Flushes: {flushes}\n\
        - Flushes under load: {under_load}\n\
        - Books: {} loads checked, {owed} deliveries looked for, **{lost} lost**, {foreign} with a wrong body or id\n\
        - SIGKILLs under load: {}; deliveries that came again after them: {}\n\n",
        books.len(),
        results.recoveries.len(),
        killed.unwrap_or(0),
    )
}

fn pictures(results: &Results, plots: &[Plot], folder: &str) -> String {
    if plots.is_empty() {
        return String::new();
    }
    let turns = results.settings.sweep_rounds;
    let mut text = format!(
        "## Plots\n\nEach dot is the median of {turns} runs; on the way to the full number of stored events it is one.\n\n"
    );
    for plot in plots {
        writeln!(text, "![{}]({folder}/{})\n", plot.title, plot.file).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Books, Recovery};

    #[test]
    fn the_page_without_figures_has_the_goals_and_no_verdict() {
        let page = without_figures();
        assert!(page.contains("Not measured yet on a quiet machine."));
        assert!(page.contains("| 0.40 | 0.55 |"), "{page}");
        assert!(!page.contains("missed"), "{page}");
    }

    #[test]
    fn what_was_lost_and_what_disturbed_stands_on_the_page() {
        let mut results = Results::default();
        results.settings.quick = true;
        results.recoveries = vec![Recovery {
            books: Books {
                owed: 5,
                lost: 2,
                ..Books::default()
            },
            ..Recovery::default()
        }];
        let page = page(&results, "why\n\n", &[], "performance");
        assert!(page.contains("A quick run made this page."));
        assert!(page.contains("**2 lost**"), "{page}");
    }
}
