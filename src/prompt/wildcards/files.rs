//! The files behind `__name__`, as far as they were read. Reading them is the caller's: this room has no disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::template::{Choice, Node, parse};

/// So many files are taken in for one press: a pattern may name a whole collection.
const MOST_FILES: usize = 1000;

/// The lines of wildcard files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WildcardFiles {
    folder: PathBuf,
    lines: BTreeMap<String, Vec<String>>,
}

impl WildcardFiles {
    /// The files that `texts` name, and those that their lines name in turn. `read` gives the lines of a name or a
    /// pattern, without comments and blank ones; none where there is no such file. `folder` is where it looks.
    pub fn gather(folder: PathBuf, texts: &[&str], mut read: impl FnMut(&str) -> Option<Vec<String>>) -> Self {
        let mut files = Self { folder, lines: BTreeMap::new() };
        let mut wanted: Vec<String> = texts.iter().flat_map(|text| named(text)).collect();
        let mut asked = std::collections::BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if asked.len() >= MOST_FILES || !asked.insert(name.clone()) {
                continue;
            }
            if let Some(lines) = read(&name) {
                wanted.extend(lines.iter().flat_map(|line| named(line)));
                files.lines.insert(name, lines);
            }
        }
        files
    }

    /// The lines of a file that was there.
    pub(super) fn lines(&self, name: &str) -> Option<&[String]> {
        self.lines.get(name).map(Vec::as_slice)
    }

    /// Where they were looked for.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The names of all files in a text.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut ahead = parse(text);
    while let Some(node) = ahead.pop() {
        match node {
            Node::Text(_) => {}
            Node::File(name) => names.push(name),
            Node::Choice(Choice { options, .. }) => ahead.extend(options.into_iter().flat_map(|option| option.nodes)),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_name_each_other_are_read_once() {
        let mut asked = Vec::new();
        let files = WildcardFiles::gather(PathBuf::from("/w"), &["{x|__a__}"], |name| {
            asked.push(name.to_owned());
            match name {
                "a" => Some(vec!["__b__".into(), "{1|__a__}".into()]),
                "b" => Some(vec!["__gone__ __a__".into()]),
                _ => None,
            }
        });
        assert_eq!(asked, ["a", "b", "gone"]);
        assert_eq!(files.lines("b").unwrap().len(), 1);
        assert!(files.lines("gone").is_none());
    }
}
