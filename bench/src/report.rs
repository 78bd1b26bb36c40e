//! The report: a page with plots and a small summary beside it, and the raw results elsewhere.
//!
//! Owns what is written where. Invariant: a missed figure is called missed, a
//! run that is not one is called so in the first lines.

mod method;
mod page;
mod plots;

use std::path::Path;

use serde_json::json;

use crate::arguments::Output;
use crate::fault::Fault;
use crate::goals::figures;
use crate::results::Results;

/// Everything, after a run.
pub(crate) fn write(results: &Results, output: &Output) -> Result<(), Fault> {
    let raw = serde_json::to_string_pretty(results);
    let raw = raw.map_err(|error| Fault::json("the results", error))?;
    save(&output.raw, &raw)?;
    let folder = output.report.with_extension("");
    std::fs::create_dir_all(&folder).map_err(|error| Fault::file(&folder, error))?;
    let plots = plots::draw(results, &folder)?;
    let summary = json!({
        "machine": results.machine,
        "settings": results.settings,
        "figures": figures(results),
        "safe": results.safe(),
    });
    let summary = serde_json::to_string_pretty(&summary);
    let summary = summary.map_err(|error| Fault::json("the summary", error))?;
    save(&folder.join("summary.json"), &format!("{summary}\n"))?;
    let notes = match &output.notes {
        Some(path) => std::fs::read_to_string(path).map_err(|error| Fault::file(path, error))?,
        None => String::new(),
    };
    let page = page::page(results, &notes, &plots, &folder_name(&folder));
    save(&output.report, &page)
}

/// The page before anything was measured.
pub(crate) fn write_method(output: &Output) -> Result<(), Fault> {
    save(&output.report, &page::without_figures())
}

/// The figures and what they are worth, for a terminal.
pub(crate) fn verdicts(results: &Results) -> String {
    page::table(results) + &page::safety(results)
}

fn folder_name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn save(path: &Path, text: &str) -> Result<(), Fault> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Fault::file(folder, error))?;
    }
    std::fs::write(path, text).map_err(|error| Fault::file(path, error))
}
