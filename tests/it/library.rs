//! The model library over real folders: what files are, what is listed, what the cache saves, what a hash finds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use calotype::library::index::{Found, LibraryIndex};
use calotype::library::message::{
    Activity, Card, Command, Container, Event, Family, KindGroup, ModelKind, Parts, PredictionKind, Purpose,
};
use calotype::library::{Catalogue, Places, inspect, spawn};
use serde_json::{Value, json};

use crate::command_line::text;
use crate::golden::fixtures;

/// Tensors by name and shape.
pub type Shapes<'a> = &'a [(&'a str, &'a [usize])];

/// The bytes of a safetensors file with half-precision zeros.
pub fn safetensors(tensors: Shapes<'_>, metadata: &Value) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<usize>();
        header.insert((*name).to_owned(), json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    if !metadata.is_null() {
        header.insert("__metadata__".to_owned(), metadata.clone());
    }
    raw(&Value::Object(header).to_string(), at)
}

fn raw(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

pub fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub const SD1: Shapes<'_> = &[
    ("model.diffusion_model.input_blocks.0.0.weight", &[2, 4, 3, 3]),
    ("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", &[1, 768]),
    ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", &[2, 768]),
    ("first_stage_model.decoder.conv_in.weight", &[2, 4, 3, 3]),
    ("first_stage_model.decoder.up.0.block.0.conv1.weight", &[2, 2, 3, 3]),
];
pub const LORA: Shapes<'_> = &[
    ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", &[4, 768]),
    ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight", &[8, 4]),
    ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.alpha", &[]),
];
const VAE: Shapes<'_> =
    &[("decoder.conv_in.weight", &[2, 4, 3, 3]), ("decoder.up.0.block.0.conv1.weight", &[2, 2, 3, 3])];
const EMBEDDING: Shapes<'_> = &[("emb_params", &[3, 768])];

fn card(tensors: Shapes<'_>, metadata: &Value) -> Card {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    put(&path, &safetensors(tensors, metadata));
    inspect(&path).unwrap()
}

fn kind(tensors: Shapes<'_>) -> (ModelKind, Option<Family>) {
    let card = card(tensors, &Value::Null);
    (card.kind, card.family)
}

struct Shelf {
    root: tempfile::TempDir,
}

impl Shelf {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.root.path().join(inner)
    }

    fn put(&self, inner: &str, tensors: Shapes<'_>) {
        put(&self.path(inner), &safetensors(tensors, &Value::Null));
    }

    fn places(&self) -> Places {
        Places::new(self.path("own"), &self.path("data"), &self.path("cache"))
    }

    /// Opened anew, as at a start, and scanned.
    fn catalogue(&self) -> Catalogue {
        let mut catalogue = Catalogue::open(self.places());
        assert!(catalogue.scan(&mut |_, _, _| false));
        catalogue
    }
}

fn listed(catalogue: &Catalogue) -> BTreeMap<String, KindGroup> {
    let index = catalogue.index(Activity::Idle);
    index.entries.iter().map(|entry| (entry.name.clone(), entry.group)).collect()
}

#[test]
fn a_checkpoint_is_known_by_its_header() {
    let card = card(SD1, &json!({"modelspec.title": "Fox", "modelspec.prediction_type": "v"}));
    assert_eq!((card.kind, card.family, card.purpose), (ModelKind::Checkpoint, Some(Family::Sd1), Purpose::Pictures));
    assert_eq!((card.parts.unet, card.parts.text_encoders, card.parts.vae), (true, 1, true));
    assert_eq!((card.stored, card.prediction), (vec!["F16".to_owned()], Some(PredictionKind::V)));
    assert_eq!(card.parameters, 72 + 768 + 2 * 768 + 72 + 36);
    assert_eq!(card.notes.title.as_deref(), Some("Fox"));
}

