//! Parts of a model from other files: the same weights give the same picture, under whatever names and wherever they lie.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use calotype::checkpoint::{self, ModelFiles};
use calotype::diffusion::prediction::Prediction;
use calotype::request::{Companions, PredictionOverride};
use candle_core::quantized::gguf_file;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};

use crate::checkpoint::load_with;
use crate::single_files::{Twins, picture_by};

const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";

/// A model taken apart into files of its own folder.
struct Apart {
    twins: Twins,
    whole: HashMap<String, Tensor>,
}

impl Apart {
    fn new(family: &str) -> Self {
        let twins = Twins::new(family, DType::F16, 0.3);
        let whole = candle_core::safetensors::load(twins.file(), &Device::Cpu).unwrap();
        Self { twins, whole }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.twins.root.path().join(name)
    }

    /// The tensors below `prefix`, below `other` instead.
    fn part(&self, prefix: &str, other: &str) -> HashMap<String, Tensor> {
        let renamed = |(name, tensor): (&String, &Tensor)| {
            Some((format!("{other}{}", name.strip_prefix(prefix)?), tensor.clone()))
        };
        let part: HashMap<_, _> = self.whole.iter().filter_map(renamed).collect();
        assert!(!part.is_empty(), "{prefix}");
        part
    }

    /// The same, as a file.
    fn file(&self, name: &str, prefix: &str, other: &str) -> PathBuf {
        let path = self.at(&format!("{name}.safetensors"));
        candle_core::safetensors::save(&self.part(prefix, other), &path).unwrap();
        path
    }

    /// A file of the diffusers folder.
    fn diffusers(&self, inner: &str) -> PathBuf {
        self.twins.folder().join(inner)
    }

    /// The U-Net in every naming that files have.
    fn unets(&self) -> Vec<PathBuf> {
        let mut files = vec![self.diffusers("unet/diffusion_pytorch_model.safetensors")];
        for (number, prefix) in [UNET, "diffusion_model.", ""].into_iter().enumerate() {
            files.push(self.file(&format!("unet-{number}"), UNET, prefix));
        }
        files
    }

    /// The VAE in every naming that files have.
    fn vaes(&self) -> Vec<PathBuf> {
        let mut files = vec![
            self.diffusers("vae"),
            self.diffusers("vae/diffusion_pytorch_model.safetensors"),
            self.twins.file(),
            self.twins.folder(),
        ];
        for (number, prefix) in [VAE, "vae.", ""].into_iter().enumerate() {
            files.push(self.file(&format!("vae-{number}"), VAE, prefix));
        }
        // Some trainers write the attention's names as diffusers has them into a file of the original names.
        let attention = [("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")];
        let mixed = self.part(VAE, VAE).into_iter().map(|(name, tensor)| {
            let is_norm = name.contains("attn_1.norm.");
            let renamed = attention.iter().find_map(|(original, theirs)| {
                let inside = format!(".mid.attn_1.{original}.");
                (!is_norm && name.contains(&inside)).then(|| name.replace(&inside, &format!(".mid.attn_1.{theirs}.")))
            });
            (renamed.unwrap_or(name), tensor)
        });
        files.push(self.at("vae-mixed.safetensors"));
        candle_core::safetensors::save(&mixed.collect::<HashMap<_, _>>(), &files[files.len() - 1]).unwrap();
        files
    }
}

/// Draws with every part in every naming at least once, and compares with the whole model's picture.
fn compare(apart: &Apart, texts: &[Vec<PathBuf>]) {
    let expected = picture_by(&load_with(&apart.twins.file(), &Companions::default()).unwrap());
    let (unets, vaes) = (apart.unets(), apart.vaes());
    for number in 0..unets.len().max(vaes.len()).max(texts.len()) {
        let (unet, vae) = (&unets[number % unets.len()], &vaes[number % vaes.len()]);
        let text_encoders = texts[number % texts.len()].clone();
        let companions = Companions { vae: Some(vae.clone()), text_encoders, prediction: None };
        let model =
            load_with(unet, &companions).unwrap_or_else(|error| panic!("{}, {companions:?}: {error}", unet.display()));
        assert!(picture_by(&model) == expected, "{}, {companions:?} draw another picture", unet.display());
    }
}

