//! Repositories of a Hugging Face on this machine: what is taken of them, with whose token, out of which cache.

use std::path::Path;
use std::sync::Arc;

use calotype::downloads::message::{Event, Order};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::download_desk::{Desk, await_length, weights};
use crate::loopback::{End, Length, Reply, Request, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const INDEX: &str = r#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"],
    "feature_extractor": [null, null]}"#;

/// The files of one repository.
#[derive(Clone, Default)]
pub struct Repo(Vec<(String, Vec<u8>)>);

impl Repo {
    pub fn with(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.push((path.to_owned(), bytes.into()));
        self
    }

    /// A model folder with everything that repositories of models have beside it.
    pub fn model() -> Self {
        Self::default()
            .with("README.md", "read me")
            .with("model_index.json", INDEX)
            .with("scheduler/scheduler_config.json", "{}")
            .with("tokenizer/special/added.json", "[]")
            .with("tokenizer/vocab.json", "{}")
            .with("unet/config.json", "{\"a\": 1}")
            .with("unet/diffusion_pytorch_model-00001-of-00002.safetensors", weights(9000))
            .with("unet/diffusion_pytorch_model-00002-of-00002.safetensors", weights(5000))
            .with("unet/diffusion_pytorch_model.bin", weights(9000))
            .with("unet/diffusion_pytorch_model.fp16.safetensors", weights(4000))
            .with("unet/diffusion_pytorch_model.safetensors.index.json", "{}")
            .with("v1-5.ckpt", weights(20_000))
            .with("vae/diffusion_pytorch_model.safetensors", weights(3000))
    }

    /// Every file of a folder.
    pub fn of_folder(folder: &Path) -> Self {
        let read = |path: String| (std::fs::read(folder.join(&path)).unwrap(), path);
        Self(tree(folder).into_iter().map(read).map(|(bytes, path)| (path, bytes)).collect())
    }

    fn bytes(&self, path: &str) -> &[u8] {
        &self.0.iter().find(|(name, _)| name == path).unwrap().1
    }

    /// Weights stand in LFS, the rest in git.
    fn entry(path: &str, bytes: &[u8]) -> serde_json::Value {
        let git = hex(&Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize());
        if is_in_lfs(path) {
            let lfs = json!({"oid": hex(&Sha256::digest(bytes)), "size": bytes.len(), "pointerSize": 130});
            return json!({"type": "file", "path": path, "size": bytes.len(), "oid": git, "lfs": lfs});
        }
        json!({"type": "file", "path": path, "size": bytes.len(), "oid": git})
    }

    /// The hub's answer; weights are behind a redirection to `storage`.
    pub fn answer(&self, request: &Request, storage: &str) -> Reply {
        let path = request.path.replace("%2F", "/");
        let tree = format!("/api/models/o/n/tree/{COMMIT}");
        if path == "/api/models/o/n/revision/main" {
            return Reply::new(200, json!({"sha": COMMIT, "gated": false}).to_string());
        }
        if let Some(rest) = path.strip_prefix(&tree) {
            let (folder, query) = rest.split_once('?').unwrap_or((rest, ""));
            let folder = format!("{}/", folder.trim_start_matches('/')).trim_start_matches('/').to_owned();
            let inside = self.0.iter().filter(|(path, _)| path.starts_with(&folder));
            let mut entries: Vec<_> = inside.map(|(path, bytes)| Self::entry(path, bytes)).collect();
            entries.push(json!({"type": "directory", "path": "unet", "size": 0, "oid": "x"}));
            return page(&entries, query, &tree);
        }
        if let Some(file) = path.strip_prefix(&format!("/o/n/resolve/{COMMIT}/")) {
            if is_in_lfs(file) && !storage.is_empty() {
                return Reply::redirect(format!("{storage}/{file}"));
            }
            return Reply::file(request, self.bytes(file), "\"e\"");
        }
        Reply::new(404, "").with("X-Error-Code", "RepoNotFound")
    }
}

fn is_in_lfs(path: &str) -> bool {
    [".safetensors", ".ckpt", ".bin"].iter().any(|ending| path.ends_with(ending))
}

/// The first half of a list, and where the other is.
fn page(entries: &[serde_json::Value], query: &str, tree: &str) -> Reply {
    let (first, second) = entries.split_at(entries.len() / 2);
    if query.contains("cursor") {
        return Reply::new(200, json!(second).to_string());
    }
    Reply::new(200, json!(first).to_string()).with("Link", format!("<{tree}?{query}&cursor=2>; rel=\"next\""))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A hub whose weights lie on the same machine.
pub fn hub(repo: Repo) -> Server {
    Server::start(move |request, _| repo.answer(request, ""))
}

/// Every file below a folder with `/` between, sorted.
fn tree(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files.extend(tree(&path).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            files.push(name);
        }
    }
    files.sort();
    files
}