#[test]
fn families_and_purposes_follow_the_shapes() {
    let unet = |input: usize, context: usize, label: Option<usize>| {
        let (input, context) = ([2, input, 3, 3], [1, context]);
        let label = label.map(|width| [1, width]);
        let mut tensors: Vec<(&str, &[usize])> = vec![
            ("diffusion_model.input_blocks.0.0.weight", &input),
            ("diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight", &context),
        ];
        if let Some(label) = &label {
            tensors.push(("diffusion_model.label_emb.0.0.weight", label));
        }
        let card = card(&tensors, &Value::Null);
        assert_eq!(card.kind, ModelKind::UNet);
        (card.family, card.purpose)
    };
    assert_eq!(unet(4, 2048, Some(2816)), (Some(Family::Sdxl), Purpose::Pictures));
    assert_eq!(unet(4, 1280, Some(2560)), (Some(Family::SdxlRefiner), Purpose::Pictures));
    assert_eq!(unet(9, 1024, None), (Some(Family::Sd2), Purpose::Inpainting));
    assert_eq!(unet(8, 768, None), (Some(Family::Sd1), Purpose::Editing));
}

#[test]
fn networks_are_told_apart_with_rank_and_family() {
    let lora = |network: &str, rank, family| (ModelKind::Lora { network: network.into(), rank }, family);
    assert_eq!(kind(LORA), lora("LoRA", Some(4), Some(Family::Sd1)));
    let locon: Shapes<'_> = &[
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight", &[8, 2048]),
        ("lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight", &[8, 2, 3, 3]),
        ("lora_unet_input_blocks_1_0_in_layers_2.dora_scale", &[2, 1]),
    ];
    assert_eq!(kind(locon), lora("LoCon with DoRA", Some(8), Some(Family::Sdxl)));
    let loha: Shapes<'_> =
        &[("lora_unet_x_attn2_to_k.hada_w1_a", &[8, 4]), ("lora_unet_x_attn2_to_k.hada_w1_b", &[4, 1024])];
    assert_eq!(kind(loha), lora("LoHa", Some(4), Some(Family::Sd2)));
    let lokr: Shapes<'_> = &[
        ("lora_unet_x_attn2_to_k.lokr_w1", &[4, 16]),
        ("lora_unet_x_attn2_to_k.lokr_w2_a", &[8, 2]),
        ("lora_unet_x_attn2_to_k.lokr_w2_b", &[2, 128]),
    ];
    assert_eq!(kind(lokr), lora("LoKr", Some(2), Some(Family::Sdxl)));
    let peft: Shapes<'_> = &[
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", &[4, 768]),
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", &[4, 1280]),
    ];
    assert_eq!(kind(peft), lora("LoRA", Some(4), Some(Family::Sd1)));
    let text_only: Shapes<'_> =
        &[("lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", &[4, 1280])];
    assert_eq!(kind(text_only), lora("LoRA", Some(4), Some(Family::Sdxl)));
}

#[test]
fn parts_embeddings_and_strangers_are_named() {
    assert_eq!(kind(VAE), (ModelKind::Vae, None));
    assert_eq!(kind(EMBEDDING), (ModelKind::Embedding { vectors: 3 }, Some(Family::Sd1)));
    let xl: Shapes<'_> = &[("clip_l", &[2, 768]), ("clip_g", &[2, 1280])];
    assert_eq!(kind(xl), (ModelKind::Embedding { vectors: 2 }, Some(Family::Sdxl)));
    let text: Shapes<'_> = &[("text_model.embeddings.token_embedding.weight", &[2, 1024])];
    assert_eq!(kind(text), (ModelKind::TextEncoder, Some(Family::Sd2)));
    for (name, what) in [
        ("control_model.input_blocks.0.0.weight", "a ControlNet"),
        ("lora_controlnet", "a Control-LoRA"),
        ("double_blocks.0.img_attn.qkv.weight", "a Flux model"),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", "a T5 text encoder"),
    ] {
        assert_eq!(kind(&[(name, &[2, 2])]).0, ModelKind::Foreign(what.into()), "{name}");
    }
    assert_eq!(kind(&[("something.weight", &[2, 2])]).0, ModelKind::Unknown);
}

