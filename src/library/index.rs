//! What the library knows at one moment, and how a name or a hash leads to a file. Pure: nothing is read here.
//!
//! Every search goes through tiers, the most exact first, and the first tier with a match decides. Matches of one tier
//! that are the same bytes count as one; different ones are [`Found::Many`], in the order of the folders and of their paths.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::library::message::{Activity, Entry, Folder, KindGroup};

/// The library at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LibraryIndex {
    /// In the order of the folders, then of the paths.
    pub entries: Vec<Arc<Entry>>,
    /// The folders, Calotype's own first.
    pub folders: Vec<Folder>,
    /// What is going on.
    pub activity: Activity,
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// Nothing has this name or hash.
    Nothing,
    /// One file, or several of the same bytes, of which this is the first.
    One(&'a Entry),
    /// Different files, in order.
    Many(Vec<&'a Entry>),
}

impl<'a> Found<'a> {
    /// The first of what was found: what to take where asking back is not possible.
    #[must_use]
    pub fn first(&self) -> Option<&'a Entry> {
        match self {
            Self::Nothing => None,
            Self::One(entry) => Some(entry),
            Self::Many(entries) => entries.first().copied(),
        }
    }
}

/// A condition on an entry, which a tier of a search consists of.
type Tier<'a> = &'a dyn Fn(&Entry) -> bool;

impl LibraryIndex {
    /// The names by which prompts can call the entries of a group: all stems, then the paths below their folders,
    /// then the names that their makers gave to one of them alone. Of two entries of one name the first is meant.
    pub fn callable(&self, group: KindGroup) -> impl Iterator<Item = (&str, &Entry)> {
        fn alias(entry: &Entry) -> Option<&str> {
            entry.known().and_then(|card| card.notes.alias.as_deref())
        }
        let of_group =
            move || self.entries.iter().map(AsRef::as_ref).filter(move |entry: &&Entry| entry.group == group);
        let stems = of_group().map(|entry| (entry.stem(), entry));
        let below = of_group().filter(|entry| entry.name != entry.stem()).map(|entry| (entry.name.as_str(), entry));
        let mut holders: HashMap<&str, usize> = HashMap::new();
        of_group().filter_map(alias).for_each(|name| *holders.entry(name).or_default() += 1);
        let own = move |name: &&str| holders.get(name) == Some(&1);
        let aliases = of_group().filter_map(move |entry| Some((alias(entry).filter(&own)?, entry)));
        stems.chain(below).chain(aliases)
    }

