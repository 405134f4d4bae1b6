//! TAESD files: read under all their names, refused when they are something else, told apart in lists.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use calotype::checkpoint::card::ModelKind;
use calotype::checkpoint::{ModelFiles, describe, inspect, read_taesd};
use calotype::diffusion::Interrupt;
use calotype::diffusion::tiny_decoder::TinyDecoder;
use calotype::inference::cancel::CancelToken;
use calotype::inference::device::DeviceChoice;
use calotype::inference::message::{Command, Event, Job, JobId, ModelOrder, ModelSource, Previews};
use calotype::inference::spawn;
use calotype::request::{Companions, Precision};
use calotype::worker::{Waited, Worker};
use candle_core::{DType, Device};
use image::RgbImage;

use crate::adapters::engine::request;
use crate::golden::{fixtures, golden, values};

fn file(name: &str) -> PathBuf {
    fixtures().join("taesd").join(name)
}

fn read(path: &Path) -> Result<TinyDecoder, String> {
    read_taesd(path, DType::F32, &Device::Cpu).map_err(|error| error.to_string())
}

#[test]
fn a_decoder_is_the_same_under_all_its_names_and_in_all_its_files() {
    let latents = &golden("taesd")["narrow.latents"];
    let decoded = |name: &str| values(&read(&file(name)).unwrap().decode(latents, Interrupt::never()).unwrap());
    let expected = decoded("tiny");
    for name in [
        "tiny/diffusion_pytorch_model.safetensors",
        "taesd_decoder.safetensors",
        "taesdxl_decoder.pth",
        "taesd.safetensors",
    ] {
        assert_eq!(decoded(name), expected, "{name}");
    }
}

#[test]
fn what_shows_no_previews_is_refused_by_what_it_is() {
    for (path, what) in [
        (file("taesd_encoder.safetensors"), "TAESD's encoder"),
        (file("taesd3_decoder.safetensors"), "Stable Diffusion 3 or Flux (16 latent channels)"),
        (fixtures().join("tiny-eps"), "a folder without an AutoencoderTiny"),
        (fixtures().join("tiny-eps/vae/diffusion_pytorch_model.safetensors"), "a VAE"),
        (fixtures().join("tensor-formats/kind-upscaler.pth"), "an upscaler"),
        (file("tiny/config.json"), "config.json"),
        (file("nowhere.pth"), "nowhere.pth"),
    ] {
        let error = read(&path).unwrap_err();
        assert!(error.contains(what), "{error}");
        assert!(error.contains(&path.file_name().unwrap().to_string_lossy().into_owned()), "{error}");
    }
    let error = describe(&ModelFiles::at(&file("taesd_decoder.safetensors")).unwrap(), &Companions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("a TAESD, which the settings take for previews"), "{error}");
}

#[test]
fn a_cut_or_altered_decoder_is_an_error_or_another_picture_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let whole = candle_core::safetensors::load(file("taesd_decoder.safetensors"), &Device::Cpu).unwrap();
    let path = folder.path().join("x.safetensors");
    for name in whole.keys() {
        let mut without = whole.clone();
        without.remove(name);
        candle_core::safetensors::save(&without, &path).unwrap();
        assert!(read(&path).is_err(), "without {name}");
        let mut other = whole.clone();
        let wider = other[name].repeat((2,)).unwrap_or_else(|_| other[name].clone());
        other.insert(name.clone(), wider);
        candle_core::safetensors::save(&other, &path).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("x.safetensors"), "{error}");
    }
}

#[test]
fn lists_call_a_decoder_taesd_and_its_encoder_by_name() {
    let kind = |name: &str| inspect(&file(name)).unwrap().kind;
    for name in ["taesd_decoder.safetensors", "taesdxl_decoder.pth", "taesd.safetensors"] {
        assert_eq!(kind(name), ModelKind::Taesd, "{name}");
    }
    assert_eq!(kind("tiny/diffusion_pytorch_model.safetensors"), ModelKind::Taesd);
    for (name, what) in [("taesd_encoder.safetensors", "encoder"), ("taesd3_decoder.safetensors", "16 latent channels")]
    {
        assert!(matches!(kind(name), ModelKind::Foreign(found) if found.contains(what)), "{name}");
    }
}

