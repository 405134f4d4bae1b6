//! The loader: every layout that must load, and every damage that must be named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use calotype::checkpoint::{self, ModelFiles};
use calotype::diffusion::Interrupt;
use calotype::diffusion::pipeline::StableDiffusion;
use calotype::prompt::ParsedPrompt;
use calotype::request::{ClipSkip, Companions, Dialect};
use candle_core::{DType, Device, Tensor};

use crate::golden::{fixtures, values};

/// A copy of a tiny model that a test may damage.
pub fn copy_of(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixtures().join(name), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub fn load(folder: &Path) -> Result<StableDiffusion, String> {
    load_with(folder, &Companions::default())
}

pub fn load_with(folder: &Path, companions: &Companions) -> Result<StableDiffusion, String> {
    let text = |error: checkpoint::CheckpointError| error.to_string();
    let files = ModelFiles::at(folder).map_err(text)?;
    let description = checkpoint::describe(&files, companions).map_err(text)?;
    checkpoint::load(&description, DType::F32, &Device::Cpu, Arc::new(|_| true)).map_err(text)
}

fn error_of(folder: &Path) -> String {
    load(folder).err().expect("it loaded")
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const TEXT: &str = "text_encoder/model.safetensors";

fn edit_config(folder: &Path, part: &str, key: &str, value: serde_json::Value) {
    let path = folder.join(part);
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    std::fs::write(path, config.to_string()).unwrap();
}

/// Rewrites a file of weights through `change`.
pub fn edit_weights(path: &Path, change: impl FnOnce(&mut std::collections::HashMap<String, Tensor>)) {
    let mut tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, path).unwrap();
}

fn hidden(model: &StableDiffusion) -> Vec<f32> {
    let prompt = ParsedPrompt::negative("a red cat", 1, Dialect::A1111, &model.tokenizer).unwrap();
    let chunk = &prompt.parts[0].schedule[0].chunks[0].tokens;
    let (tower, marks) = (&model.text_encoders.towers()[0], model.tokenizer.marks());
    values(&tower.encode(&[chunk], marks, ClipSkip::default(), Interrupt::never()).unwrap().states)
}

#[test]
fn the_starter_model_loads_from_the_binary() {
    let description = checkpoint::describe(&ModelFiles::Starter, &Companions::default()).unwrap();
    assert_eq!(description.native_size_px, (192, 192));
    let cpu = Device::Cpu;
    checkpoint::load(&description, DType::F32, &cpu, Arc::new(|_| true)).unwrap();
}

#[test]
fn weights_may_be_named_with_or_without_prefix_and_stored_in_any_float() {
    let plain = copy_of("tiny-eps");
    let expected = hidden(&load(plain.path()).unwrap());
    for dtype in [DType::F32, DType::F64, DType::F16] {
        edit_weights(&plain.path().join(TEXT), |tensors| {
            *tensors = tensors
                .drain()
                .map(|(name, t)| {
                    let bare = name.trim_start_matches("text_model.").to_owned();
                    (format!("text_model.{bare}"), t.to_dtype(dtype).unwrap())
                })
                .collect();
        });
        assert_eq!(hidden(&load(plain.path()).unwrap()), expected, "{dtype:?}");
    }
}

#[test]
fn old_names_of_the_vaes_attention_load() {
    let folder = copy_of("tiny-eps");
    let image = Tensor::ones((1, 4, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let decode = |folder: &Path| values(&load(folder).unwrap().vae.decode(&image, Interrupt::never()).unwrap());
    let expected = decode(folder.path());
    edit_weights(&folder.path().join("vae/diffusion_pytorch_model.safetensors"), |tensors| {
        *tensors = tensors
            .drain()
            .map(|(name, t)| {
                let old = name
                    .replace(".to_q.", ".query.")
                    .replace(".to_k.", ".key.")
                    .replace(".to_v.", ".value.")
                    .replace(".to_out.0.", ".proj_attn.");
                // As 1x1 convolutions, as the oldest files have them.
                let is_matrix = old != name && t.rank() == 2;
                let t = if is_matrix { t.unsqueeze(2).unwrap().unsqueeze(3).unwrap() } else { t };
                (old, t)
            })
            .collect();
    });
    assert_eq!(decode(folder.path()), expected);
}

#[test]
fn a_variant_is_taken_where_there_is_no_plain_file() {
    let folder = copy_of("tiny-eps");
    let at = |name: &str| folder.path().join("unet").join(name);
    std::fs::rename(at("diffusion_pytorch_model.safetensors"), at("diffusion_pytorch_model.fp16.safetensors")).unwrap();
    load(folder.path()).unwrap();
}

#[test]
fn what_is_no_model_is_called_so() {
    let empty = tempfile::tempdir().unwrap();
    assert!(error_of(empty.path()).contains("unet/config.json is missing"), "{}", error_of(empty.path()));
    assert!(error_of(Path::new("/no/such/folder")).contains("no such file or folder"));
    let file = empty.path().join("model.safetensors");
    std::fs::write(&file, "x").unwrap();
    assert!(error_of(&file).contains("damaged model file"));
}

#[test]
fn a_family_or_part_that_is_not_known_is_refused_by_name() {
    let cases: [(&str, &str, serde_json::Value, &str); 9] = [
        ("model_index.json", "_class_name", "StableDiffusion3Pipeline".into(), "StableDiffusion3Pipeline"),
        ("unet/config.json", "_class_name", "FluxTransformer2DModel".into(), "FluxTransformer2DModel"),
        ("unet/config.json", "act_fn", "mish".into(), "mish"),
        ("unet/config.json", "addition_embed_type", "text_image".into(), "text_image"),
        (
            "unet/config.json",
            "down_block_types",
            serde_json::json!(["AttnDownBlock2D", "DownBlock2D"]),
            "AttnDownBlock2D",
        ),
        ("vae/config.json", "_class_name", "AsymmetricAutoencoderKL".into(), "AsymmetricAutoencoderKL"),
        ("text_encoder/config.json", "hidden_act", "relu6".into(), "relu6"),
        ("text_encoder/config.json", "architectures", serde_json::json!(["T5EncoderModel"]), "T5EncoderModel"),
        ("scheduler/scheduler_config.json", "prediction_type", "sample".into(), "sample"),
    ];
    for (part, key, value, name) in cases {
        let folder = copy_of("tiny-eps");
        edit_config(folder.path(), part, key, value);
        let error = error_of(folder.path());
        assert!(error.contains(name), "{part} {key}: {error}");
        assert!(error.contains("known"), "{error}");
    }
}

#[test]
fn contradictory_configurations_are_errors_not_panics() {
    let cases: [(&str, &str, serde_json::Value); 22] = [
        ("unet/config.json", "layers_per_block", 10_000_000_000_u64.into()),
        ("unet/config.json", "layers_per_block", u64::MAX.into()),
        ("unet/config.json", "layers_per_block", 0.into()),
        ("unet/config.json", "transformer_layers_per_block", 1_000_000.into()),
        ("unet/config.json", "sample_size", 1_000_000_000.into()),
        ("unet/config.json", "sample_size", (1_u64 << 62).into()),
        ("vae/config.json", "layers_per_block", 0.into()),
        ("vae/config.json", "scaling_factor", 1e300.into()),
        ("vae/config.json", "shift_factor", 1e300.into()),
        ("text_encoder/config.json", "num_hidden_layers", 0.into()),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 1_000_000_000.into()),
        ("scheduler/scheduler_config.json", "num_train_timesteps", u64::MAX.into()),
        ("scheduler/scheduler_config.json", "steps_offset", u64::MAX.into()),
        ("unet/config.json", "attention_head_dim", 3.into()),
        ("unet/config.json", "attention_head_dim", 0.into()),
        ("unet/config.json", "norm_num_groups", 0.into()),
        ("unet/config.json", "layers_per_block", serde_json::json!([1])),
        ("unet/config.json", "block_out_channels", serde_json::json!([])),
        ("unet/config.json", "in_channels", 9.into()),
        ("vae/config.json", "scaling_factor", 0.into()),
        ("vae/config.json", "block_out_channels", serde_json::json!([])),
        ("text_encoder/config.json", "num_attention_heads", 0.into()),
    ];
    for (part, key, value) in cases {
        let folder = copy_of("tiny-eps");
        edit_config(folder.path(), part, key, value.clone());
        let error = error_of(folder.path());
        assert!(error.contains(part.split('/').next().unwrap()), "{part} {key} {value}: {error}");
    }
}

#[test]
fn a_missing_tensor_is_named_with_its_file_and_shape() {
    let folder = copy_of("tiny-eps");
    edit_weights(&folder.path().join(UNET), |tensors| {
        tensors.remove("mid_block.resnets.0.conv1.weight").unwrap();
    });
    let error = error_of(folder.path());
    for part in ["mid_block.resnets.0.conv1.weight", "[16, 16, 3, 3]", "missing", UNET] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_wrong_shape_is_named_with_expected_and_found() {
    let folder = copy_of("tiny-eps");
    edit_weights(&folder.path().join(UNET), |tensors| {
        tensors.insert("conv_in.bias".to_owned(), Tensor::zeros(7, DType::F32, &Device::Cpu).unwrap());
    });
    let error = error_of(folder.path());
    for part in ["conv_in.bias", "[7]", "[8]", UNET] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error_that_names_it() {
    let folder = copy_of("tiny-eps");
    let path = folder.path().join(UNET);
    let whole = std::fs::read(&path).unwrap();
    for len in [0, 4, 8, 9, 500, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).unwrap();
        let error = error_of(folder.path());
        assert!(error.contains("damaged") && error.contains(UNET), "{len}: {error}");
    }
}

#[test]
fn a_header_that_lies_is_an_error() {
    let folder = copy_of("tiny-eps");
    let path = folder.path().join(UNET);
    let whole = std::fs::read(&path).unwrap();
    let with_header = |header: &str| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&[0; 64]);
        bytes
    };
    let huge = u64::MAX.to_le_bytes().to_vec();
    for bytes in [
        huge,
        with_header("{"),
        with_header("[1, 2]"),
        with_header(r#"{"conv_in.bias":{"dtype":"F32","shape":[8],"data_offsets":[0,16]}}"#),
        with_header(r#"{"conv_in.bias":{"dtype":"F32","shape":[99999999999,99999999999],"data_offsets":[0,16]}}"#),
        b"<!DOCTYPE html><html>not found</html>".to_vec(),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let error = error_of(folder.path());
        assert!(error.contains(UNET), "{error}");
    }
    std::fs::write(&path, &whole).unwrap();
    load(folder.path()).unwrap();
}

#[test]
fn a_missing_or_foreign_index_entry_is_an_error() {
    let folder = copy_of("tiny-v");
    let index: PathBuf = folder.path().join("unet/diffusion_pytorch_model.safetensors.index.fp16.json");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("00002-of", "00009-of")).unwrap();
    assert!(error_of(folder.path()).contains("00009-of"));
    std::fs::write(&index, text.replace("diffusion_pytorch_model.fp16-00002", "../../elsewhere-00002")).unwrap();
    assert!(error_of(folder.path()).contains("outside its folder"));
    std::fs::remove_file(&index).unwrap();
    assert!(error_of(folder.path()).contains("no weights"));
}

#[test]
fn pickled_weights_give_the_same_model() {
    let folder = copy_of("tiny-eps");
    let latents = Tensor::ones((1, 4, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let decoded = || values(&load(folder.path()).unwrap().vae.decode(&latents, Interrupt::never()).unwrap());
    let expected = decoded();
    let vae = folder.path().join("vae");
    std::fs::remove_file(vae.join("diffusion_pytorch_model.safetensors")).unwrap();
    assert!(error_of(folder.path()).contains("no weights"));
    let pickle = fixtures().join("tensor-formats/tiny-eps-vae.bin");
    std::fs::copy(pickle, vae.join("diffusion_pytorch_model.bin")).unwrap();
    assert_eq!(decoded(), expected);
}

#[test]
fn a_damaged_tokenizer_or_json_is_named() {
    let folder = copy_of("tiny-eps");
    std::fs::write(folder.path().join("tokenizer/tokenizer.json"), "{}").unwrap();
    assert!(error_of(folder.path()).contains("tokenizer"));
    std::fs::write(folder.path().join("unet/config.json"), "{\"in_channels\": \"four\"}").unwrap();
    assert!(error_of(folder.path()).contains("unet/config.json"));
}

#[test]
fn loading_stops_when_asked_to() {
    let files = ModelFiles::at(&fixtures().join("tiny-eps")).unwrap();
    let description = checkpoint::describe(&files, &Companions::default()).unwrap();
    let progress = Arc::new(|fraction: f32| fraction < 0.5);
    let stopped = checkpoint::load(&description, DType::F32, &Device::Cpu, progress);
    assert!(matches!(stopped, Err(checkpoint::CheckpointError::Cancelled)));
}

#[test]
#[cfg(unix)]
fn a_pipe_in_the_folder_is_an_error_not_a_wait() {
    for name in [UNET, "scheduler/scheduler_config.json"] {
        let folder = copy_of("tiny-eps");
        let path = folder.path().join(name);
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(error_of(folder.path()).contains("not a regular file"), "{}", error_of(folder.path()));
    }
}
