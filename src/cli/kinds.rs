//! `calotype samplers` and `calotype schedules`: the closed lists, a line each.

use super::report::print_text;

/// Name, label and sentence in columns.
pub(super) fn print<'a>(kinds: impl Iterator<Item = (&'a str, &'a str, &'a str)> + Clone) {
    let width = |column: fn(&(&'a str, &'a str, &'a str)) -> usize| {
        kinds.clone().map(|row| column(&row)).max().unwrap_or(0) + 2
    };
    let (names, labels) = (width(|row| row.0.len()), width(|row| row.1.len()));
    for (name, label, summary) in kinds {
        print_text(format!("{name:<names$}{label:<labels$}{summary}").as_str());
    }
}