const PLAIN: [&str; 8] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/special/added.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
    "unet/diffusion_pytorch_model.safetensors.index.json",
];

#[test]
fn of_a_repository_the_model_is_taken_and_nothing_else() {
    let server = hub(Repo::model());
    let desk = Desk::new(&server.origin());
    let (path, fetched) = desk.fetched("o/n");
    assert_eq!(path, desk.path("o--n"));
    assert_eq!(tree(&path), PLAIN);
    assert_eq!(desk.names(), ["o--n"]);
    for name in PLAIN {
        assert!(std::fs::read(path.join(name)).unwrap() == Repo::model().bytes(name), "{name}");
    }
    assert!(fetched > 14_000 && fetched < 15_000, "{fetched}");
    assert_eq!(desk.fetched("https://huggingface.co/o/n"), (path.clone(), 0));
    // Other weights come beside those that are there.
    let half = Order { variant: Some("fp16".to_owned()), ..desk.order("o/n@main") };
    assert!(matches!(desk.events(half).last(), Some(Event::Finished { fetched: 4000, .. })));
    assert_eq!(tree(&path).len(), PLAIN.len() + 1);
    let none = Order { variant: Some("bf16".to_owned()), ..desk.order("o/n") };
    assert!(desk.error(none).contains("it has fp16"));
}

#[test]
fn the_token_goes_to_the_endpoint_and_nowhere_else() {
    let storage = Server::start(|request, _| Reply::file(request, Repo::model().bytes(&request.path[1..]), "\"e\""));
    let elsewhere = storage.other_origin();
    let server = Server::start(move |request, _| Repo::model().answer(request, &elsewhere));
    let mut desk = Desk::new(&server.origin());
    desk.surroundings.token = Some("hf_secret".to_owned());
    let (path, _) = desk.fetched("o/n");
    assert_eq!(tree(&path), PLAIN);
    assert_eq!(storage.requests().len(), 2);
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
    let to_hub = server.requests();
    assert!(to_hub.iter().all(|request| request.header("authorization") == Some("Bearer hf_secret")));
    // An address anywhere else does not get it either, nor does the same machine on another port.
    desk.fetched(&format!("{}/v1-5.ckpt", storage.origin()));
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_half_model_is_never_listed_and_gone_on_with() {
    let weight = "unet/diffusion_pytorch_model-00002-of-00002.safetensors";
    let is_first = std::sync::atomic::AtomicBool::new(true);
    let server = Server::start(move |request, _| {
        let reply = Repo::model().answer(request, "");
        let stops = request.path.ends_with(weight) && is_first.swap(false, std::sync::atomic::Ordering::Relaxed);
        if stops { reply.silent_after(3000) } else { reply }
    });
    let desk = Desk::new(&server.origin());
    let worker = desk.start(desk.order("o/n"));
    await_length(&desk.path(&format!(".o--n.partial/{weight}.part")), 3000);
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("another download is writing"), "{error}");
    drop(worker);
    assert_eq!(desk.names(), [".o--n.partial"]);
    let (path, fetched) = desk.fetched("o/n");
    assert_eq!((tree(&path).as_slice(), desk.names()), (PLAIN.map(str::to_owned).as_slice(), vec!["o--n".to_owned()]));
    // What was whole is not fetched again; only the rest of the second shard and its index came.
    assert_eq!(fetched, 2002);
    assert!(std::fs::read(path.join(weight)).unwrap() == weights(5000));
}

#[test]
fn what_has_changed_is_fetched_again_and_nothing_else() {
    let server = hub(Repo::model());
    let desk = Desk::new(&server.origin());
    let (path, _) = desk.fetched("o/n");
    // As long as before, but another text: only its checksum tells.
    std::fs::write(path.join("unet/config.json"), "{\"a\": 2}").unwrap();
    assert_eq!(desk.fetched("o/n").1, 8);
    assert_eq!(std::fs::read(path.join("unet/config.json")).unwrap(), b"{\"a\": 1}");
    std::fs::remove_file(path.join("tokenizer/vocab.json")).unwrap();
    assert_eq!(desk.fetched("o/n").1, 2);
    assert_eq!((tree(&path).as_slice(), desk.names()), (PLAIN.map(str::to_owned).as_slice(), vec!["o--n".to_owned()]));
}

