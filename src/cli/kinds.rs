//! `calotype samplers` and `calotype schedules`: the closed lists, a line each.

use super::report::print_text;

/// Name, label and sentence in columns.
pub(super) fn print<'a>(kinds: impl Iterator<Item = (&'a str, &'a str, &'a str)>) {
    for (name, label, summary) in kinds {
        print_text(format!("{name:<18}{label:<19}{summary}").as_str());
    }
}