    /// A model that draws, by path, file name, stem, title, or hash; `name [hash]` as A1111 writes it counts by its hash
    /// first. U-Nets alone and unread files in a checkpoints' folder are found as well.
    #[must_use]
    pub fn find_checkpoint(&self, asked: &str) -> Found<'_> {
        let (name, hash) = split_hash(asked.trim());
        let is_model = |entry: &Entry| matches!(entry.group, KindGroup::Checkpoint | KindGroup::UNet);
        if let Some(found) = hash.map(|hash| self.by_hash(hash, &is_model)).filter(|found| *found != Found::Nothing) {
            return found;
        }
        let is_title = |entry: &Entry| entry.known().and_then(|card| card.notes.title.as_deref()) == Some(name);
        let found = self.by_name(name, &is_model, &is_title);
        if found == Found::Nothing { self.by_hash(name, &is_model) } else { found }
    }

    /// A LoRA as `<lora:NAME:1>` spells it: the path below its folder, its file's stem, its trainer's name (where only one
    /// file has it, as in A1111); each as it stands first, then whatever the case.
    #[must_use]
    pub fn find_lora(&self, asked: &str) -> Found<'_> {
        let is_lora = |entry: &Entry| entry.group == KindGroup::Lora;
        let alias = |entry: &Entry| entry.known().and_then(|card| card.notes.alias.clone());
        let holders = self.entries.iter().filter(|e| is_lora(e) && alias(e).as_deref() == Some(asked)).count();
        let is_alias = |entry: &Entry| holders == 1 && alias(entry).as_deref() == Some(asked);
        self.by_name(asked.trim(), &is_lora, &is_alias)
    }

    /// An embedding by its bare file name.
    #[must_use]
    pub fn find_embedding(&self, asked: &str) -> Found<'_> {
        self.by_name(asked.trim(), &|entry| entry.group == KindGroup::Embedding, &|_| false)
    }

    /// A VAE or a text encoder by its file name or by a hash.
    #[must_use]
    pub fn find_part(&self, asked: &str, group: KindGroup) -> Found<'_> {
        let is_part = |entry: &Entry| entry.group == group;
        let found = self.by_name(asked.trim(), &is_part, &|_| false);
        if found == Found::Nothing { self.by_hash(asked.trim(), &is_part) } else { found }
    }

    /// A VAE as a recipe names it: any file of this hash, a whole model's among them, else a VAE of this name.
    #[must_use]
    pub fn find_vae(&self, name: &str, hash: Option<&str>) -> Found<'_> {
        let found = hash.map_or(Found::Nothing, |hash| self.by_hash(hash.trim(), &|_| true));
        if found == Found::Nothing { self.find_part(name, KindGroup::Vae) } else { found }
    }

    /// Any file by a hash as recipes hold it: sha256 whole or from its 10th digit on, A1111's old 8 digits, or for LoRAs
    /// that of what follows the header, whole or 12 digits. In the order in which they are that sure.
    #[must_use]
    pub fn find_by_hash(&self, hash: &str) -> Found<'_> {
        self.by_hash(hash, &|_| true)
    }

    /// The entry at a path.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Entry> {
        self.entries.iter().map(Arc::as_ref).find(|entry| entry.path == path)
    }

    /// Entries of a group that have no hashes yet.
    pub fn unhashed(&self, group: KindGroup) -> impl Iterator<Item = &Entry> {
        let is_meant = move |entry: &&Entry| {
            entry.group == group && entry.hashes.is_none() && entry.known().is_some_and(can_be_hashed)
        };
        self.entries.iter().map(Arc::as_ref).filter(is_meant)
    }

    fn by_hash(&self, hash: &str, is_meant: Tier<'_>) -> Found<'_> {
        let Some(hash) = as_hash(hash) else { return Found::Nothing };
        let of_file = |entry: &Entry| {
            hash.len() >= 10 && entry.hashes.as_ref().is_some_and(|hashes| hashes.sha256.starts_with(&hash))
        };
        let old = |entry: &Entry| entry.hashes.as_ref().is_some_and(|hashes| hashes.old.as_ref() == Some(&hash));
        let after_header = |entry: &Entry| {
            let computed = entry.hashes.as_ref().and_then(|hashes| hashes.after_header.as_deref());
            hash.len() >= 10 && computed.is_some_and(|computed| computed.starts_with(&hash))
        };
        let embedded = |entry: &Entry| {
            let said = entry.known().and_then(|card| card.notes.embedded_hash.as_deref());
            hash.len() >= 10 && said.is_some_and(|said| said.starts_with(&hash))
        };
        self.first_tier(&[&of_file, &after_header, &embedded, &old], is_meant)
    }

    fn by_name(&self, asked: &str, is_meant: Tier<'_>, is_other_name: Tier<'_>) -> Found<'_> {
        if asked.is_empty() {
            return Found::Nothing;
        }
        let asked = asked.replace('\\', "/");
        let bare = without_ending(&asked);
        let lower = bare.to_lowercase();
        let is_path = |entry: &Entry| entry.path == Path::new(&asked);
        let has_ending = bare.len() != asked.len();
        let is_file = |entry: &Entry| {
            has_ending && entry.path.file_name().is_some_and(|name| name.to_string_lossy() == asked.as_str())
        };
        let is_name = |entry: &Entry| entry.name == asked || entry.name == bare;
        let is_stem = |entry: &Entry| entry.stem() == asked || entry.stem() == bare;
        // Recipes of programs whose folders lie elsewhere hold longer or shorter paths.
        let is_tail = |entry: &Entry| entry.path.with_extension("").ends_with(bare);
        let is_name_ci = |entry: &Entry| entry.name.to_lowercase() == lower;
        let is_stem_ci = |entry: &Entry| entry.stem().to_lowercase() == lower;
        let tiers: [Tier<'_>; 8] =
            [&is_path, &is_file, &is_name, &is_stem, &is_tail, is_other_name, &is_name_ci, &is_stem_ci];
        self.first_tier(&tiers, is_meant)
    }

    fn first_tier(&self, tiers: &[Tier<'_>], is_meant: Tier<'_>) -> Found<'_> {
        let matching = |tier: Tier<'_>| -> Vec<&Entry> {
            self.entries.iter().map(Arc::as_ref).filter(|entry| is_meant(entry) && tier(entry)).collect()
        };
        let Some(found) = tiers.iter().map(|tier| matching(tier)).find(|found| !found.is_empty()) else {
            return Found::Nothing;
        };
        let hash = |entry: &Entry| entry.hashes.as_ref().map(|hashes| hashes.sha256.clone());
        let first = hash(found[0]);
        let are_the_same = found.len() == 1 || (first.is_some() && found.iter().all(|entry| hash(entry) == first));
        if are_the_same { Found::One(found[0]) } else { Found::Many(found) }
    }
}

