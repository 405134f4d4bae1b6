//! Single-file checkpoints: the same weights under original names and in a folder give the same bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use calotype::diffusion::Interrupt;
use calotype::diffusion::pipeline::StableDiffusion;
use calotype::diffusion::prediction::Prediction;
use calotype::prompt::ParsedPrompt;
use calotype::request::{
    Accelerations, ClipSkip, Dialect, Emphasis, GenerationRequest, GuidanceRescale, GuidanceScale, ImageSize,
    MicroConditioning, NoiseSourceKind, SamplerKind, SamplerOptions, ScheduleKind, Seed, SeedOptions, Steps,
};
use candle_core::{DType, Device, Tensor};

use crate::checkpoint::load;
use crate::golden::pictures::draw;
use crate::golden::{fixtures, values};

/// A model with random weights, as a folder and as a file.
pub struct Twins {
    pub root: tempfile::TempDir,
}

impl Twins {
    /// `family` is a folder of `tests/fixtures/single-file`. Biases of norms and layers spread by `spread`.
    pub fn new(family: &str, dtype: DType, spread: f64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let from = fixtures().join("single-file").join(family);
        let mut parts: HashMap<&str, HashMap<String, Tensor>> = HashMap::new();
        let mut file: HashMap<String, Tensor> = HashMap::new();
        let mut thirds: HashMap<String, Vec<Tensor>> = HashMap::new();
        let names = std::fs::read_to_string(from.join("names.tsv")).unwrap();
        for (line, number) in names.lines().zip(1..) {
            let [part, theirs, original, shape] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let shape: Vec<usize> = shape.split('x').map(|side| side.parse().unwrap()).collect();
            let tensor = random(number, theirs, &shape, spread).to_dtype(dtype).unwrap();
            parts.entry(part).or_default().insert(theirs.to_owned(), tensor.clone());
            match original.split_once('#') {
                Some((name, "T")) => _ = file.insert(name.to_owned(), tensor.t().unwrap().contiguous().unwrap()),
                // The fixture lists keys before queries: the number says where each goes.
                Some((name, third)) => {
                    let places = thirds.entry(name.to_owned()).or_insert_with(|| vec![tensor.clone(); 3]);
                    places[third.parse::<usize>().unwrap()] = tensor;
                }
                None => _ = file.insert(original.to_owned(), tensor),
            }
        }
        file.extend(thirds.into_iter().map(|(name, three)| (name, Tensor::cat(&three, 0).unwrap())));
        if family == "sd2" {
            leftovers(&mut file);
        }
        for (part, tensors) in &parts {
            let stem = if part.starts_with("text_encoder") { "model" } else { "diffusion_pytorch_model" };
            let folder = root.path().join("folder").join(part);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(from.join(part).join("config.json"), folder.join("config.json")).unwrap();
            candle_core::safetensors::save(tensors, folder.join(format!("{stem}.safetensors"))).unwrap();
        }
        let folder = root.path().join("folder");
        std::fs::create_dir_all(folder.join("scheduler")).unwrap();
        let scheduler = "scheduler/scheduler_config.json";
        std::fs::copy(from.join(scheduler), folder.join(scheduler)).unwrap();
        // OpenCLIP pads with id 0; the second tokenizer is that of XL's OpenCLIP.
        for tokenizer in ["tokenizer", "tokenizer_2"] {
            if family == "sd2" || tokenizer == "tokenizer_2" {
                std::fs::create_dir_all(folder.join(tokenizer)).unwrap();
                let special = folder.join(tokenizer).join("special_tokens_map.json");
                std::fs::write(special, r#"{"pad_token": "!"}"#).unwrap();
            }
        }
        if let "xl" | "xl-ssd" = family {
            let index = r#"{"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": true}"#;
            std::fs::write(folder.join("model_index.json"), index).unwrap();
        }
        candle_core::safetensors::save(&file, root.path().join("model.safetensors")).unwrap();
        Self { root }
    }

    pub fn folder(&self) -> PathBuf {
        self.root.path().join("folder")
    }

    pub fn file(&self) -> PathBuf {
        self.root.path().join("model.safetensors")
    }

    /// Rewrites the file's tensors.
    pub fn edit(&self, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
        crate::checkpoint::edit_weights(&self.file(), change);
    }
}

/// What the published files carry beside the weights; the unused last layer of the text encoder among it.
fn leftovers(file: &mut HashMap<String, Tensor>) {
    let layer = "cond_stage_model.model.transformer.resblocks.1.";
    let last: Vec<(String, Tensor)> = file
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(layer)?.to_owned(), tensor.clone())))
        .map(|(rest, tensor)| (format!("cond_stage_model.model.transformer.resblocks.2.{rest}"), tensor))
        .collect();
    file.extend(last);
    let scalar = Tensor::new(&[1_f32], &Device::Cpu).unwrap();
    for name in [
        "model_ema.decay",
        "model_ema.diffusion_modelinput_blocks00weight",
        "alphas_cumprod",
        "cond_stage_model.model.logit_scale",
    ] {
        file.insert(name.to_owned(), scalar.clone());
    }
}

