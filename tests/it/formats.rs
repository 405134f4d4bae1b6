//! The same weights as safetensors, as a pickle and as GGUF: one picture.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use calotype::request::Companions;
use candle_core::quantized::gguf_file;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};

use crate::checkpoint::load_with;
use crate::single_files::{Twins, picture_by};

type Tensors = HashMap<String, Tensor>;

type Writer = fn(&Path, &Tensors);

/// By the endings of their files.
const WRITERS: [(&str, Writer); 2] = [("ckpt", write_pickle), ("gguf", write_gguf)];

/// Writes tensors of f16 as torch.save does, in a zip, within a `state_dict`; each has a storage of its own.
fn write_pickle(path: &Path, tensors: &Tensors) {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(b'X');
        out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        out.extend(text.as_bytes());
    };
    let number = |out: &mut Vec<u8>, number: usize| {
        out.push(b'J');
        out.extend(i32::try_from(number).unwrap().to_le_bytes());
    };
    let tuple = |out: &mut Vec<u8>, numbers: &[usize]| {
        out.push(b'(');
        for n in numbers {
            number(out, *n);
        }
        out.push(b't');
    };
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut pickle = b"\x80\x02}(".to_vec();
    text(&mut pickle, "state_dict");
    pickle.extend(b"}(");
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        text(&mut pickle, name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend(b"ctorch\nHalfStorage\n");
        text(&mut pickle, &key.to_string());
        text(&mut pickle, "cpu");
        number(&mut pickle, tensor.elem_count());
        pickle.extend(b"tQ");
        number(&mut pickle, 0);
        tuple(&mut pickle, tensor.dims());
        tuple(&mut pickle, tensor.stride());
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        zip.start_file(format!("model/data/{key}"), stored).unwrap();
        let numbers = tensor.flatten_all().unwrap().to_vec1::<half::f16>().unwrap();
        zip.write_all(&numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    }
    pickle.extend(b"uu.");
    zip.start_file("model/data.pkl", stored).unwrap();
    zip.write_all(&pickle).unwrap();
    zip.finish().unwrap();
}

/// Writes tensors as stable-diffusion.cpp does, unquantised.
fn write_gguf(path: &Path, tensors: &Tensors) {
    let tensors: Vec<(&str, QTensor)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let plain = tensor.to_dtype(DType::F32).unwrap();
            (name.as_str(), QTensor::quantize(&plain, GgmlDType::F16).unwrap())
        })
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    gguf_file::write(&mut std::fs::File::create(path).unwrap(), &[], &tensors).unwrap();
}

fn read(path: &Path) -> Tensors {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F16).unwrap())).collect()
}

fn drawn(path: &Path, companions: &Companions) -> Vec<u8> {
    picture_by(&load_with(path, companions).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[test]
fn every_family_draws_the_same_picture_from_a_pickle_and_from_gguf() {
    for family in ["sd1", "sd1-inpaint", "sd2", "xl", "xl-ssd", "xl-refiner"] {
        let twins = Twins::new(family, DType::F16, 0.3);
        let expected = drawn(&twins.file(), &Companions::default());
        let tensors = read(&twins.file());
        for (name, write) in WRITERS.map(|(ending, write)| (format!("model.{ending}"), write)) {
            let path = twins.root.path().join(&name);
            write(&path, &tensors);
            assert!(drawn(&path, &Companions::default()) == expected, "{family} from {name}");
        }
    }
}

/// OpenCLIP's names as stable-diffusion.cpp writes them.
fn as_in_sd_cpp(name: &str) -> String {
    let Some(inner) = name.strip_prefix("conditioner.embedders.1.model.") else {
        return name.replace("conditioner.embedders.0.transformer.", "cond_stage_model.transformer.");
    };
    let rules = [
        ("token_embedding.weight", "embeddings.token_embedding.weight"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("transformer.resblocks.", "encoder.layers."),
        ("attn.in_proj_", "self_attn.in_proj."),
        ("attn.out_proj", "self_attn.out_proj"),
        ("ln_1.", "layer_norm1."),
        ("ln_2.", "layer_norm2."),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
        ("ln_final.", "final_layer_norm."),
    ];
    let renamed = rules.iter().fold(inner.to_owned(), |name, (from, to)| name.replacen(from, to, 1));
    format!("cond_stage_model.1.transformer.text_model.{renamed}")
}

#[test]
fn stable_diffusion_cpps_names_and_projections_shaped_as_convolutions_draw_the_same_picture() {
    let twins = Twins::new("xl", DType::F16, 0.3);
    let expected = drawn(&twins.file(), &Companions::default());
    let tensors = read(&twins.file());
    let path = twins.root.path().join("sd-cpp.gguf");
    let renamed = tensors.iter().map(|(name, tensor)| (as_in_sd_cpp(name), tensor.clone())).collect();
    write_gguf(&path, &renamed);
    assert!(drawn(&path, &Companions::default()) == expected, "names of stable-diffusion.cpp");
    let mut count = 0;
    let shaped = tensors.into_iter().map(|(name, tensor)| {
        let is_projection = name.ends_with(".proj_in.weight") || name.ends_with(".1.proj_out.weight");
        let dims = tensor.dims().to_vec();
        let tensor = match dims.as_slice() {
            [rows, columns] if is_projection => {
                count += 1;
                tensor.reshape((*rows, *columns, 1, 1)).unwrap()
            }
            _ => tensor,
        };
        (name, tensor)
    });
    let path = twins.root.path().join("shaped.ckpt");
    write_pickle(&path, &shaped.collect());
    assert!(count > 1);
    let close = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 1;
    let found = drawn(&path, &Companions::default());
    assert!(found.len() == expected.len() && found.iter().zip(&expected).all(close), "convolutions of one pixel");
}

#[test]
fn parts_from_pickles_and_gguf_draw_the_same_picture() {
    for (family, stages) in [
        ("sd1", &["cond_stage_model.transformer."][..]),
        ("sd2", &["cond_stage_model.model."]),
        ("xl", &["conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."]),
    ] {
        let twins = Twins::new(family, DType::F16, 0.3);
        let expected = drawn(&twins.file(), &Companions::default());
        let whole = read(&twins.file());
        let part = |prefix: &str| -> Tensors {
            let below =
                |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()));
            whole.iter().filter_map(below).collect()
        };
        for (extension, write) in WRITERS {
            let at = |name: String| twins.root.path().join(name).with_extension(extension);
            let texts: Vec<_> =
                stages.iter().enumerate().map(|(n, stage)| (at(format!("text-{n}")), part(stage))).collect();
            let (unet, vae) = (at("unet".to_owned()), at("vae".to_owned()));
            write(&unet, &part("model.diffusion_model."));
            write(&vae, &part("first_stage_model."));
            for (path, tensors) in &texts {
                write(path, tensors);
            }
            let text_encoders = texts.into_iter().map(|(path, _)| path).collect();
            // What it predicts stands beside a model, not inside its U-Net.
            let prediction = (family == "sd2").then_some(calotype::request::PredictionOverride::V);
            let companions = Companions { vae: Some(vae), text_encoders, prediction };
            assert!(drawn(&unet, &companions) == expected, "{family} from parts in .{extension}");
        }
    }
}
