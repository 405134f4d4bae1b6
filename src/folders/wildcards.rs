//! The text files from which prompts take lines: `wildcards/animals/cats.txt` in the data folder is `animals/cats`.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// Where they lie, below the data folder.
const FOLDER: &str = "wildcards";
/// What their names end in.
const SUFFIX: &str = "txt";
/// The largest part of a file that is read, in bytes.
const MOST_BYTES: u64 = 16 << 20;
/// Longer lines are no wildcards; in bytes.
const LONGEST_LINE: usize = 10_000;
/// So many lines stand behind one name.
const MOST_LINES: usize = 200_000;
/// So many files and folders are looked at for a pattern.
const MOST_ENTRIES: usize = 20_000;
/// So deep are folders looked into.
const MOST_DEPTH: usize = 16;

/// Where wildcard files are looked for; `wildcards` right here on a system without a data folder.
#[must_use]
pub fn wildcard_folder() -> PathBuf {
    super::data_folder().unwrap_or_default().join(FOLDER)
}

/// The lines of `name` in `folder`, or of all files that fit a pattern: `*` stands for any part of a name, `**` for any
/// folders. Without blank lines and lines that begin with `#`. None where there is no such file.
#[must_use]
pub fn wildcard_lines(folder: &Path, name: &str) -> Option<Vec<String>> {
    if !name.contains('*') {
        let below = Path::new(name);
        // Nothing outside of the folder is a wildcard.
        let is_below = below.components().all(|part| matches!(part, Component::Normal(_)));
        return if is_below { lines(&folder.join(format!("{name}.{SUFFIX}"))) } else { None };
    }
    let mut pattern: Vec<&str> = name.split('/').collect();
    pattern.dedup_by(|a, b| *a == "**" && a == b);
    let mut names = all_names(folder);
    names.retain(|name| fits(&pattern, &name.split('/').collect::<Vec<_>>()));
    let mut found: Option<Vec<String>> = None;
    for name in names {
        let read = lines(&folder.join(format!("{name}.{SUFFIX}")));
        found = read.map(|read| found.take().unwrap_or_default().into_iter().chain(read).collect()).or(found);
        if found.as_ref().is_some_and(|found| found.len() >= MOST_LINES) {
            break;
        }
    }
    found.map(|mut found| {
        found.truncate(MOST_LINES);
        found
    })
}

fn lines(file: &Path) -> Option<Vec<String>> {
    // A pipe or a device would be read for ever.
    if fs::metadata(file).is_ok_and(|about| !about.is_file()) {
        tracing::warn!("a wildcard that is no file is left out: {}", file.display());
        return None;
    }
    let mut bytes = Vec::new();
    if let Err(error) = fs::File::open(file).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)) {
        if error.kind() != std::io::ErrorKind::NotFound {
            tracing::warn!(%error, "a wildcard file could not be read: {}", file.display());
        }
        return None;
    }
    let text = decoded(&bytes);
    // Also the line ends of old Macs.
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_too_long = |line: &&str| line.len() > LONGEST_LINE;
    if lines.clone().any(|line| is_too_long(&line)) {
        tracing::warn!("lines of more than {LONGEST_LINE} bytes are left out: {}", file.display());
    }
    Some(lines.filter(|line| !is_too_long(line)).take(MOST_LINES).map(str::to_owned).collect())
}