#[test]
fn a_stable_diffusion_1_taken_apart_draws_the_same_picture_under_every_naming() {
    let apart = Apart::new("sd1");
    let inner = "cond_stage_model.transformer.";
    let texts = [
        apart.file("clip-whole", inner, inner),
        apart.file("clip-bare", inner, ""),
        apart.file("clip-comfy", inner, "text_encoders.clip_l.transformer."),
        apart.file("clip-bald", "cond_stage_model.transformer.text_model.", ""),
        apart.diffusers("text_encoder/model.safetensors"),
        apart.diffusers("text_encoder"),
        apart.twins.file(),
    ];
    compare(&apart, &texts.map(|path| vec![path]));
}

#[test]
fn a_stable_diffusion_2_taken_apart_draws_the_same_picture_under_every_naming() {
    let apart = Apart::new("sd2");
    let inner = "cond_stage_model.model.";
    let texts = [
        apart.file("clip-whole", inner, inner),
        apart.file("clip-bare", inner, ""),
        apart.diffusers("text_encoder/model.safetensors"),
    ];
    compare(&apart, &texts.map(|path| vec![path]));
}

#[test]
fn an_xl_taken_apart_draws_the_same_picture_under_every_naming() {
    let apart = Apart::new("xl");
    let (first, last) = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.");
    let texts = [
        // In any order: which is which shows by the widths.
        vec![apart.file("g-bare", last, ""), apart.file("l-bare", first, "")],
        vec![apart.file("l", first, "text_encoders.clip_l.transformer."), apart.file("g", last, last)],
        vec![apart.diffusers("text_encoder_2/model.safetensors"), apart.diffusers("text_encoder/model.safetensors")],
        vec![apart.twins.folder()],
        vec![apart.twins.file()],
    ];
    compare(&apart, &texts);
}

#[test]
fn a_u_net_alone_may_be_a_gguf_under_bare_names() {
    let apart = Apart::new("sd1");
    let path = apart.at("unet.gguf");
    let tensors: Vec<(String, QTensor)> = apart
        .part(UNET, "")
        .into_iter()
        .map(|(name, tensor)| (name, QTensor::quantize(&tensor.to_dtype(DType::F32).unwrap(), GgmlDType::F16).unwrap()))
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut std::fs::File::create(&path).unwrap(), &[], &tensors).unwrap();
    let companions =
        Companions { vae: Some(apart.twins.file()), text_encoders: vec![apart.twins.file()], prediction: None };
    let expected = picture_by(&load_with(&apart.twins.file(), &Companions::default()).unwrap());
    assert!(picture_by(&load_with(&path, &companions).unwrap()) == expected);
}

#[test]
fn the_vae_beside_a_checkpoint_is_taken_unless_another_is_named() {
    let apart = Apart::new("sd1");
    let file = apart.twins.file();
    let beside = file.with_extension("vae.safetensors");
    // Without the last bias the picture is another.
    let mut other = apart.part(VAE, "");
    let bias = other.get_mut("decoder.conv_out.bias").unwrap();
    *bias = (&*bias + 0.5).unwrap();
    candle_core::safetensors::save(&other, &beside).unwrap();
    let used =
        |companions: &Companions| checkpoint::describe(&ModelFiles::at(&file).unwrap(), companions).unwrap().other_vae;
    let named = Companions { vae: Some(file.clone()), ..Companions::default() };
    assert_eq!(used(&Companions::default()), Some(beside.clone()));
    assert_eq!(used(&named), None, "its own is no other");
    let with_beside = picture_by(&load_with(&file, &Companions::default()).unwrap());
    let with_own = picture_by(&load_with(&file, &named).unwrap());
    assert!(with_beside != with_own);
    std::fs::remove_file(&beside).unwrap();
    assert!(picture_by(&load_with(&file, &Companions::default()).unwrap()) == with_own);
}

#[test]
fn a_folder_takes_parts_from_elsewhere_too() {
    let apart = Apart::new("xl");
    let expected = picture_by(&load_with(&apart.twins.file(), &Companions::default()).unwrap());
    let folder = apart.twins.folder();
    let lost = apart.at("lost");
    std::fs::create_dir(&lost).unwrap();
    let companions =
        Companions { vae: Some(apart.twins.file()), text_encoders: vec![apart.twins.file()], prediction: None };
    for part in ["vae", "text_encoder", "text_encoder_2"] {
        std::fs::rename(folder.join(part), lost.join(part)).unwrap();
    }
    assert!(picture_by(&load_with(&folder, &companions).unwrap()) == expected);
    let own = Companions { vae: Some(folder.clone()), ..companions.clone() };
    let error = load_with(&folder, &own).err().unwrap();
    assert!(error.contains("vae/config.json is missing"), "{error}");
    let error = load_with(&folder, &Companions { vae: None, ..companions.clone() }).err().unwrap();
    assert!(error.contains("vae/config.json is missing"), "{error}");
}

