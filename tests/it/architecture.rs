//! Holds the map in `src/lib.rs`: which room may use which, and the habits that a reader can rely on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::source::Tokens;

/// One line of the map.
struct Room {
    name: &'static str,
    /// Rooms, or modules of rooms, that it may use beside itself.
    ours: &'static [&'static str],
    /// Crates that it may use beside those of [`EVERYBODYS`].
    outside: &'static [&'static str],
    /// Parts of the standard library that only some rooms may use: those of [`GUARDED`] that this one may.
    guarded: &'static [&'static str],
}

/// Crates that every room may use.
const EVERYBODYS: &[&str] = &["thiserror", "tracing"];

/// Parts of the standard library that are not everybody's: a room is pure unless its line says otherwise.
const GUARDED: &[&str] = &["std::fs", "std::env", "std::net", "std::process", "std::time", "std::thread"];

/// The rooms whose threads are theirs to start. Everybody else's come from `worker`.
const STARTS_THREADS: &[&str] = &["worker"];

/// The room that may hold `unsafe`: fast arithmetic.
const MAY_BE_UNSAFE: &[&str] = &["kernels"];

/// The map: a line here for each line of the table in `src/lib.rs`, in the same words for machines.
const MAP: &[Room] = &[
    Room {
        name: "main",
        ours: &["app", "cli", "folders", "inference", "gallery", "library", "downloads"],
        outside: &["anyhow", "tracing_subscriber"],
        guarded: &["std::env", "std::process"],
    },
    Room { name: "request", ours: &[], outside: &["serde"], guarded: &[] },
    Room { name: "prompt", ours: &["request"], outside: &["tokenizers", "serde", "serde_json"], guarded: &[] },
    Room { name: "folders", ours: &[], outside: &["directories"], guarded: &["std::fs", "std::env"] },
    Room { name: "printable", ours: &[], outside: &[], guarded: &[] },
    Room { name: "latent_image", ours: &[], outside: &["image"], guarded: &[] },
    Room { name: "worker", ours: &[], outside: &["crossbeam_channel"], guarded: &["std::thread", "std::time"] },
    Room {
        name: "kernels",
        ours: &[],
        outside: &["candle_core", "candle_nn", "gemm", "half", "libc", "rayon"],
        guarded: &["std::env"],
    },
    Room {
        name: "diffusion",
        ours: &["request", "prompt", "latent_image", "kernels"],
        outside: &["candle_core", "candle_nn", "serde", "serde_json", "image"],
        guarded: &[],
    },
    Room {
        name: "checkpoint",
        ours: &["printable", "request", "prompt", "diffusion", "kernels"],
        outside: &[
            "candle_core",
            "candle_nn",
            "safetensors",
            "flate2",
            "half",
            "rayon",
            "serde",
            "serde_json",
            "sha2",
            "zip",
        ],
        guarded: &["std::fs"],
    },
    Room {
        name: "inference",
        ours: &["request", "prompt", "latent_image", "worker", "diffusion", "checkpoint", "kernels", "folders"],
        outside: &["candle_core", "core_affinity", "crossbeam_channel", "image", "serde", "rayon"],
        guarded: &["std::env", "std::fs", "std::time", "std::thread"],
    },
    Room {
        name: "gallery",
        ours: &["request", "worker"],
        outside: &["flate2", "image", "png", "serde", "serde_json", "tempfile", "trash", "jiff"],
        guarded: &["std::fs", "std::time"],
    },
    Room {
        name: "downloads",
        ours: &["printable", "worker", "inference::cancel"],
        outside: &["fs4", "jiff", "percent_encoding", "serde", "serde_json", "sha1", "sha2", "ureq", "url"],
        guarded: &["std::fs", "std::env", "std::thread", "std::time"],
    },
    Room {
        name: "library",
        ours: &["printable", "worker", "checkpoint"],
        outside: &["notify", "serde", "serde_json", "sha2", "tempfile"],
        guarded: &["std::fs", "std::time"],
    },
    Room {
        name: "state",
        ours: &[
            "request",
            "prompt",
            "latent_image",
            "inference::message",
            "inference::cancel",
            "gallery::message",
            "gallery::record",
            "library::message",
            "library::index",
            "downloads::message",
        ],
        outside: &["image", "serde", "serde_json"],
        guarded: &["std::time"],
    },
    Room {
        name: "ui",
        ours: &[
            "state",
            "request",
            "prompt",
            "latent_image",
            "inference::message",
            "inference::cancel",
            "gallery::message",
            "gallery::record",
            "library::message",
            "library::index",
            "downloads::message",
        ],
        outside: &["egui", "eframe", "image"],
        guarded: &["std::time"],
    },
    Room {
        name: "app",
        ours: &[
            "printable",
            "request",
            "prompt",
            "latent_image",
            "worker",
            "folders",
            "inference",
            "gallery",
            "library",
            "downloads",
            "state",
            "ui",
        ],
        outside: &["eframe", "egui", "image", "rfd", "opener", "serde_json"],
        guarded: &["std::fs", "std::env", "std::process", "std::time", "std::thread"],
    },
    Room {
        name: "cli",
        ours: &[
            "printable",
            "request",
            "prompt",
            "latent_image",
            "worker",
            "folders",
            "inference",
            "gallery",
            "library",
            "downloads",
        ],
        outside: &["clap", "indicatif", "ctrlc", "image", "jiff", "serde_json"],
        guarded: &["std::fs", "std::env", "std::process", "std::time"],
    },
];