#[test]
fn a_model_folder_is_one_card() {
    let card = inspect(&fixtures().join("tiny-eps")).unwrap();
    assert_eq!((card.kind, card.parts.text_encoders), (ModelKind::Checkpoint, 1));
    assert!(card.parts.unet && card.parts.vae && card.parameters > 1000 && card.size_bytes > card.parameters);
}

#[test]
fn pickles_and_gguf_are_told_apart_as_safetensors_are() {
    let inspect = |name: &str| inspect(&fixtures().join("tensor-formats").join(name));
    for name in ["kind-inpainting.ckpt", "kind-inpainting-old.ckpt"] {
        let card = inspect(name).unwrap();
        assert_eq!((card.kind, card.family), (ModelKind::Checkpoint, Some(Family::Sd1)), "{name}");
        assert_eq!((card.purpose, card.container), (Purpose::Inpainting, Container::Pickle), "{name}");
        assert_eq!(card.parts, Parts { unet: true, text_encoders: 1, vae: true, ema: false }, "{name}");
        // The buffer of positions is a twelfth of so small a file.
        assert_eq!((card.stored, card.parameters), (vec!["F16".to_owned(), "I64".to_owned()], 2651), "{name}");
    }
    let card = inspect("kind-embedding.pt").unwrap();
    assert_eq!((card.kind, card.family), (ModelKind::Embedding { vectors: 2 }, Some(Family::Sd1)));
    assert_eq!(inspect("tiny-eps-vae.bin").unwrap().kind, ModelKind::Vae);
    assert_eq!(inspect("kind-upscaler.pth").unwrap().kind, ModelKind::Foreign("an upscaler".into()));
    let error = inspect("evil.ckpt").unwrap_err().to_string();
    assert!(error.contains("posix.system") && error.contains("evil.ckpt"), "{error}");
    let card = inspect("quants.gguf").unwrap();
    assert_eq!(card.container, Container::Gguf);
    assert!(card.stored.contains(&"Q4_K".to_owned()) && card.stored.contains(&"Q8_0".to_owned()), "{:?}", card.stored);
}

#[test]
fn hostile_headers_are_errors_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let cut = raw(r#"{"a":{"dtype":"F16","shape":[9],"data_offsets":[0,18]}}"#, 4);
    let overflow = raw(r#"{"a":{"dtype":"F16","shape":[9],"data_offsets":[0,18446744073709551615]}}"#, 4);
    let deep = raw(&format!("{{\"a\":{}", "[".repeat(100_000)), 0);
    for bytes in [huge, cut, overflow, deep, b"{}".to_vec(), raw("[]", 0), b"<html>".to_vec(), Vec::new()] {
        put(&path, &bytes);
        let error = inspect(&path).unwrap_err().to_string();
        assert!(error.contains("x.safetensors"), "{error}");
    }
    let twice = r#"{"emb_params":{"dtype":"F16","shape":[9,768],"data_offsets":[0,13824]},
        "emb_params":{"dtype":"F16","shape":[2,768],"data_offsets":[0,3072]},
        "__metadata__":{"ss_output_name":"a\u001b[31mb","ss_epoch":3,"ss_tag_frequency":{"a":[1]},"modelspec.title":null}}"#;
    put(&path, &raw(twice, 3072));
    let card = inspect(&path).unwrap();
    assert_eq!(card.kind, ModelKind::Embedding { vectors: 2 });
    assert_eq!((card.notes.alias.as_deref(), card.notes.title), (Some("a[31mb"), None));
}

