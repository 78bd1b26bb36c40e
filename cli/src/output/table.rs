//! Aligned columns, and aligned names with values.

use comfy_table::{ContentArrangement, presets};

use super::text::visible;

/// Rows under a heading; wide ones stay whole, so that ids can be copied.
pub(crate) struct Table {
    inner: comfy_table::Table,
    rows: usize,
    headed: bool,
    /// Control characters that may stand in a cell.
    kept: &'static [char],
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        let mut inner = bare();
        inner.set_header(heading.iter().map(|name| name.to_uppercase()));
        Self {
            inner,
            rows: 0,
            headed: true,
            kept: &[],
        }
    }

    /// Names on the left, values on the right; empty values are left out.
    pub(crate) fn of_values<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut table = Self {
            inner: bare(),
            rows: 0,
            headed: false,
            kept: &['\n'],
        };
        for (name, value) in pairs {
            if !value.is_empty() {
                table.row([name.to_owned(), value]);
            }
        }
        table
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows += 1;
        self.inner
            .add_row(cells.into_iter().map(|cell| visible(&cell, self.kept)));
    }

    pub(crate) fn render(&self) -> String {
        if self.rows == 0 && !self.headed {
            return String::new();
        }
        self.inner
            .lines()
            .map(|line| {
                line.strip_prefix(' ')
                    .unwrap_or(&line)
                    .trim_end()
                    .to_owned()
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn bare() -> comfy_table::Table {
    let mut inner = comfy_table::Table::new();
    inner
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_space() {
        let mut table = Table::new(&["id", "name"]);
        table.row(["src_1".to_owned(), "a".to_owned()]);
        table.row(["s".to_owned(), "longer".to_owned()]);
        assert_eq!(table.render(), "ID     NAME\nsrc_1  a\ns      longer");
    }
}
