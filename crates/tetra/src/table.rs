//! Tables of text: columns as wide as their widest cell, three spaces between them.

/// Spaces between columns.
const GAP: usize = 3;

/// The lines of a table, without spaces at their ends. Every row has as many cells as the first.
pub(crate) fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let widths = widths(rows);
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<String>().trim_end().to_owned()
        })
        .collect()
}

/// Widths of the columns, with the space behind them, in characters.
pub(crate) fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0) + GAP
    };
    (0..columns).map(width).collect()
}
