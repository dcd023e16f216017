//! Text for people: tables, sizes, and errors that say each cause once.

use std::io::{ErrorKind, Write};

/// Prints a line of text. A reader that has gone away, such as `head`, is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Returns the messages of an error and its causes. A cause that the message before it already ends with is left out.
pub fn error_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Aligns the columns of `rows`, separated by two spaces.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |cell: &String| cell.chars().count();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(width_of).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Formats a number of bytes.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_said_once() {
        let missing = || std::io::Error::from(ErrorKind::NotFound);
        let said = |message: String| error_text(&Err::<(), _>(missing()).context(message).unwrap_err());
        assert_eq!(said(format!("cannot read x: {}", missing())), format!("cannot read x: {}", missing()));
        assert_eq!(said("cannot read x".into()), format!("cannot read x: {}", missing()));
    }

    #[test]
    fn tables_are_aligned_and_sizes_have_units() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        assert_eq!(table(&[row(["a", "bbb", "c"]), row(["aaa", "b", ""])]), "a    bbb  c\naaa  b");
        assert_eq!([bytes(5), bytes(1536), bytes(40 << 30)], ["5 B", "1.5 KiB", "40.0 GiB"]);
    }
}