/// Numbers from a hash of their place, scaled as the layers want them.
fn random(number: u64, name: &str, shape: &[usize], spread: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1_u64 << 23) as f64 - 1.0
    };
    let (centre, scale) = match shape {
        [_] if name.ends_with("bias") => (0.0, spread),
        [_] => (1.0, 0.2),
        [_, fan_in @ ..] => (0.0, (3.0 / fan_in.iter().product::<usize>() as f64).sqrt()),
        [] => panic!("a scalar"),
    };
    let numbers: Vec<f32> = (0..count).map(|_| (centre + scale * draw()) as f32).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn picture(path: &Path) -> Vec<u8> {
    picture_by(&load(path).unwrap())
}

pub fn picture_by(model: &StableDiffusion) -> Vec<u8> {
    let request = GenerationRequest {
        prompt: "a red cat".to_owned(),
        negative_prompt: String::new(),
        size: ImageSize::new(64, 64).unwrap(),
        steps: Steps::new(2).unwrap(),
        guidance: GuidanceScale::new(5.0).unwrap(),
        guidance_rescale: GuidanceRescale::new(0.0).unwrap(),
        accelerations: Accelerations::default(),
        sampler: SamplerKind::DpmPlusPlus2M,
        sampler_options: SamplerOptions::default(),
        schedule: ScheduleKind::Karras,
        sigmas: None,
        seed_options: SeedOptions::default(),
        noise_source: NoiseSourceKind::TorchCpu,
        clip_skip: ClipSkip::default(),
        emphasis: Emphasis::default(),
        dialect: Dialect::default(),
        template: None,
        seed: Seed(7),
        micro_conditioning: MicroConditioning::default(),
        image_to_image: None,
    };
    draw(model, &request, None).1.into_raw()
}

fn hidden(model: &StableDiffusion) -> Vec<f32> {
    let prompt = ParsedPrompt::negative("a red cat", 1, Dialect::A1111, &model.tokenizer).unwrap();
    let chunk = &prompt.parts[0].schedule[0].chunks[0].tokens;
    let (tower, marks) = (&model.text_encoders.towers()[0], model.tokenizer.marks());
    values(&tower.encode(&[chunk], marks, ClipSkip::default(), Interrupt::never()).unwrap().states)
}

fn error_of(path: &Path) -> String {
    load(path).err().expect("it loaded")
}

#[test]
fn the_same_weights_give_the_same_picture_from_a_folder_and_from_a_file() {
    let families = ["sd1", "sd1-inpaint", "sd2", "xl", "xl-ssd", "xl-refiner"].map(|family| (family, DType::F16));
    for (family, dtype) in families.into_iter().chain([("sd2", DType::F32), ("sd2", DType::BF16)]) {
        // Wide enough a spread of the norms for Stable Diffusion 2's v prediction.
        let twins = Twins::new(family, dtype, 0.3);
        let (folder, file) = (load(&twins.folder()).unwrap(), load(&twins.file()).unwrap());
        assert_eq!(hidden(&folder), hidden(&file), "{family}");
        assert_eq!(folder.noise_schedule, file.noise_schedule, "{family}");
        assert_eq!(folder.tokenizer.marks(), file.tokenizer.marks(), "{family}");
        assert_eq!(folder.zeroes_empty_negative, file.zeroes_empty_negative, "{family}");
        drop((folder, file));
        let drawn = picture(&twins.file());
        assert!(drawn.iter().any(|value| *value != drawn[0]), "{family} draws one colour");
        assert_eq!(picture(&twins.folder()), drawn, "{family} as {dtype:?}");
    }
}

#[test]
fn what_the_model_predicts_is_read_from_the_file() {
    let twins = Twins::new("sd2", DType::F16, 0.05);
    let prediction = || load(&twins.file()).unwrap().noise_schedule.prediction();
    assert_eq!(prediction(), Prediction::Epsilon);
    let beside = twins.file().with_extension("yaml");
    std::fs::write(&beside, "model:\n  params:\n    parameterization: \"v\"\n").unwrap();
    assert_eq!(prediction(), Prediction::Velocity);
    // What the file itself says comes first.
    std::fs::write(&beside, "model:\n  params:\n    parameterization: eps\n").unwrap();
    assert_eq!(prediction(), Prediction::Epsilon);
    let marker = Tensor::new(&[1_f32], &Device::Cpu).unwrap();
    twins.edit(|tensors| _ = tensors.insert("v_pred".to_owned(), marker));
    assert_eq!(prediction(), Prediction::Velocity);
}