#[test]
fn a_repository_of_one_checkpoint_gives_that_and_of_several_none() {
    let server = hub(Repo::default().with("README.md", "x").with("deep/v1.safetensors", weights(9000)));
    let desk = Desk::new(&server.origin());
    assert_eq!(desk.fetched("o/n"), (desk.path("v1.safetensors"), 9000));
    let server = hub(Repo::default().with("a.safetensors", weights(10)).with("b.ckpt", weights(20)));
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("o/n/a.safetensors") && error.contains("o/n/b.ckpt"), "{error}");
    assert_eq!(desk.fetched("o/n/b.ckpt"), (desk.path("b.ckpt"), 20));
    let error = desk.error(desk.order("o/n/B.ckpt"));
    assert!(error.contains("no such file"), "{error}");
    let server = hub(Repo::default().with("README.md", "x"));
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("holds no Stable Diffusion model"), "{error}");
}

#[test]
fn a_file_of_a_model_is_fetched_alone_by_id_and_by_page() {
    let server = hub(Repo::model());
    let desk = Desk::new(&server.origin());
    assert_eq!(
        desk.fetched("o/n/vae/diffusion_pytorch_model.safetensors"),
        (desk.path("diffusion_pytorch_model.safetensors"), 3000)
    );
    let page = format!("{}/o/n/blob/main/v1-5.ckpt", server.origin());
    assert_eq!(desk.fetched(&page), (desk.path("v1-5.ckpt"), 20_000));
    let sha256 = Some("0".repeat(64).parse().unwrap());
    let error = desk.error(Order { sha256, ..desk.order("o/n") });
    assert!(error.contains("only be given for a single file"), "{error}");
}

#[test]
fn closed_doors_say_what_opens_them() {
    for (status, code, hint) in [
        (401, "GatedRepo", "accept it on"),
        (403, "GatedRepo", "set HF_TOKEN"),
        (401, "RepoNotFound", "without a login, or it does not exist"),
        (403, "", "set HF_TOKEN"),
        (404, "RevisionNotFound", "no such revision"),
    ] {
        let server = Server::start(move |_, _| Reply::new(status, "").with("X-Error-Code", code));
        let desk = Desk::new(&server.origin());
        let error = desk.error(desk.order("o/n"));
        assert!(error.contains(hint), "{error}");
        assert!(desk.names().is_empty());
        assert_eq!(server.requests().len(), 1);
    }
    // The listing is open, the file is not: the page that is named is the model's.
    let server = Server::start(|request, _| {
        let is_file = request.path.contains("/resolve/");
        if is_file { Reply::new(403, "").with("X-Error-Code", "GatedRepo") } else { Repo::model().answer(request, "") }
    });
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains(&format!("{}/o/n,", server.origin())), "{error}");
}

/// A cache as Hugging Face's programs leave it, with some files of a repository.
fn cache(root: &Path, repo: &Repo, kept: &[&str]) {
    let base = root.join("models--o--n");
    std::fs::create_dir_all(base.join("refs")).unwrap();
    std::fs::create_dir_all(base.join("blobs")).unwrap();
    std::fs::write(base.join("refs/main"), COMMIT).unwrap();
    for path in kept {
        let place = base.join("snapshots").join(COMMIT).join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let blob = base.join("blobs").join(hex(&Sha256::digest(repo.bytes(path))));
        std::fs::write(&blob, repo.bytes(path)).unwrap();
        #[cfg(unix)]
        if !place.exists() {
            std::os::unix::fs::symlink(&blob, &place).unwrap();
        }
        #[cfg(not(unix))]
        std::fs::copy(&blob, &place).unwrap();
    }
}

#[test]
fn what_a_cache_has_is_not_fetched() {
    let server = hub(Repo::model());
    let mut desk = Desk::new(&server.origin());
    let root = tempfile::tempdir().unwrap();
    let shards = [PLAIN[5], PLAIN[6]];
    cache(root.path(), &Repo::model(), &shards);
    // A blob whose bytes are not what its name says is not believed.
    let blobs = root.path().join("models--o--n/blobs");
    std::fs::write(blobs.join(hex(&Sha256::digest(weights(5000)))), vec![1; 5000]).unwrap();
    desk.surroundings.cache = Some(root.path().to_owned());
    let (path, fetched) = desk.fetched("o/n");
    assert_eq!(tree(&path), PLAIN);
    assert!(std::fs::read(path.join(PLAIN[6])).unwrap() == weights(5000));
    assert!(fetched > 5000 && fetched < 6000, "{fetched}");
}