#[test]
fn the_layouts_of_other_programs_are_listed_by_their_roots() {
    let shelf = Shelf::new();
    shelf.put("a1111/models/Stable-diffusion/sub/fox.safetensors", SD1);
    shelf.put("a1111/models/Lora/ink.safetensors", LORA);
    shelf.put("a1111/models/VAE/soft.safetensors", VAE);
    shelf.put("a1111/embeddings/bad.safetensors", EMBEDDING);
    shelf.put("a1111/outputs/not-listed.safetensors", SD1);
    put(&shelf.path("a1111/models/Lora/old.pt"), b"PK\x03\x04rest");
    shelf.put("comfy/models/checkpoints/lemon.safetensors", SD1);
    shelf.put("comfy/models/loras/paint.safetensors", LORA);
    shelf.put("comfy/models/embeddings/neg.safetensors", EMBEDDING);
    shelf.put("elsewhere/far.safetensors", VAE);
    let elsewhere = shelf.path("elsewhere");
    let paths = format!("mine:\n  base_path: {}\n  vae: .\n", elsewhere.display());
    put(&shelf.path("comfy/extra_model_paths.yaml"), paths.as_bytes());
    let mut catalogue = shelf.catalogue();
    for root in ["a1111", "comfy"] {
        catalogue.add_folder(&shelf.path(root)).unwrap();
    }
    assert!(catalogue.add_folder(&shelf.path("comfy/")).unwrap_err().to_string().contains("already"));
    assert!(catalogue.scan(&mut |_, _, _| false));
    let programs: Vec<_> = catalogue.index(Activity::Idle).folders.iter().map(|folder| folder.program).collect();
    assert_eq!(programs, [None, Some("AUTOMATIC1111"), Some("ComfyUI")]);
    let expected = [
        ("bad", KindGroup::Embedding),
        ("far", KindGroup::Vae),
        ("fox", KindGroup::Checkpoint),
        ("ink", KindGroup::Lora),
        ("lemon", KindGroup::Checkpoint),
        ("neg", KindGroup::Embedding),
        ("old", KindGroup::Lora),
        ("paint", KindGroup::Lora),
        ("soft", KindGroup::Vae),
    ];
    let listed: Vec<_> = listed(&catalogue)
        .into_iter()
        .map(|(name, group)| (name.rsplit('/').next().unwrap().to_owned(), group))
        .collect();
    let mut expected: Vec<_> = expected.map(|(name, group)| (name.to_owned(), group)).into();
    expected.sort();
    let mut listed = listed;
    listed.sort();
    assert_eq!(listed, expected);
    catalogue.remove_folder(&shelf.path("comfy")).unwrap();
    assert!(catalogue.scan(&mut |_, _, _| false));
    assert_eq!(catalogue.index(Activity::Idle).entries.len(), 5);
    assert!(shelf.path("comfy/models/checkpoints/lemon.safetensors").exists());
}

#[cfg(unix)]
#[test]
fn pipes_beside_models_are_passed_over() {
    let shelf = Shelf::new();
    shelf.put("own/fox.safetensors", SD1);
    for pipe in ["own/fox.json", "comfy/extra_model_paths.yaml"] {
        std::fs::create_dir_all(shelf.path(pipe).parent().unwrap()).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(shelf.path(pipe)).status().unwrap().success());
    }
    std::fs::create_dir_all(shelf.path("comfy/models/checkpoints")).unwrap();
    let mut catalogue = shelf.catalogue();
    catalogue.add_folder(&shelf.path("own")).ok();
    catalogue.add_folder(&shelf.path("comfy")).unwrap();
    assert!(catalogue.scan(&mut |_, _, _| false));
    assert_eq!(listed(&catalogue).len(), 1);
}

