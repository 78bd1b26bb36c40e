//! The page about the fleet.

use std::fmt::Write as _;

use super::arguments::Plan;
use super::figures::Figures;

pub(crate) fn page(plan: &Plan, figures: &Figures) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    let out = &mut page;
    writeln!(out, "# Performance of the fleet\n")?;
    writeln!(
        out,
        "This page is written by `make bench-fleet`; changes by hand are lost.\n"
    )?;
    writeln!(out, "## Figures\n")?;
    writeln!(out, "| Figure | Value | Floor | Aim | Verdict |")?;
    writeln!(out, "| --- | ---: | ---: | ---: | --- |")?;
    for row in figures.rows() {
        writeln!(
            out,
            "| {} | {:.1} {} | {} | {} | {} |",
            row.name,
            row.value,
            row.unit,
            row.floor,
            row.aim,
            row.verdict()
        )?;
    }
    if !plan.is_goal() {
        writeln!(
            out,
            "\n**Not the size that the goals name** (1,000 agents, 10,000 sources, 30,000 connections)."
        )?;
    }
    if plan.is_debug() {
        writeln!(
            out,
            "\n**A debug build: the figures show that the bench works, and mean nothing else.**"
        )?;
    }
    writeln!(out, "\n## Machine and run\n")?;
    writeln!(out, "- {}", machine())?;
    writeln!(
        out,
        "- {} agents in one pool, {} sources, {} connections, 100 destinations; one control plane, one PostgreSQL with its flushes on, and all agents in one process on the same machine",
        plan.agents(),
        plan.sources(),
        plan.connections()
    )?;
    writeln!(out, "\n## Behind the figures\n")?;
    let [p50, p99, most] = figures.change.map(|time| time.as_secs_f64() * 1_000.0);
    writeln!(
        out,
        "- change to acknowledged by all, over {} changes: p50 {p50:.0} ms, p99 {p99:.0} ms, most {most:.0} ms",
        plan.changes()
    )?;
    writeln!(
        out,
        "- writes/s: {:.0} alone, {:.0} with every agent connected ({} callers at once)",
        figures.writes, figures.writes_with_agents, plan.writers
    )?;
    writeln!(
        out,
        "- a snapshot has {} resources in {:.1} MiB; all agents from nothing to everything: {:.1} s",
        figures.snapshot_resources,
        mib(figures.snapshot_bytes as u64),
        figures.first_contact.as_secs_f64()
    )?;
    writeln!(
        out,
        "- memory at rest {:.0} MiB, at most {:.0} MiB",
        mib(figures.memory.0),
        mib(figures.memory.1)
    )?;
    writeln!(
        out,
        "- the restart took {} snapshots and {} dials of configuration streams in vain",
        figures.back_snapshots, figures.back_dials
    )?;
    Ok(page)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    #[expect(clippy::disallowed_methods, reason = "a report says when it was made")]
    let date = time::OffsetDateTime::now_utc().date();
    format!("{date}: {model} with {cores} cores")
}