#[test]
fn offline_only_the_cache_is_asked() {
    let server = Server::start(|_, _| Reply::new(500, ""));
    let mut desk = Desk::new(&server.origin());
    desk.surroundings.is_offline = true;
    let root = tempfile::tempdir().unwrap();
    desk.surroundings.cache = Some(root.path().to_owned());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("HF_HUB_OFFLINE") && error.contains(root.path().to_str().unwrap()), "{error}");
    cache(root.path(), &Repo::model(), &PLAIN[..5]);
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("HF_HUB_OFFLINE") && error.contains("not whole"), "{error}");
    cache(root.path(), &Repo::model(), &PLAIN);
    let (path, fetched) = desk.fetched("o/n");
    assert_eq!((tree(&path).as_slice(), fetched), (PLAIN.map(str::to_owned).as_slice(), 0));
    assert_eq!(desk.fetched(&format!("o/n/{}", PLAIN[5])).1, 0);
    let error = desk.error(desk.order("o/n/other.ckpt"));
    assert!(error.contains("o/n/other.ckpt"), "{error}");
    let error = desk.error(desk.order("https://example.org/x.ckpt"));
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn a_listing_cannot_lack_parts_name_places_outside_or_go_on_for_ever() {
    let incomplete = hub(Repo::default().with("model_index.json", INDEX).with("unet/config.json", "{}"));
    let desk = Desk::new(&incomplete.origin());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("o/n is not whole") && desk.names().is_empty(), "{error}");
    let evil = Repo::default().with("model_index.json", INDEX).with("unet/../../../evil.json", "x");
    let evil = evil.with("unet/model.safetensors", "x").with("tokenizer/a.json", "x").with("scheduler/a.json", "x");
    let server = hub(evil);
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("could do harm"), "{error}");
    for reply in [
        Reply { length: Length::Chunked, end: End::Endless, ..Reply::new(200, " ".repeat(4000)) },
        Reply::new(200, "{\"sha\": "),
        Reply::new(200, "<html>"),
    ] {
        let server = Server::start(move |_, _| reply.clone());
        let desk = Desk::new(&server.origin());
        let error = desk.error(desk.order("o/n"));
        assert!(error.contains("was not understood"), "{error}");
    }
    let server = Server::start(|request, before| {
        if !request.path.contains("/tree/") {
            return Repo::model().answer(request, "");
        }
        Reply::new(200, "[]").with("Link", format!("</api/models/o/n/tree/x?cursor={before}>; rel=\"next\""))
    });
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("no end"), "{error}");
}

#[test]
fn damaged_weights_and_a_full_disk_leave_no_model() {
    let server = Server::start(|request, _| {
        let reply = Repo::model().answer(request, "");
        if request.path.ends_with("00001-of-00002.safetensors") {
            Reply { body: vec![9; 9000], ..reply }
        } else {
            reply
        }
    });
    let mut desk = Desk::new(&server.origin());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("checksum"), "{error}");
    assert_eq!(desk.names(), [".o--n.partial"]);
    desk.surroundings.free_space = Arc::new(|_| Ok(1000));
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("not enough room"), "{error}");
    desk.surroundings.endpoint = "huggingface".to_owned();
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("HF_ENDPOINT"), "{error}");
}

#[test]
fn a_second_download_is_kept_out_of_a_folder_that_is_being_put_together() {
    let server = Server::start(|request, _| Repo::model().answer(request, ""));
    let desk = Desk::new(&server.origin());
    let lock = std::fs::File::create(desk.path(".o--n.lock")).unwrap();
    lock.lock().unwrap();
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("another download is writing this") && error.contains(".o--n.lock"), "{error}");
    assert_eq!(desk.names(), [".o--n.lock"]);
    drop(lock);
    let (path, _) = desk.fetched("o/n");
    assert_eq!((path, desk.names()), (desk.path("o--n"), vec!["o--n".to_owned()]));
}

#[test]
fn names_of_a_listing_are_shown_without_what_a_terminal_obeys() {
    let server = Server::start(|request, _| {
        let evil = Repo::default().with("\u{1b}[31mevil\u{7}.safetensors", "x").with("b.safetensors", "x");
        evil.answer(request, "")
    });
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order("o/n"));
    assert!(error.contains("\n  o/n/\\u{1b}[31mevil\\u{7}.safetensors"), "{error}");
    assert!(!error.contains(|c: char| c.is_control() && c != '\n'), "{error}");
}