/// Whether hashing the file makes sense: folders have no hash.
pub(super) fn can_be_hashed(card: &crate::library::message::Card) -> bool {
    card.container != crate::library::message::Container::Folder
}

/// `name [abcdef1234]` to its two parts.
fn split_hash(asked: &str) -> (&str, Option<&str>) {
    let parts = asked.strip_suffix(']').and_then(|rest| rest.rsplit_once(" ["));
    match parts {
        Some((name, hash)) if as_hash(hash).is_some() => (name, Some(hash)),
        _ => (asked, None),
    }
}

/// The digits of a hash in lower case; none when the text is none.
fn as_hash(text: &str) -> Option<String> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let is_hash = (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

fn without_ending(name: &str) -> &str {
    let known = |ending: &str| crate::library::scan::ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known));
    match name.rsplit_once('.') {
        Some((bare, ending)) if known(ending) => bare,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::message::{Card, Container, Hashes, MakersNotes, ModelKind, Parts, Purpose, SideNotes};

    fn entry(group: KindGroup, path: &str, name: &str, sha256: &str) -> Entry {
        let hashes = Hashes { sha256: sha256.repeat(64), old: Some(sha256.repeat(8)), after_header: None };
        let card = Card {
            kind: ModelKind::Unknown,
            family: None,
            purpose: Purpose::Pictures,
            container: Container::Safetensors,
            stored: Vec::new(),
            parts: Parts::default(),
            size_bytes: 1,
            parameters: 1,
            prediction: None,
            notes: MakersNotes::default(),
        };
        Entry {
            path: path.into(),
            name: name.into(),
            size_bytes: 1,
            group,
            card: Ok(card),
            hashes: Some(hashes).filter(|_| !sha256.is_empty()),
            preview: None,
            notes: SideNotes::default(),
        }
    }

    fn index(entries: Vec<Entry>) -> LibraryIndex {
        LibraryIndex { entries: entries.into_iter().map(Arc::new).collect(), ..LibraryIndex::default() }
    }

    fn with_notes(mut entry: Entry, change: impl FnOnce(&mut MakersNotes)) -> Entry {
        change(&mut entry.card.as_mut().unwrap().notes);
        entry
    }

    #[track_caller]
    fn one(found: &Found<'_>, path: &str) {
        assert!(matches!(found, Found::One(entry) if entry.path == Path::new(path)), "{found:?}");
    }

    #[test]
    fn a_checkpoint_is_found_by_path_name_stem_title_and_hash() {
        let titled = with_notes(entry(KindGroup::Checkpoint, "/m/b.safetensors", "b", "b"), |n| {
            n.title = Some("Big One".into());
        });
        let index = index(vec![
            entry(KindGroup::Checkpoint, "/m/sub/Fox.safetensors", "sub/Fox", "a"),
            titled,
            entry(KindGroup::Lora, "/l/only.safetensors", "only", "c"),
        ]);
        for asked in [
            "/m/sub/Fox.safetensors",
            "Fox.safetensors",
            "Fox",
            "sub/Fox",
            "sub\\Fox.safetensors",
            "fox",
            "Fox [bbbb]",
            "renamed [aaaaaaaaaa]",
            "aaaaaaaa",
            "AAAAAAAAAAAA",
            &"a".repeat(64),
        ] {
            let found = index.find_checkpoint(asked);
            if asked == "Fox [bbbb]" {
                assert_eq!(found, Found::Nothing);
            } else {
                one(&found, "/m/sub/Fox.safetensors");
            }
        }
        one(&index.find_checkpoint("Big One"), "/m/b.safetensors");
        assert_eq!(index.find_checkpoint("only"), Found::Nothing);
        assert_eq!(index.find_checkpoint(""), Found::Nothing);
        one(&index.find_by_hash("cccccccccc"), "/l/only.safetensors");
    }

    #[test]
    fn files_of_the_same_bytes_are_one_and_different_ones_are_many() {
        let entry = |path: &str, hash: &str| entry(KindGroup::Checkpoint, path, "x", hash);
        let same = index(vec![entry("/1/x.safetensors", "a"), entry("/2/x.safetensors", "a")]);
        one(&same.find_checkpoint("x"), "/1/x.safetensors");
        let other = index(vec![entry("/1/x.safetensors", "a"), entry("/2/x.safetensors", "b")]);
        let found = other.find_checkpoint("x");
        assert!(matches!(&found, Found::Many(both) if both.len() == 2));
        assert_eq!(found.first().unwrap().path, Path::new("/1/x.safetensors"));
        // A hash of its own decides.
        one(&other.find_checkpoint("x [bbbbbbbbbb]"), "/2/x.safetensors");
        let unhashed = index(vec![entry("/1/x.safetensors", ""), entry("/2/x.safetensors", "")]);
        assert!(matches!(unhashed.find_checkpoint("x"), Found::Many(_)));
    }

    #[test]
    fn a_lora_is_found_by_path_stem_and_an_alias_that_is_its_own() {
        let alias = |entry: Entry, alias: &str| with_notes(entry, |notes| notes.alias = Some(alias.into()));
        let index = index(vec![
            alias(entry(KindGroup::Lora, "/l/Ink.safetensors", "Ink", "a"), "ink_v1"),
            alias(entry(KindGroup::Lora, "/l/ink.safetensors", "ink", "b"), "shared"),
            alias(entry(KindGroup::Lora, "/l/s/paint.safetensors", "s/paint", "c"), "shared"),
        ]);
        one(&index.find_lora("Ink"), "/l/Ink.safetensors");
        one(&index.find_lora("ink"), "/l/ink.safetensors");
        one(&index.find_lora("ink_v1"), "/l/Ink.safetensors");
        one(&index.find_lora("s/paint"), "/l/s/paint.safetensors");
        one(&index.find_lora("PAINT"), "/l/s/paint.safetensors");
        assert_eq!(index.find_lora("shared"), Found::Nothing);
        assert!(matches!(index.find_lora("INK"), Found::Many(both) if both.len() == 2));
        assert_eq!(index.find_embedding("ink"), Found::Nothing);
    }

    #[test]
    fn a_lora_is_found_by_the_hash_of_its_tensors_and_by_the_one_that_its_trainer_wrote() {
        let mut computed = entry(KindGroup::Lora, "/l/a.safetensors", "a", "a");
        computed.hashes.as_mut().unwrap().after_header = Some("d".repeat(64));
        let embedded = with_notes(entry(KindGroup::Lora, "/l/b.safetensors", "b", ""), |notes| {
            notes.embedded_hash = Some("e".repeat(64));
        });
        let index = index(vec![computed, embedded]);
        one(&index.find_by_hash("dddddddddddd"), "/l/a.safetensors");
        one(&index.find_by_hash("0xEEEEEEEEEEEE"), "/l/b.safetensors");
        assert_eq!(index.find_by_hash("not a hash"), Found::Nothing);
    }
}