/// A file of `src/`.
struct File {
    path: PathBuf,
    /// Its module path below the crate, `["gallery", "store"]`; a `mod.rs` is its folder.
    module: Vec<String>,
    text: String,
}

impl File {
    fn room(&self) -> &str {
        &self.module[0]
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of `src/` but `lib.rs`.
fn files() -> Vec<File> {
    let source = root().join("src");
    let mut files = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && path != source.join("lib.rs") {
                let below = path.strip_prefix(&source).unwrap().with_extension("");
                let mut module: Vec<String> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
                module.pop_if(|name| name == "mod");
                files.push(File { text: std::fs::read_to_string(&path).unwrap(), path, module });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn room(name: &str) -> &'static Room {
    MAP.iter().find(|room| room.name == name).unwrap_or_else(|| {
        panic!("src/{name} is no room of the map: put the code into the room whose sentence covers it, or add a line")
    })
}

/// The crates of Cargo.toml, as code writes them.
fn crates() -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = String::new();
    let mut crates = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once('=')
            && !name.starts_with('#')
        {
            crates.insert(name.trim().trim_end_matches(".workspace").replace('-', "_"));
        }
    }
    assert!(crates.contains("candle_core"), "Cargo.toml was not read as it is written: {crates:?}");
    crates
}

/// True when `path` is `prefix` or lies below it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A path from the crate's root, of one that begins with `crate`, `calotype`, `self` or `super`.
fn from_the_root(path: &str, module: &[String]) -> Option<String> {
    let mut parts: Vec<&str> = path.split("::").collect();
    let mut base: Vec<&str> = module.iter().map(String::as_str).collect();
    match parts[0] {
        "crate" | "calotype" => return Some(parts[1..].join("::")),
        "self" | "super" => {}
        _ => return None,
    }
    while let Some("self" | "super") = parts.first().copied() {
        if parts.remove(0) == "super" {
            base.pop();
        }
    }
    base.extend(parts);
    Some(base.join("::"))
}

/// What is wrong with one mention of a path in a file, if anything.
fn objection(file: &File, path: &str, crates: &BTreeSet<String>) -> Option<String> {
    let room = room(file.room());
    if let Some(ours) = from_the_root(path, &file.module) {
        let is_free = is_below(&ours, room.name) || room.ours.iter().any(|allowed| is_below(&ours, allowed));
        return (!is_free).then(|| format!("the room `{}` may not use `crate::{ours}`", room.name));
    }
    let first = path.split("::").next().unwrap_or(path);
    if crates.contains(first) && !EVERYBODYS.contains(&first) && !room.outside.contains(&first) {
        return Some(format!("the room `{}` may not use the crate `{first}` (`{path}`)", room.name));
    }
    let guarded = GUARDED.iter().find(|part| is_below(path, part))?;
    let starts_thread = ["std::thread::spawn", "std::thread::Builder", "std::thread::scope"];
    let only_asks = *guarded == "std::thread" && !starts_thread.contains(&path) && path != "std::thread";
    let is_free = room.guarded.contains(guarded) && (*guarded != "std::thread" || only_asks || may_start(room));
    (!is_free).then(|| format!("the room `{}` may not use `{path}`", room.name))
}

fn may_start(room: &Room) -> bool {
    STARTS_THREADS.contains(&room.name)
}

fn report(objections: &[String]) {
    assert!(objections.is_empty(), "\n{}\nSee the map in src/lib.rs.\n", objections.join("\n"));
}

#[test]
fn every_room_uses_only_what_its_line_on_the_map_allows() {
    let crates = crates();
    let mut objections = Vec::new();
    for file in files() {
        for path in Tokens::of(&file.text).without_tests().paths() {
            objections.extend(objection(&file, &path, &crates).map(|why| format!("{}: {why}", file.path.display())));
        }
    }
    report(&objections);
}

#[test]
fn unsafe_stays_in_the_rooms_that_need_it() {
    let unsafe_files = files().into_iter().filter(|file| !MAY_BE_UNSAFE.contains(&file.room()));
    let found = unsafe_files.filter(|file| Tokens::of(&file.text).has("unsafe"));
    report(&found.map(|file| format!("{}: holds `unsafe`", file.path.display())).collect::<Vec<_>>());
}

#[test]
fn every_file_opens_with_its_purpose_and_stays_readable() {
    let mut objections = Vec::new();
    for file in files() {
        if !file.text.starts_with("//! ") {
            objections.push(format!("{}: does not open with `//!` and what it is for", file.path.display()));
        }
        let lines = file.text.lines().count();
        if lines > 500 {
            objections.push(format!("{}: {lines} lines are more than 500", file.path.display()));
        }
        for name in &file.module {
            if ["util", "utils", "common", "helper", "helpers", "misc", "types"].contains(&name.as_str()) {
                objections.push(format!("{}: `{name}` does not say what is in it", file.path.display()));
            }
        }
    }
    report(&objections);
}

#[test]
fn the_map_in_the_documentation_has_every_room_and_crate() {
    let documentation = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut objections = Vec::new();
    for room in MAP {
        let opening = [format!("//! | `{}` |", room.name), format!("//! | [`{}`] |", room.name)];
        let Some(line) = documentation.lines().find(|line| opening.iter().any(|opening| line.starts_with(opening)))
        else {
            objections.push(format!("src/lib.rs: no line for the room `{}`", room.name));
            continue;
        };
        for name in room.outside {
            // Code writes candle_core for candle-core, but serde_json for serde_json.
            if !line.contains(name) && !line.contains(&name.replace('_', "-")) {
                objections.push(format!("src/lib.rs: the line of `{}` does not name `{name}`", room.name));
            }
        }
        if room.guarded.contains(&"std::fs") != line.contains("std::fs") {
            objections.push(format!("src/lib.rs: the line of `{}` is wrong about `std::fs`", room.name));
        }
    }
    for file in files() {
        room(file.room());
    }
    report(&objections);
}

#[test]
fn the_guard_sees_what_it_should() {
    let crates = crates();
    let file = |module: &[&str]| File {
        path: PathBuf::new(),
        module: module.iter().map(|&part| part.to_owned()).collect(),
        text: String::new(),
    };
    let is_refused = |module: &[&str], path: &str| objection(&file(module), path, &crates).is_some();
    assert!(is_refused(&["gallery", "store"], "crate::inference::message::JobId"));
    assert!(is_refused(&["gallery"], "super::inference"));
    assert!(is_refused(&["gallery", "store"], "candle_core::Tensor"));
    assert!(is_refused(&["ui", "canvas"], "crate::inference::engine"));
    assert!(is_refused(&["ui", "canvas"], "std::fs::read"));
    assert!(is_refused(&["diffusion", "unet"], "std::time::Instant"));
    assert!(is_refused(&["app"], "std::thread::Builder"));
    assert!(is_refused(&["main"], "calotype::checkpoint::load"));
    assert!(!is_refused(&["ui", "canvas"], "crate::inference::message::JobId"));
    assert!(!is_refused(&["gallery", "store"], "super::record"));
    assert!(!is_refused(&["gallery", "store"], "std::fs::read"));
    assert!(!is_refused(&["worker"], "std::thread::Builder"));
    assert!(is_refused(&["kernels", "conv"], "std::thread::available_parallelism"));
    assert!(!is_refused(&["gallery", "store"], "tracing::warn"));
    assert!(!is_refused(&["gallery", "store"], "image"));
}