#[test]
fn a_damaged_list_of_folders_is_kept_aside() {
    let shelf = Shelf::new();
    shelf.put("mine/fox.safetensors", SD1);
    let list = shelf.places().list_file;
    put(&list, br#"{"folders": ["/far/away", }"#);
    shelf.catalogue().add_folder(&shelf.path("mine")).unwrap();
    let aside = std::fs::read_to_string(list.with_extension("json.damaged")).unwrap();
    assert!(aside.contains("/far/away"));
    assert_eq!(shelf.catalogue().index(Activity::Idle).folders.len(), 2);
}

#[test]
fn any_other_folder_is_sorted_by_what_its_files_are() {
    let shelf = Shelf::new();
    shelf.put("own/a/fox.safetensors", SD1);
    shelf.put("own/ink.safetensors", LORA);
    shelf.put("own/.hidden/secret.safetensors", SD1);
    shelf.put("own/fox.safetensors.part", SD1);
    put(&shelf.path("own/broken.safetensors"), b"nonsense, and enough of it");
    put(&shelf.path("own/readme.txt"), b"words");
    put(&shelf.path("own/ink.preview.png"), b"");
    put(&shelf.path("own/ink.civitai.info"), br#"{"trainedWords": ["ink style"], "description": "<p>Ink</p>"}"#);
    std::fs::create_dir_all(shelf.path("own/folder/unet")).unwrap();
    put(&shelf.path("own/folder/model_index.json"), br#"{"_class_name": "StableDiffusionPipeline"}"#);
    put(&shelf.path("own/folder/unet/config.json"), br#"{"cross_attention_dim": 1024, "in_channels": 4}"#);
    shelf.put("own/folder/unet/diffusion_pytorch_model.safetensors", &[("x", &[1])]);
    let catalogue = shelf.catalogue();
    let index = catalogue.index(Activity::Idle);
    assert_eq!(listed(&catalogue).keys().collect::<Vec<_>>(), ["a/fox", "broken", "folder", "ink"]);
    let ink = index.find_lora("ink").first().unwrap();
    assert_eq!(ink.preview.as_deref(), Some(shelf.path("own/ink.preview.png").as_path()));
    assert_eq!((ink.trigger_words(), ink.notes.description.as_deref()), (vec!["ink style".to_owned()], Some("Ink")));
    let broken = index.entries.iter().find(|entry| entry.name == "broken").unwrap();
    assert!(broken.card.as_ref().unwrap_err().starts_with("damaged, its header"));
    assert_eq!(index.find_checkpoint("folder").first().unwrap().known().unwrap().family, Some(Family::Sd2));
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_end_and_a_file_is_listed_once() {
    let shelf = Shelf::new();
    shelf.put("own/a/fox.safetensors", SD1);
    std::os::unix::fs::symlink(shelf.path("own"), shelf.path("own/a/back")).unwrap();
    std::os::unix::fs::symlink(shelf.path("own/a"), shelf.path("own/again")).unwrap();
    std::os::unix::fs::symlink(shelf.path("none"), shelf.path("own/lost.safetensors")).unwrap();
    let catalogue = shelf.catalogue();
    assert_eq!(listed(&catalogue).len(), 2);
    let index = catalogue.index(Activity::Idle);
    assert!(index.entries.iter().any(|entry| entry.name == "lost" && entry.card.is_err()));
}

#[test]
fn what_did_not_change_is_not_opened_again() {
    let shelf = Shelf::new();
    shelf.put("own/fox.safetensors", SD1);
    shelf.put("own/ink.safetensors", LORA);
    let mut catalogue = shelf.catalogue();
    assert_eq!(catalogue.opened(), 2);
    catalogue.hash(&shelf.path("own/fox.safetensors"), &mut |_| false).unwrap();
    catalogue.save();
    let mut again = shelf.catalogue();
    assert_eq!(again.opened(), 0);
    assert_eq!(again.index(Activity::Idle).entries, catalogue.index(Activity::Idle).entries);
    shelf.put("own/fox.safetensors", VAE);
    assert!(again.scan(&mut |_, _, _| false));
    assert_eq!(again.opened(), 1);
    let index = again.index(Activity::Idle);
    let fox = index.find_part("fox", KindGroup::Vae).first().unwrap();
    assert_eq!(fox.hashes, None);
    put(&shelf.path("cache/models.json"), b"{\"version\": 1, \"files\": [damaged");
    assert_eq!(shelf.catalogue().opened(), 2);
}

#[test]
fn what_is_called_a_vae_beside_a_checkpoint_is_listed_as_a_vae() {
    let shelf = Shelf::new();
    shelf.put("own/fox.safetensors", SD1);
    // Whatever is inside, and also when it cannot be read.
    shelf.put("own/fox.vae.safetensors", SD1);
    put(&shelf.path("own/Owl.VAE.pt"), b"not a pickle");
    let index = shelf.catalogue().index(Activity::Idle);
    let groups: Vec<(&str, KindGroup)> = index.entries.iter().map(|entry| (entry.name.as_str(), entry.group)).collect();
    let expected = [("Owl.VAE", KindGroup::Vae), ("fox", KindGroup::Checkpoint), ("fox.vae", KindGroup::Vae)];
    assert_eq!(groups, expected);
    assert_eq!(index.find_checkpoint("fox").first().unwrap().name, "fox");
    assert_eq!(index.find_vae("fox.vae.safetensors", Some("0123456789")).first().unwrap().name, "fox.vae");
}

#[test]
fn a_file_is_found_by_its_hash_under_another_name() {
    let shelf = Shelf::new();
    shelf.put("own/renamed.safetensors", SD1);
    let mut catalogue = shelf.catalogue();
    assert_eq!(catalogue.unhashed(), [shelf.path("own/renamed.safetensors")]);
    let stopped = catalogue.hash(&shelf.path("own/renamed.safetensors"), &mut |_| true);
    assert!(stopped.is_err() && catalogue.unhashed().len() == 1);
    catalogue.hash(&shelf.path("own/renamed.safetensors"), &mut |_| false).unwrap();
    let sum = std::process::Command::new("sha256sum").arg(shelf.path("own/renamed.safetensors")).output().unwrap();
    let sum = text(&sum.stdout);
    let index = catalogue.index(Activity::Idle);
    let found = index.find_checkpoint(&format!("original name [{}]", &sum[..10]));
    assert!(matches!(found, Found::One(entry) if entry.name == "renamed"));
    assert_eq!(index.entries[0].hashes.as_ref().unwrap().sha256, sum[..64]);
    assert!(catalogue.unhashed().is_empty());
}

fn next_index(worker: &calotype::worker::Worker<Command, Event>) -> Arc<LibraryIndex> {
    loop {
        match worker.next().unwrap() {
            Event::Changed(index) if index.activity == Activity::Idle => return index,
            Event::Changed(_) => {}
            Event::Refused { error } => panic!("{error}"),
        }
    }
}

#[test]
fn the_thread_lists_sees_changes_after_a_rescan_hashes_and_refuses() {
    let shelf = Shelf::new();
    shelf.put("own/fox.safetensors", SD1);
    let worker = spawn(shelf.places(), Arc::new(|| {})).unwrap();
    assert_eq!(next_index(&worker).entries.len(), 1);
    shelf.put("more/ink.safetensors", LORA);
    worker.send(Command::AddFolder(shelf.path("more"))).unwrap();
    while next_index(&worker).entries.len() != 2 {}
    shelf.put("own/lemon.safetensors", SD1);
    worker.send(Command::Rescan).unwrap();
    while next_index(&worker).entries.len() != 3 {}
    worker.send(Command::Hash(true)).unwrap();
    while next_index(&worker).entries.iter().any(|entry| entry.hashes.is_none()) {}
    worker.send(Command::AddFolder(shelf.path("none"))).unwrap();
    let refused = std::iter::from_fn(|| worker.next()).find_map(|event| match event {
        Event::Refused { error } => Some(error),
        Event::Changed(_) => None,
    });
    assert!(refused.unwrap().contains("no folder"));
}

#[test]
fn a_change_is_seen_without_being_told() {
    let shelf = Shelf::new();
    shelf.put("own/fox.safetensors", SD1);
    let worker = spawn(shelf.places(), Arc::new(|| {})).unwrap();
    let first = next_index(&worker);
    if first.folders[0].is_watched {
        shelf.put("own/new/lemon.safetensors", SD1);
        while next_index(&worker).entries.len() != 2 {}
    }
}
