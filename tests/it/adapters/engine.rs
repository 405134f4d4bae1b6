//! The inference thread with LoRAs and embeddings: one job after the other, each as if it were the first.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use calotype::inference::cancel::CancelToken;
use calotype::inference::device::DeviceChoice;
use calotype::inference::message::{Command, Event, Job, JobId, ModelOrder, ModelSource, Previews};
use calotype::inference::spawn;
use calotype::request::{
    Accelerations, AdapterUse, ClipSkip, Dialect, EmbeddingUse, Emphasis, GenerationRequest, GuidanceRescale,
    GuidanceScale, ImageSize, MicroConditioning, NoiseSourceKind, Precision, SamplerKind, SamplerOptions, ScheduleKind,
    Seed, SeedOptions, Steps,
};
use calotype::worker::{Waited, Worker};

use super::adapter_file;
use crate::golden::fixtures;

struct Engine {
    worker: Worker<Command, Event>,
    jobs: u64,
}

/// The pixels, or why there are none; and the warnings.
type Made = (Result<Vec<u8>, String>, Vec<String>);

impl Engine {
    fn new() -> Self {
        let worker = spawn(DeviceChoice::Cpu, Precision::F32, Arc::new(|| {})).unwrap();
        let source = ModelSource::OnDisk(fixtures().join("tiny-eps"));
        worker.send(Command::Load(ModelOrder { source, ..ModelOrder::default() })).unwrap();
        Self { worker, jobs: 0 }
    }

    fn make(&mut self, adapters: &[(PathBuf, f64)], embeddings: &[EmbeddingUse]) -> Made {
        self.jobs += 1;
        let used = |(path, weight): &(PathBuf, f64)| AdapterUse {
            name: "x".to_owned(),
            path: path.clone(),
            unet_weight: *weight,
            text_weight: *weight,
        };
        let job = Job {
            id: JobId(self.jobs),
            request: request("a ink-style cat"),
            start_image: None,
            adapters: adapters.iter().map(used).collect(),
            embeddings: embeddings.to_vec(),
            previews: Previews::Offered,
            preview_decoder: None,
            cancel: CancelToken::new(),
        };
        self.worker.send(Command::Generate(Box::new(job))).unwrap();
        let mut warnings = Vec::new();
        loop {
            match self.worker.next_within(Duration::from_mins(1)) {
                Waited::Event(Event::Warned { text, .. }) => warnings.push(text),
                Waited::Event(Event::Finished { image, .. }) => return (Ok(image.as_raw().clone()), warnings),
                Waited::Event(Event::Failed { error, .. }) => return (Err(error), warnings),
                Waited::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn pixels(&mut self, adapters: &[(PathBuf, f64)], embeddings: &[EmbeddingUse]) -> Vec<u8> {
        self.make(adapters, embeddings).0.unwrap()
    }
}

#[test]
fn a_job_is_as_if_it_were_the_first_whatever_was_applied_before() {
    let mut engine = Engine::new();
    let plain = engine.pixels(&[], &[]);
    let kohya = [(adapter_file("kohya"), 0.8)];
    let both = [(adapter_file("locon"), -0.5), (adapter_file("kohya"), 0.8)];
    let ink = [EmbeddingUse { word: "ink-style".to_owned(), path: adapter_file("ink-style") }];
    let first = [engine.pixels(&kohya, &[]), engine.pixels(&both, &ink), engine.pixels(&[], &ink)];
    assert!(first.iter().all(|pixels| *pixels != plain));
    assert_eq!(engine.pixels(&[], &[]), plain);
    for (index, expected) in first.iter().enumerate().rev() {
        let mut fresh = Engine::new();
        let found = match index {
            0 => fresh.pixels(&kohya, &[]),
            1 => fresh.pixels(&both, &ink),
            _ => fresh.pixels(&[], &ink),
        };
        assert_eq!(&found, expected);
    }
}

#[test]
fn a_file_that_fails_fails_its_job_alone_and_what_fits_nowhere_is_warned_of() {
    let mut engine = Engine::new();
    let plain = engine.pixels(&[], &[]);
    let (failed, _) = engine.make(&[(adapter_file("kohya"), 1.0), (adapter_file("nowhere"), 1.0)], &[]);
    assert!(failed.unwrap_err().contains("nowhere"));
    let wrong = [EmbeddingUse { word: "ink-style".to_owned(), path: adapter_file("xl") }];
    assert!(engine.make(&[], &wrong).0.unwrap_err().contains("xl.safetensors"));
    assert_eq!(engine.pixels(&[], &[]), plain);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.safetensors");
    let mut tensors = candle_core::safetensors::load(adapter_file("kohya"), &candle_core::Device::Cpu).unwrap();
    let odd = tensors.values().next().unwrap().clone();
    tensors.insert("lora_unet_of_no_layer.lora_up.weight".to_owned(), odd);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let (_, warnings) = engine.make(&[(path, 1.0)], &[]);
    assert!(warnings.len() == 1 && warnings[0].contains("lora_unet_of_no_layer"), "{warnings:?}");
}

pub fn request(prompt: &str) -> GenerationRequest {
    GenerationRequest {
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        size: ImageSize::new(64, 64).unwrap(),
        steps: Steps::new(3).unwrap(),
        guidance: GuidanceScale::new(3.0).unwrap(),
        guidance_rescale: GuidanceRescale::default(),
        accelerations: Accelerations::default(),
        sampler: SamplerKind::Euler,
        sampler_options: SamplerOptions::default(),
        schedule: ScheduleKind::Model,
        sigmas: None,
        noise_source: NoiseSourceKind::TorchCpu,
        seed: Seed(1),
        seed_options: SeedOptions::default(),
        clip_skip: ClipSkip::default(),
        emphasis: Emphasis::default(),
        dialect: Dialect::default(),
        template: None,
        micro_conditioning: MicroConditioning::default(),
        image_to_image: None,
    }
}