/// UTF-8, or UTF-16 where the file begins as such: what Windows calls Unicode.
fn decoded(bytes: &[u8]) -> String {
    let units = |read: fn([u8; 2]) -> u16| -> Vec<u16> {
        bytes[2..].chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect()
    };
    match bytes {
        [0xff, 0xfe, ..] => String::from_utf16_lossy(&units(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => String::from_utf16_lossy(&units(u16::from_be_bytes)),
        _ => String::from_utf8_lossy(bytes).trim_start_matches('\u{feff}').to_owned(),
    }
}

/// The names of all files, in order, so that the same seed finds the same line.
fn all_names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut ahead = vec![(folder.to_owned(), String::new(), 0)];
    let mut looked_at = 0;
    while let Some((folder, prefix, depth)) = ahead.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            looked_at += 1;
            if looked_at > MOST_ENTRIES {
                break;
            }
            let path = entry.path();
            let is_file = path.extension().is_some_and(|suffix| suffix == SUFFIX);
            let name = if is_file { path.file_stem() } else { path.file_name() };
            let Some(name) = name.and_then(|name| name.to_str()) else { continue };
            let name = format!("{prefix}{name}");
            if is_file {
                names.push(name);
            } else if depth < MOST_DEPTH && path.is_dir() {
                ahead.push((path, name + "/", depth + 1));
            }
        }
    }
    names.sort();
    names
}

/// True when the folders and the name fit the pattern, part by part.
fn fits(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        ([part, pattern @ ..], [word, name @ ..]) => word_fits(part, word) && fits(pattern, name),
        _ => false,
    }
}

/// True when the text around the stars of `pattern` stands in `word` in order.
fn word_fits(pattern: &str, word: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == word };
    let Some(mut left) = word.strip_prefix(begin) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("animals/big")).unwrap();
        for (name, text) in [
            ("colours.txt", "\u{feff}red\r\n\r\n# not this\n  blue  \n"),
            ("animals/cats.txt", "tabby\n"),
            ("animals/dogs.txt", "poodle\n"),
            ("animals/big/bears.txt", "brown bear\n"),
            ("notes.md", "nothing\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_file_gives_its_lines_without_comments_and_blanks() {
        let folder = folder();
        assert_eq!(wildcard_lines(folder.path(), "colours").unwrap(), ["red", "blue"]);
        assert_eq!(wildcard_lines(folder.path(), "animals/cats").unwrap(), ["tabby"]);
        assert_eq!(wildcard_lines(folder.path(), "gone"), None);
        assert_eq!(wildcard_lines(folder.path(), "notes"), None);
    }

    #[test]
    fn a_pattern_gives_the_lines_of_every_file_that_fits() {
        let folder = folder();
        let of = |name: &str| wildcard_lines(folder.path(), name).unwrap_or_default();
        assert_eq!(of("animals/*"), ["tabby", "poodle"]);
        assert_eq!(of("animals/*a*s"), ["tabby"]);
        assert_eq!(of("**/*s"), ["brown bear", "tabby", "poodle", "red", "blue"]);
        assert_eq!(of("*"), ["red", "blue"]);
        assert_eq!(wildcard_lines(folder.path(), "x*"), None);
    }

    #[test]
    fn files_of_other_systems_are_read_and_what_is_no_list_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let wide: Vec<u8> = "\u{feff}bleu\r\nröd".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(folder.path().join("wide.txt"), wide).unwrap();
        fs::write(folder.path().join("mac.txt"), "red\rblue\r").unwrap();
        fs::write(folder.path().join("long.txt"), format!("short\n{}", "x".repeat(LONGEST_LINE + 1))).unwrap();
        fs::create_dir(folder.path().join("folder.txt")).unwrap();
        let of = |name: &str| wildcard_lines(folder.path(), name);
        assert_eq!(of("wide").unwrap(), ["bleu", "röd"]);
        assert_eq!(of("mac").unwrap(), ["red", "blue"]);
        assert_eq!(of("long").unwrap(), ["short"]);
        assert_eq!(of("folder"), None);
    }

    #[test]
    fn nothing_outside_of_the_folder_is_a_wildcard() {
        let folder = folder();
        let inner = folder.path().join("animals");
        assert_eq!(wildcard_lines(&inner, "../colours"), None);
        assert_eq!(wildcard_lines(&inner, "big/../cats"), None);
        let absolute = folder.path().join("colours");
        assert_eq!(wildcard_lines(&inner, absolute.to_str().unwrap()), None);
    }
}