#[test]
fn the_scale_of_the_latents_is_that_of_the_models_family() {
    let (first, xl) = (Apart::new("sd1"), Apart::new("xl"));
    let with = |apart: &Apart, vae: &Path| {
        let companions = Companions { vae: Some(vae.to_owned()), ..Companions::default() };
        load_with(&apart.twins.file(), &companions).unwrap().vae.config().scaling_factor
    };
    for vae in [first.diffusers("vae"), xl.diffusers("vae"), first.twins.file(), xl.twins.file()] {
        assert_eq!(with(&first, &vae), 0.18215, "{}", vae.display());
        assert_eq!(with(&xl, &vae), 0.13025, "{}", vae.display());
    }
}

#[test]
fn what_the_user_says_of_the_prediction_comes_before_what_the_file_says() {
    let apart = Apart::new("sd2");
    let companions = |prediction| Companions { prediction, ..Companions::default() };
    for (said, expected) in [
        (None, Prediction::Velocity),
        (Some(PredictionOverride::Epsilon), Prediction::Epsilon),
        (Some(PredictionOverride::V), Prediction::Velocity),
    ] {
        for path in [apart.twins.file(), apart.twins.folder()] {
            let model = load_with(&path, &companions(said)).unwrap();
            assert_eq!(model.noise_schedule.prediction(), expected, "{said:?} {}", path.display());
        }
    }
}

#[test]
fn a_missing_part_is_refused_by_name_with_the_option_that_gives_it() {
    let apart = Apart::new("sd1");
    let unet = apart.file("unet", UNET, "");
    let vae = apart.file("vae", VAE, "");
    let refused = |companions: &Companions| load_with(&unet, companions).err().unwrap();
    let error = refused(&Companions::default());
    assert!(error.contains("no VAE") && error.contains("--vae") && error.contains("unet.safetensors"), "{error}");
    let error = refused(&Companions { vae: Some(vae.clone()), ..Companions::default() });
    assert!(error.contains("no text encoder") && error.contains("--text-encoder"), "{error}");
    // A VAE is no text encoder, nor the other way round.
    let error = refused(&Companions { text_encoders: vec![vae.clone()], vae: Some(vae), prediction: None });
    assert!(error.contains("no text encoder of CLIP in this file, it is a VAE alone"), "{error}");
    let clip = apart.file("clip", "cond_stage_model.transformer.", "");
    let error = refused(&Companions { vae: Some(clip), ..Companions::default() });
    assert!(error.contains("no VAE in this file, it is a text encoder alone"), "{error}");
    let error = refused(&Companions { vae: Some("/nowhere/vae.pt".into()), ..Companions::default() });
    assert!(error.contains("no such file or folder: /nowhere/vae.pt"), "{error}");
}

#[test]
fn a_text_encoder_of_another_family_is_refused_by_its_width() {
    let (first, xl) = (Apart::new("sd1"), Apart::new("xl"));
    let clip_l = xl.file("clip_l", "conditioner.embedders.0.transformer.", "");
    let companions = Companions { text_encoders: vec![clip_l], ..Companions::default() };
    let error = load_with(&first.twins.file(), &companions).err().unwrap();
    assert!(error.contains("128 wide in all") && error.contains("clip_l.safetensors (64)"), "{error}");
    let unet = xl.file("unet", UNET, "");
    let companions = Companions { vae: Some(xl.twins.file()), ..companions };
    let error = load_with(&unet, &companions).err().unwrap();
    assert!(error.contains("192 wide in all") && error.contains("clip_l.safetensors (64)"), "{error}");
}

#[test]
fn half_a_vae_is_refused_as_half_a_vae() {
    let apart = Apart::new("sd1");
    for (half, missing) in [("decoder.", "encoder"), ("encoder.", "decoder")] {
        let mut tensors = apart.part(VAE, "");
        tensors.retain(|name, _| name.starts_with(half));
        let path = apart.at("half.safetensors");
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let companions = Companions { vae: Some(path), ..Companions::default() };
        let error = load_with(&apart.twins.file(), &companions).err().unwrap();
        assert!(error.contains(&format!("this VAE has no {missing}")) && error.contains("half.safetensors"), "{error}");
    }
}
