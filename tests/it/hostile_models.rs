//! Changed model files of every format, put through everything that reads them: an error or a model, never a panic, and
//! no memory by a number of the file. A thousand files a time; `CALOTYPE_HOSTILE_FILES=100000 cargo test --release --test
//! it -- hostile_models` looks further, `CALOTYPE_HOSTILE_SEED` elsewhere.

use std::path::Path;
use std::sync::Arc;

use calotype::checkpoint::{self, Adapter, LiveWeights, ModelFiles, Placement};
use calotype::request::Companions;
use candle_core::{DType, Device};

use crate::checkpoint::copy_of;
use crate::golden::fixtures;

/// The yaml that may lie beside a checkpoint.
const SIDECAR: &[u8] =
    b"model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    parameterization: \"v\"\n";
/// Numbers where readers go wrong.
const EDGES: [u64; 8] = [0, 1, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, 1 << 62, u64::MAX];
/// What the formats' structure is made of.
const SIGNS: &[u8] = b"\0\xff{}[]\":,-.0129(RqhctX}u0bK\x80KGJMP";

/// Numbers from a seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    /// One to four changes; most of what can go wrong stands at the start or, in a zip, at the end.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return;
            }
            let near = bytes.len().min(2000);
            let place = match self.below(4) {
                0 => self.below(bytes.len()),
                1 => bytes.len() - 1 - self.below(near),
                _ => self.below(near),
            };
            match self.below(8) {
                0 => bytes.truncate(place),
                1 | 2 => bytes[place] ^= 1 << self.below(8),
                3 | 4 => bytes[place] = SIGNS[self.below(SIGNS.len())],
                5 => {
                    let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
                    let width = [1, 2, 4, 8][self.below(4)].min(bytes.len() - place);
                    bytes[place..place + width].copy_from_slice(&edge[..width]);
                }
                6 => {
                    let piece = bytes[place..(place + 1 + self.below(64)).min(bytes.len())].to_vec();
                    let at = self.below(bytes.len());
                    bytes.splice(at..at, piece);
                }
                _ => _ = bytes.drain(place..(place + 1 + self.below(64)).min(bytes.len())),
            }
        }
    }

    /// A changed safetensors file mostly keeps a header length that fits: behind it is where the work is.
    fn mend(&mut self, bytes: &mut [u8], grown: isize) {
        if self.below(4) == 0 {
            return;
        }
        if let Some(length) = bytes.first_chunk_mut::<8>() {
            let mended = u64::from_le_bytes(*length).saturating_add_signed(grown as i64);
            *length = mended.to_le_bytes();
        }
    }
}

/// Whole files, each with its length on disk: behind the bytes lie zeros.
fn corpus() -> Vec<(String, Vec<u8>, u64)> {
    let mut all = Vec::new();
    for folder in ["tensor-formats", "adapters"] {
        for entry in std::fs::read_dir(fixtures().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            if path.is_file() && path.file_stem().unwrap() != "expected" {
                all.push((path.display().to_string(), bytes.clone(), bytes.len() as u64));
            }
        }
    }
    for family in ["sd1", "sd2", "xl"] {
        let (bytes, len) = hollow(family);
        all.push((family.to_owned(), bytes, len));
    }
    all.sort();
    all
}

/// A single file's header and its length with the numbers, which are zeros.
fn hollow(family: &str) -> (Vec<u8>, u64) {
    let names = std::fs::read_to_string(fixtures().join("single-file").join(family).join("names.tsv")).unwrap();
    let (mut end, mut header) = (0, serde_json::Map::new());
    for line in names.lines() {
        let [_, _, name, shape] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let shape: Vec<u64> = shape.split('x').map(|side| side.parse().unwrap()).collect();
        let start = end;
        end += 2 * shape.iter().product::<u64>();
        let name = name.split('#').next().unwrap();
        let tensor = serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.to_owned(), tensor);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_slice()].concat();
    let len = bytes.len() as u64 + end;
    (bytes, len)
}

fn load(files: &ModelFiles) -> Result<LiveWeights, checkpoint::CheckpointError> {
    let description = checkpoint::describe(files, &Companions::default())?;
    Ok(checkpoint::load_live(&description, &Placement::together(DType::F32, &Device::Cpu), Arc::new(|_| true))?.1)
}

/// Everything that reads a stranger's file.
fn read_all_ways(path: &Path, live: &LiveWeights) {
    _ = checkpoint::inspect(path);
    _ = checkpoint::read_embedding(path, &[16]);
    _ = checkpoint::read_embedding(path, &[768]);
    if let Ok(adapter) = Adapter::read(path, live) {
        assert!(adapter.len() < 10_000);
    }
    if let Ok(files) = ModelFiles::at(path) {
        _ = load(&files);
    }
}

fn number(key: &str, usual: u64) -> u64 {
    std::env::var(key).ok().map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn changed_model_files_are_errors_or_models_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = load(&ModelFiles::at(&fixtures().join("tiny-eps")).unwrap()).unwrap();
    let corpus = corpus();
    let seed = number("CALOTYPE_HOSTILE_SEED", 1);
    for round in 0..number("CALOTYPE_HOSTILE_FILES", 1000) {
        let mut draws = Draws(seed << 32 ^ round);
        draws.below(1);
        let (name, whole, len) = &corpus[round as usize % corpus.len()];
        let (mut bytes, mut sidecar) = (whole.clone(), SIDECAR.to_vec());
        draws.change(&mut bytes);
        let grown = bytes.len() as isize - whole.len() as isize;
        if *len > whole.len() as u64 || name.ends_with(".safetensors") {
            draws.mend(&mut bytes, grown);
        }
        draws.change(&mut sidecar);
        let path = folder.path().join("x.ckpt");
        std::fs::write(&path, &bytes).unwrap();
        let behind = len - whole.len() as u64;
        std::fs::File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 + behind).unwrap();
        std::fs::write(path.with_extension("yaml"), sidecar).unwrap();
        let read = std::panic::AssertUnwindSafe(|| read_all_ways(&path, &tiny));
        assert!(std::panic::catch_unwind(read).is_ok(), "round {round} of seed {seed}, from {name}");
    }
}

#[test]
fn changed_configurations_of_a_folder_are_errors_or_models_and_never_a_panic() {
    let seed = number("CALOTYPE_HOSTILE_SEED", 1);
    let model = copy_of("tiny-eps");
    let texts = ["unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"];
    for round in 0..number("CALOTYPE_HOSTILE_FILES", 1000) / 2 {
        let mut draws = Draws(!seed << 32 ^ round);
        let path = model.path().join(texts[round as usize % texts.len()]);
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        draws.change(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let read =
            std::panic::AssertUnwindSafe(|| ModelFiles::at(model.path()).and_then(|files| load(&files).map(drop)));
        let text = String::from_utf8_lossy(&bytes);
        assert!(std::panic::catch_unwind(read).is_ok(), "round {round} of seed {seed}: {text}");
        std::fs::write(&path, whole).unwrap();
    }
}