#[test]
fn a_file_without_one_of_its_parts_is_refused_by_the_parts_name() {
    for (prefix, expected) in [
        ("first_stage_model.", "no VAE (first_stage_model) inside"),
        ("cond_stage_model.", "no text encoder (cond_stage_model) inside"),
        ("model.diffusion_model.", "a VAE alone"),
    ] {
        let twins = Twins::new("sd1", DType::F16, 0.1);
        twins.edit(|tensors| tensors.retain(|name, _| !name.starts_with(prefix)));
        let error = error_of(&twins.file());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_missing_tensor_is_named_as_the_file_would_have_it() {
    let twins = Twins::new("sd1", DType::F16, 0.1);
    let name = "model.diffusion_model.output_blocks.2.1.conv.bias";
    twins.edit(|tensors| _ = tensors.remove(name).unwrap());
    let error = error_of(&twins.file());
    assert!(error.contains(name), "{error}");
}

/// A file of the right names whose numbers are all zero: a header and a hole.
fn hollow(path: &Path, shapes: &[(String, Vec<u64>)]) {
    let mut end = 0;
    let mut header = serde_json::Map::new();
    for (name, shape) in shapes {
        let start = end;
        end += 2 * shape.iter().try_fold(1_u64, |n, side| n.checked_mul(*side)).unwrap();
        let tensor = serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), tensor);
    }
    let header = serde_json::to_vec(&header).unwrap();
    std::fs::write(path, [&(header.len() as u64).to_le_bytes(), header.as_slice()].concat()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
}

#[test]
fn a_file_whose_shapes_lie_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lies.safetensors");
    let names = std::fs::read_to_string(fixtures().join("single-file/sd1/names.tsv")).unwrap();
    let shapes: Vec<(String, Vec<u64>)> = names
        .lines()
        .map(|line| {
            let [_, _, original, shape] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            (original.to_owned(), shape.split('x').map(|side| side.parse().unwrap()).collect())
        })
        .collect();
    hollow(&path, &shapes);
    load(&path).unwrap();
    // What has no bytes may have any size.
    let lies: [&[u64]; 6] = [&[], &[0], &[0, 1 << 62], &[1 << 62, 0], &[1 << 62, 0, 3, 3], &[0, 1 << 62, 1, 1]];
    // Only these tell how the model is built; the others are compared with what follows from them.
    let telling = [
        "out_layers.3.w",
        "to_k.w",
        "proj_in.w",
        "embedding.w",
        "fc1.w",
        "conv1.w",
        "conv_in.w",
        "blocks.0.0.w",
        "out.2",
    ];
    for (number, (name, _)) in shapes.iter().enumerate().filter(|(_, (n, _))| telling.iter().any(|t| n.contains(t))) {
        for lie in [number % 6, (number + 3) % 6] {
            let mut shapes = shapes.clone();
            shapes[number].1 = lies[lie].to_vec();
            hollow(&path, &shapes);
            let error = error_of(&path);
            assert!(error.contains("lies.safetensors"), "{name} as {:?}: {error}", lies[lie]);
        }
    }
}

#[test]
fn a_file_without_any_one_of_its_tensors_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gaps.safetensors");
    let names = std::fs::read_to_string(fixtures().join("single-file/sd1/names.tsv")).unwrap();
    let names: Vec<&str> = names.lines().map(|line| line.split('\t').nth(2).unwrap()).collect();
    let unet = |name: &&&str| name.starts_with("model.diffusion_model.");
    for gap in names.iter().filter(unet) {
        // Shapes do not matter: the blocks are found by their names.
        let shapes: Vec<_> = names.iter().filter(|name| *name != gap).map(|n| ((*n).to_owned(), vec![1])).collect();
        hollow(&path, &shapes);
        assert!(error_of(&path).contains("gaps.safetensors"), "{gap}");
    }
}

#[test]
fn a_file_that_is_something_else_is_refused_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let one = Tensor::zeros((4, 4, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let unet = "model.diffusion_model.input_blocks.0.0.weight";
    for (names, expected) in [
        (&["control_model.input_hint_block.0.weight", unet][..], "a ControlNet"),
        (&["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"], "a Flux model"),
        (&["lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight"], "a LoRA"),
        (&["unet.down_blocks.0.attentions.0.proj_in.lora_A.weight"], "a LoRA"),
        (&["decoder.up.0.block.0.conv1.weight"], "a VAE alone"),
        (&["something"], "without a U-Net"),
    ] {
        let tensors: HashMap<_, _> = names.iter().map(|name| ((*name).to_owned(), one.clone())).collect();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let error = error_of(&path);
        assert!(error.contains(expected), "{error}");
    }
    for (channels, expected) in [(5, "a depth model"), (8, "an editing model")] {
        let input = Tensor::zeros((4, channels, 3, 3), DType::F32, &Device::Cpu).unwrap();
        candle_core::safetensors::save(&HashMap::from([(unet.to_owned(), input)]), &path).unwrap();
        assert!(error_of(&path).contains(expected), "{}", error_of(&path));
    }
    for (bytes, expected) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"[..], "a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html></html>", "a saved web page"),
        (b"PK\x03\x04archive/data.pkl", "damaged model file, its zip"),
        (b"GGUF\x03\0\0\0", "damaged model file, its header"),
        (b"", "damaged model file"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = error_of(&path);
        assert!(error.contains(expected), "{error}");
    }
}
