//! The library on the command line: list, inspect, add, remove, and a model found by its name or hash.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::report::{print_error, print_text};
use crate::folders;
use crate::gallery::record::ReadRecipe;
use crate::library::index::{Found, LibraryIndex};
use crate::library::message::{
    Activity, Card, Entry, Family, Hashes, KindGroup, ModelKind, PredictionKind, size_for_people,
};
use crate::library::{Catalogue, Places, hash_file, shown, vae_beside};
use crate::request::{NamedFile, RecordedVae};

/// `calotype models list`.
#[derive(Debug, Args)]
pub struct ListOptions {
    /// Only these: checkpoint, lora, embedding, vae, unet, text-encoder, taesd, other
    #[arg(long, value_name = "KIND")]
    pub kind: Option<KindGroup>,
    /// The folders instead of what is in them
    #[arg(long, conflicts_with = "kind")]
    pub folders: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `calotype models inspect`.
#[derive(Debug, Args)]
pub struct InspectOptions {
    /// A file, or a folder in the diffusers layout
    pub path: PathBuf,
    /// Compute its hashes as well: the whole file is read
    #[arg(long)]
    pub hash: bool,
    /// Everything, as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `calotype models add` and `remove`.
#[derive(Debug, Args)]
pub struct FolderOptions {
    /// The folder
    pub folder: PathBuf,
}

/// Where this user's library is.
pub fn places() -> Places {
    let own = folders::models();
    let data = folders::data_folder().unwrap_or_else(|| own.clone());
    Places::new(own, &data, &folders::cache_folder())
}

fn opened() -> Catalogue {
    let mut catalogue = Catalogue::open(places());
    catalogue.scan(&mut |_, _, _| false);
    catalogue
}

/// The files of a group by the names that prompts call them by.
pub fn callable(group: KindGroup) -> Vec<NamedFile> {
    let index = opened().index(Activity::Idle);
    let named = |(name, entry): (&str, &Entry)| NamedFile { name: name.to_owned(), path: entry.path.clone() };
    index.callable(group).map(named).collect()
}

/// The short hash of a listed file, where it was computed.
pub fn short_hash(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    opened().index(Activity::Idle).at(&path)?.short_hash().map(str::to_owned)
}

fn work(error: impl std::fmt::Display) -> Failure {
    Failure::Work(error.to_string())
}

pub(super) fn list(options: &ListOptions) {
    let index = opened().index(Activity::Idle);
    for (folder, problem) in index.folders.iter().filter_map(|folder| Some((folder, folder.problem.as_ref()?))) {
        print_error(&format!("{}: {problem}", folder.path.display()));
    }
    if options.folders {
        return print_folders(&index, options.json);
    }
    let is_meant = |entry: &&Entry| options.kind.is_none_or(|kind| entry.group == kind);
    let mut count = 0;
    for entry in index.entries.iter().map(AsRef::as_ref).filter(is_meant) {
        count += 1;
        let text = if options.json { entry_as_json(entry).to_string() } else { line(entry) };
        print_text(&text);
    }
    if count == 0 {
        let own = folders::models();
        print_error(&format!(
            "no models in the library: put some into {}, or `calotype models add FOLDER`",
            own.display()
        ));
    }
}

fn print_folders(index: &LibraryIndex, is_json: bool) {
    for folder in &index.folders {
        let path = folder.path.display().to_string();
        if is_json {
            let facts =
                json!({"path": path, "program": folder.program, "own": folder.is_own, "problem": folder.problem});
            print_text(&facts.to_string());
        } else {
            let of = folder.program.map(|program| format!("  ({program})")).unwrap_or_default();
            print_text(&format!("{}{of}", shown(&path)));
        }
    }
}

/// Name, kind, family, size, hash: one line for people.
fn line(entry: &Entry) -> String {
    let name = shown(&entry.name).replace('\n', " ");
    let Some(card) = entry.known() else {
        let problem = entry.card.as_ref().err().map(String::as_str).unwrap_or_default();
        return format!("{name}  [{}]  cannot be read: {}", entry.group.label(), shown(problem));
    };
    let mut facts = vec![entry.group.label().to_owned()];
    facts.extend(card.family.map(|family| family.label().to_owned()));
    facts.extend(card.purpose.label().map(str::to_owned));
    if entry.group != card.kind.group() || !matches!(entry.group, KindGroup::Checkpoint | KindGroup::Vae) {
        facts.push(card.kind.label());
    }
    facts.push(size_for_people(entry.size_bytes));
    let hash = entry.short_hash().map(|hash| format!("  {hash}")).unwrap_or_default();
    format!("{name}  [{}]{hash}", facts.join(", "))
}

pub(super) fn inspect(options: &InspectOptions) -> Result<(), Failure> {
    let card = crate::library::inspect(&options.path).map_err(work)?;
    let hashes = match options.hash {
        true if options.path.is_dir() => return Err(Failure::Usage("a model folder has no hash".to_owned())),
        true => Some(hash_file(&options.path, &mut |_| false).map_err(work)?),
        false => None,
    };
    let beside = vae_beside(&options.path).filter(|_| matches!(card.kind, ModelKind::Checkpoint | ModelKind::UNet));
    let beside = beside.map(|path| path.display().to_string());
    if options.json {
        let mut value = card_as_json(&card, hashes.as_ref());
        value["vae_beside"] = beside.into();
        print_text(&value.to_string());
        return Ok(());
    }
    for (name, value) in facts(&card, hashes.as_ref()) {
        print_text(&format!("{name}: {}", value.replace('\n', "\n  ")));
    }
    if let Some(beside) = beside {
        print_text(&format!("VAE beside it, which is used unless another is chosen: {}", shown(&beside)));
    }
    Ok(())
}

fn facts(card: &Card, hashes: Option<&Hashes>) -> Vec<(&'static str, String)> {
    let notes = &card.notes;
    let tags: Vec<String> = notes.tags.iter().map(|(tag, count)| format!("{tag} ({count})")).collect();
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let all = [
        ("Kind", Some(card.kind.label())),
        ("Family", card.family.map(|family| family.label().to_owned())),
        ("For", card.purpose.label().map(str::to_owned)),
        ("File", Some(card.container.label().to_owned())),
        ("Inside", text(card.parts.label())),
        ("Stored as", text(card.stored.join(", "))),
        ("Size", Some(format!("{} ({} bytes)", size_for_people(card.size_bytes), card.size_bytes))),
        ("Parameters", text(card.parameters.to_string()).filter(|count| count != "0")),
        ("Prediction", card.prediction.map(|prediction| prediction.label().to_owned())),
        ("Title", notes.title.clone()),
        ("Author", notes.author.clone()),
        ("Description", notes.description.clone()),
        ("License", notes.license.clone()),
        ("Trigger words", notes.trigger.clone()),
        ("Training tags", text(tags.join(", "))),
        ("Known as", notes.alias.clone()),
        ("Base", notes.base.clone()),
        ("Trained on", notes.trained_on.clone()),
        ("Hash in the header", notes.embedded_hash.clone()),
        ("SHA256", hashes.map(|hashes| hashes.sha256.clone())),
        ("SHA256 after the header (AutoV3)", hashes.and_then(|hashes| hashes.after_header.clone())),
        ("Old hash", hashes.and_then(|hashes| hashes.old.clone())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// What is not known is null.
fn card_as_json(card: &Card, hashes: Option<&Hashes>) -> Value {
    let notes = &card.notes;
    let (network, rank, vectors) = match &card.kind {
        ModelKind::Lora { network, rank } => (Some(network.as_str()), *rank, None),
        ModelKind::Embedding { vectors } => (None, None, Some(*vectors)),
        _ => (None, None, None),
    };
    json!({
        "kind": card.kind.group().name(),
        "what": card.kind.label(),
        "network": network,
        "rank": rank,
        "vectors": vectors,
        "family": card.family.map(Family::label),
        "purpose": card.purpose.label(),
        "container": card.container.label(),
        "parts": {
            "unet": card.parts.unet, "text_encoders": card.parts.text_encoders, "vae": card.parts.vae,
            "ema": card.parts.ema,
        },
        "stored": card.stored,
        "size_bytes": card.size_bytes,
        "parameters": card.parameters,
        "prediction": card.prediction.map(PredictionKind::label),
        "title": notes.title,
        "author": notes.author,
        "description": notes.description,
        "license": notes.license,
        "trigger": notes.trigger,
        "tags": notes.tags.iter().map(|(tag, count)| json!([tag, count])).collect::<Vec<_>>(),
        "alias": notes.alias,
        "base": notes.base,
        "trained_on": notes.trained_on,
        "embedded_hash": notes.embedded_hash,
        "sha256": hashes.map(|hashes| hashes.sha256.as_str()),
        "after_header": hashes.and_then(|hashes| hashes.after_header.as_deref()),
        "old_hash": hashes.and_then(|hashes| hashes.old.as_deref()),
    })
}

fn entry_as_json(entry: &Entry) -> Value {
    let mut value = match &entry.card {
        Ok(card) => card_as_json(card, entry.hashes.as_ref()),
        Err(problem) => json!({"problem": problem}),
    };
    value["path"] = entry.path.display().to_string().into();
    value["name"] = entry.name.as_str().into();
    value["kind"] = entry.group.name().into();
    value["size_bytes"] = entry.size_bytes.into();
    value["preview"] = entry.preview.as_ref().map(|path| path.display().to_string()).into();
    value["trigger_words"] = entry.trigger_words().into();
    value
}

pub(super) fn add(options: &FolderOptions) -> Result<(), Failure> {
    let mut catalogue = Catalogue::open(places());
    catalogue.add_folder(&options.folder).map_err(work)?;
    catalogue.scan(&mut |_, _, _| false);
    let index = catalogue.index(Activity::Idle);
    let of = index.folders.last().and_then(|folder| folder.program).map(|program| format!(" of {program}"));
    let added = std::path::absolute(&options.folder).unwrap_or_else(|_| options.folder.clone());
    let count = index.entries.iter().filter(|entry| entry.path.starts_with(&added)).count();
    print_text(&format!("added the folder{}: {count} models", of.unwrap_or_default()));
    Ok(())
}

pub(super) fn remove(options: &FolderOptions) -> Result<(), Failure> {
    Catalogue::open(places()).remove_folder(&options.folder).map_err(work)?;
    print_text("taken off the list; no file was touched");
    Ok(())
}

/// The model that `--model` means: a path as it is, else a name or hash of the library.
pub(in crate::cli) fn resolve(asked: &Path) -> Result<PathBuf, Failure> {
    if asked.exists() {
        return Ok(asked.to_owned());
    }
    let Some(name) = asked.to_str() else { return Err(missing(asked)) };
    in_library(name)?.ok_or_else(|| missing(asked))
}

/// The checkpoint of this name or hash.
fn in_library(name: &str) -> Result<Option<PathBuf>, Failure> {
    let mut catalogue = opened();
    if let Some(path) = found(&catalogue.index(Activity::Idle), name)? {
        return Ok(Some(path));
    }
    // A hash may be that of a file whose hash nobody has computed yet.
    let is_hash = (8..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let waiting = if is_hash { catalogue.index(Activity::Idle) } else { LibraryIndex::default() };
    for entry in waiting.unhashed(KindGroup::Checkpoint) {
        print_error(&format!("looking for the hash: reading {}", entry.path.display()));
        if let Err(error) = catalogue.hash(&entry.path, &mut |_| false) {
            print_error(&error.to_string());
        }
        catalogue.save();
        if let Some(path) = found(&catalogue.index(Activity::Idle), name)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The VAE or text encoder that an option means: a path as it is, else a name or hash of the library. A VAE may be a
/// whole model's.
pub(in crate::cli) fn resolve_part(asked: &Path, group: KindGroup) -> Result<PathBuf, Failure> {
    if asked.exists() {
        return Ok(asked.to_owned());
    }
    let what = if group == KindGroup::Vae { "VAE" } else { "text encoder" };
    let missing = || {
        let asked = asked.display();
        let kind = group.name();
        Failure::Usage(format!(
            "there is no such {what}: {asked}; it is no path, and no name or hash of the library (`calotype models list \
             --kind {kind}`)"
        ))
    };
    let Some(name) = asked.to_str() else { return Err(missing()) };
    let index = opened().index(Activity::Idle);
    let part = one(index.find_part(name, group), name)?;
    let whole = || if group == KindGroup::Vae { one(index.find_checkpoint(name), name) } else { Ok(None) };
    part.map_or_else(whole, |path| Ok(Some(path)))?.ok_or_else(missing)
}

/// The library's model that a recipe names: by its hash, whatever it is called here, else by its name; none where several
/// could be meant. Hashes are computed for it only when nothing that is known already fits.
pub(in crate::cli) fn recorded_model(recipe: &ReadRecipe) -> Option<PathBuf> {
    let index = opened().index(Activity::Idle);
    // Which of several it was cannot be known.
    let by = |asked: &Option<String>| found(&index, asked.as_deref()?).ok().flatten();
    let known = by(&recipe.model_hash).or_else(|| by(&recipe.model));
    known.or_else(|| in_library(recipe.model_hash.as_deref()?).ok().flatten())
}

/// The library's VAE that a recipe names: by its hash, whatever it is called here, else by its name.
pub(in crate::cli) fn recorded_vae(vae: &RecordedVae) -> Option<PathBuf> {
    let index = opened().index(Activity::Idle);
    index.find_vae(&vae.name, vae.hash.as_deref()).first().map(|entry| entry.path.clone())
}

/// The library's text encoder of this name.
pub(in crate::cli) fn recorded_text_encoder(name: &str) -> Option<PathBuf> {
    let index = opened().index(Activity::Idle);
    index.find_part(name, KindGroup::TextEncoder).first().map(|entry| entry.path.clone())
}

fn found(index: &LibraryIndex, name: &str) -> Result<Option<PathBuf>, Failure> {
    one(index.find_checkpoint(name), name)
}

fn one(found: Found<'_>, name: &str) -> Result<Option<PathBuf>, Failure> {
    match found {
        Found::Nothing => Ok(None),
        Found::One(entry) => Ok(Some(entry.path.clone())),
        Found::Many(entries) => {
            let paths: Vec<String> = entries.iter().map(|entry| format!("  {}", entry.path.display())).collect();
            Err(Failure::Usage(format!(
                "several models are called {name}; name one by its path:\n{}",
                paths.join("\n")
            )))
        }
    }
}

fn missing(asked: &Path) -> Failure {
    Failure::Usage(format!(
        "there is no such model: {}; it is no path, and no name or hash of the library (`calotype models list`)",
        asked.display()
    ))
}