/// What one job came to.
#[derive(Default)]
struct Made {
    pixels: Vec<u8>,
    /// For each step its picture, if it has one.
    steps: Vec<Option<Arc<RgbImage>>>,
    warnings: Vec<String>,
}

struct Engine(Worker<Command, Event>);

impl Engine {
    fn with(source: ModelSource) -> Self {
        let worker = spawn(DeviceChoice::Cpu, Precision::F32, Arc::new(|| {})).unwrap();
        worker.send(Command::Load(ModelOrder { source, ..ModelOrder::default() })).unwrap();
        Self(worker)
    }

    fn make(&self, preview_decoder: Option<&Path>, previews: Previews) -> Made {
        let job = Job {
            id: JobId(1),
            request: request("a red cat"),
            start_image: None,
            adapters: Vec::new(),
            embeddings: Vec::new(),
            previews,
            preview_decoder: preview_decoder.map(Path::to_owned),
            cancel: CancelToken::new(),
        };
        self.0.send(Command::Generate(Box::new(job))).unwrap();
        let mut made = Made::default();
        loop {
            match self.0.next_within(Duration::from_mins(1)) {
                Waited::Event(Event::Step { picture, .. }) => made.steps.push(picture),
                Waited::Event(Event::Warned { text, .. }) => made.warnings.push(text),
                Waited::Event(Event::Finished { image, .. }) => {
                    made.pixels.clone_from(image.as_raw());
                    return made;
                }
                Waited::Event(Event::ModelFailed { error, .. } | Event::Failed { error, .. }) => panic!("{error}"),
                Waited::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn every_step_that_is_sent_is_a_picture_and_the_finished_one_is_the_same_to_the_byte() {
    let engine = Engine::with(ModelSource::OnDisk(fixtures().join("tiny-eps")));
    let plain = engine.make(None, Previews::Sent);
    assert_eq!(plain.steps, [None, None, None]);
    let decoder = file("taesdxl_decoder.pth");
    let sharp = engine.make(Some(&decoder), Previews::Sent);
    assert_eq!((&sharp.pixels, sharp.warnings.len()), (&plain.pixels, 0));
    // 16 latent pixels a side, which TAESD makes 8 times larger.
    let pictures: Vec<_> = sharp.steps.iter().map(|picture| picture.as_ref().unwrap()).collect();
    assert_eq!(pictures.len(), 3);
    assert!(pictures.iter().all(|picture| picture.dimensions() == (128, 128)));
    assert_ne!(pictures[0], pictures[2]);
    assert_eq!(engine.make(Some(&decoder), Previews::Offered).pixels, plain.pixels);
    assert_eq!(engine.make(None, Previews::Sent).steps, plain.steps);
}

#[test]
fn a_decoder_that_cannot_be_used_is_told_of_once_and_previews_stay_rough() {
    let engine = Engine::with(ModelSource::OnDisk(fixtures().join("tiny-eps")));
    let plain = engine.make(None, Previews::Sent);
    let wrong = file("taesd3_decoder.safetensors");
    let first = engine.make(Some(&wrong), Previews::Sent);
    assert!(first.warnings.len() == 1 && first.warnings[0].contains("taesd3_decoder"), "{:?}", first.warnings);
    assert_eq!((&first.pixels, &first.steps), (&plain.pixels, &plain.steps));
    let again = engine.make(Some(&wrong), Previews::Sent);
    assert_eq!((again.warnings.len(), &again.steps), (0, &plain.steps));
    let other = engine.make(Some(&file("nowhere.pth")), Previews::Sent);
    assert!(other.warnings.len() == 1 && other.warnings[0].contains("nowhere.pth"), "{:?}", other.warnings);
    let right = engine.make(Some(&file("tiny")), Previews::Sent);
    assert!(right.warnings.is_empty() && right.steps.iter().all(Option::is_some));
}
