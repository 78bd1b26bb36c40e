//! The one place that writes: answers to standard output, the rest to standard error.
//!
//! Owns format, colour and the look of tables and errors. Refuses to know what
//! is shown. Invariants: no escape sequence leaves when the stream is no
//! terminal or `NO_COLOR` is set; a reader that went away ends the command
//! without a word.

use std::io::{self, IsTerminal as _, Write};

use serde_json::Value;

use crate::failure::Failure;

mod table;
mod text;

pub(crate) use table::Table;
use text::visible;
pub(crate) use text::{bytes, clock_time, count, day_time, millis, since};

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

/// What a word means, for terminals with colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Waiting,
    Quiet,
    Strong,
}

/// Where a command writes.
pub(crate) struct Output {
    format: Format,
    out: Box<dyn Write + Send>,
    notes: Box<dyn Write + Send>,
    colour: bool,
    /// A person sits at the other end of standard error.
    attended: bool,
}

impl Output {
    /// The streams of the process.
    pub(crate) fn of_process(format: Format, no_colour: bool) -> Self {
        Self {
            format,
            colour: !no_colour && io::stdout().is_terminal(),
            attended: io::stderr().is_terminal(),
            out: Box::new(io::stdout()),
            notes: Box::new(io::stderr()),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a progress bar would be seen by anybody.
    pub(crate) fn is_attended(&self) -> bool {
        self.attended
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}")
            .and_then(|()| self.out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// A line with text of senders or receivers in it; it stays one line.
    pub(crate) fn untrusted(&mut self, text: &str) -> Result<(), Failure> {
        self.line(&visible(text, &[]))
    }

    /// Text of a sender or receiver, line ends and tabs kept.
    pub(crate) fn untrusted_text(&mut self, text: &str) -> Result<(), Failure> {
        self.line(&visible(text, &['\n', '\t']))
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out
            .write_all(bytes)
            .and_then(|()| self.out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// A whole answer, indented.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&format!("{value:#}"))
    }

    /// One of many answers, on one line.
    pub(crate) fn json_line(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&value.to_string())
    }

    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let text = table.render();
        if text.is_empty() {
            Ok(())
        } else {
            self.line(&text)
        }
    }

    /// Something to know beside the answer.
    pub(crate) fn note(&mut self, text: &str) {
        // Nobody is left to tell when even this fails.
        drop(writeln!(self.notes, "{text}"));
    }

    /// How far something is: one line that changes where a person looks on, lines elsewhere.
    pub(crate) fn progress(&mut self, text: &str) {
        let text = visible(text, &[]);
        let shown = if self.attended {
            write!(self.notes, "\r\u{1b}[2K{text}").and_then(|()| self.notes.flush())
        } else {
            writeln!(self.notes, "{text}")
        };
        drop(shown);
    }

    /// What comes next begins a line of its own.
    pub(crate) fn end_progress(&mut self) {
        if self.attended {
            drop(writeln!(self.notes));
        }
    }

    /// Something that may make the answer wrong; never left out.
    pub(crate) fn warning(&mut self, text: &str) {
        drop(writeln!(self.notes, "warning: {text}"));
    }

    pub(crate) fn failure(&mut self, failure: &Failure) {
        if self.is_json() {
            drop(writeln!(self.notes, "{:#}", failure.to_json()));
            return;
        }
        let mut text = format!("error: {}\n", failure.message);
        if let Some(detail) = &failure.detail {
            text.push_str(&format!("detail: {detail}\n"));
        }
        for (field, message) in &failure.fields {
            let line = format!("{field}: {message}");
            // A single fault is often the message itself.
            if !failure.message.ends_with(&line) {
                text.push_str(&format!("field: {line}\n"));
            }
        }
        if let Some(hint) = &failure.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        drop(self.notes.write_all(text.as_bytes()));
    }

    /// A word in its colour, where colours are seen.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let start = match tone {
            Tone::Good => "\u{1b}[32m",
            Tone::Bad => "\u{1b}[31m",
            Tone::Waiting => "\u{1b}[33m",
            Tone::Quiet => "\u{1b}[2m",
            Tone::Strong => "\u{1b}[1m",
        };
        format!("{start}{text}\u{1b}[0m")
    }
}
