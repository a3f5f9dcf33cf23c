//! Figures as people read them: `12,800`, `3.1 MiB`, `14 min 5 s`, and tables.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table as Layout, presets};

/// Groups of three digits: `1234567` becomes `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in binary units: `3.1 MiB`, `512 B`.
pub fn bytes(value: u64) -> String {
    let mut amount = value as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
        // 1023.95 would print as 1024.0.
        if amount < 1023.95 || unit == "PiB" {
            return if unit == "B" { format!("{value} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1024.0;
    }
    unreachable!("the last unit always returns; this is a bug")
}

/// The two largest units: `850 ms`, `14.2 s`, `14 min 5 s`, `3 h 2 min`, `2 d 4 h`.
pub fn duration(value: Duration) -> String {
    let seconds = value.as_secs_f64();
    // Whole seconds are rounded first, so that 59.97 s never prints as "60.0 s".
    let whole = seconds.round() as u64;
    if seconds < 0.9995 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else if whole < 3600 {
        format!("{} min {} s", whole / 60, whole % 60)
    } else if whole < 86_400 {
        format!("{} h {} min", whole / 3600, whole % 3600 / 60)
    } else {
        format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600)
    }
}

/// A rate with three significant digits: `0.43`, `43.1`, `1,240`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        value if !value.is_finite() => "?".to_owned(),
        value if value >= 99.95 => count(value.round() as u64),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A share as percent with one decimal: `0.256` becomes `25.6 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A table for the terminal.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub fn new<Title: Into<String>>(header: impl IntoIterator<Item = Title>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row below; missing cells stay empty.
    pub fn row<Cell: Into<String>>(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    fn layout(&self) -> String {
        let mut layout = Layout::new();
        layout.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        layout.set_header(&self.header);
        for row in &self.rows {
            let mut cells = row.clone();
            cells.resize(self.header.len().max(row.len()), String::new());
            layout.add_row(cells);
        }
        for column in 0..self.header.len() {
            if self.is_numeric(column)
                && let Some(column) = layout.column_mut(column)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        layout.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// Columns of figures are aligned to the right.
    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty()).peekable();
        cells.peek().is_some()
            && cells.all(|cell| cell.starts_with(|first: char| first.is_ascii_digit() || "+-±".contains(first)))
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.layout())
    }
}
