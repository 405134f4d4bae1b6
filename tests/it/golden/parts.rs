//! Text encoder, U-Net and VAE, each against its reference on two small models of different anatomy.

use calotype::diffusion::Interrupt;
use calotype::diffusion::pipeline::StableDiffusion;
use calotype::diffusion::unet::embedding::sinusoids;
use calotype::request::ClipSkip;
use candle_core::{DType, Tensor};

use super::device::{device, input};
use super::{assert_close, golden, golden_json, model, values};

const MODELS: [&str; 2] = ["tiny-eps", "tiny-v"];

/// As transformers truncates a text.
fn first_chunk(model: &StableDiffusion, text: &str) -> Vec<u32> {
    let marks = model.tokenizer.marks();
    let mut chunk = vec![marks.begin];
    chunk.extend(model.tokenizer.ids(text).unwrap().into_iter().take(marks.capacity()));
    chunk.push(marks.end);
    chunk.resize(marks.length, marks.padding);
    chunk
}

#[test]
fn hidden_states_are_those_of_transformers() {
    let (tensors, prompts) = (golden("text"), golden_json("text"));
    for name in MODELS {
        let model = model(name);
        for (index, prompt) in prompts[name].as_array().unwrap().iter().enumerate() {
            let chunk = first_chunk(&model, prompt.as_str().unwrap());
            let expected: Vec<i64> = tensors[&format!("{name}.{index}.ids")].to_vec1().unwrap();
            let first: Vec<i64> = chunk.iter().map(|&id| i64::from(id)).collect();
            assert_eq!(first, expected, "{name}: {prompt}");
            if let Some(expected) = tensors.get(&format!("{name}.{index}.last_hidden_state")) {
                let (tower, marks) = (&model.text_encoders.towers()[0], model.tokenizer.marks());
                let text = tower.encode(&[&chunk], marks, ClipSkip::default(), Interrupt::never()).unwrap();
                // Measured: 7.1e-7.
                assert_close(&format!("{name} text {index}"), &text.states, expected, 3e-6);
            }
        }
    }
}

#[test]
fn time_embeddings_are_those_of_diffusers() {
    let tensors = golden("unet");
    let timesteps = values(&tensors["time.timesteps"]);
    for flip in [true, false] {
        for shift in [0_u8, 1] {
            let rows: Vec<Tensor> = timesteps
                .iter()
                .map(|&t| sinusoids(f64::from(t), 32, flip, f64::from(shift), &device()).unwrap())
                .collect();
            let expected = &tensors[&format!("time.flip_{flip}.shift_{shift}")];
            // Measured: 6e-8.
            assert_close("time embedding", &Tensor::cat(&rows, 0).unwrap(), expected, 1e-6);
        }
    }
}

#[test]
fn the_unet_predicts_what_diffusers_predicts() {
    let tensors = golden("unet");
    for name in MODELS {
        let model = model(name);
        for case in ["even", "odd"] {
            let get = |key: &str| &tensors[&format!("{name}.{case}.{key}")];
            let context = model.unet.prepare_context(&input(get("context")), None).unwrap();
            let timestep = f64::from(values(get("timestep"))[0]);
            let found = model.unet.forward(&input(get("sample")), timestep, &context, Interrupt::never()).unwrap();
            // Measured: 3.3e-6.
            assert_close(&format!("{name} unet {case}"), &found, get("output"), 1e-5);
        }
    }
}

#[test]
fn a_row_of_a_batch_is_the_single_run() {
    let tensors = golden("unet");
    let model = model("tiny-eps");
    let (x, context) = (&input(&tensors["tiny-eps.even.sample"]), &input(&tensors["tiny-eps.even.context"]));
    let run = |x: &Tensor, context: &Tensor| {
        let context = model.unet.prepare_context(context, None).unwrap();
        model.unet.forward(x, 501.0, &context, Interrupt::never()).unwrap()
    };
    let row = |t: &Tensor| t.narrow(0, 1, 1).unwrap();
    // Not to the last bit: the matrix multiplication divides its sums by the number of rows. Measured: 5e-7. A picture is
    // always one row with the same shapes, so that its bytes do not depend on this.
    assert_close("second row", &row(&run(x, context)), &run(&row(x), &row(context)), 2e-6);
}

#[test]
fn the_vae_encodes_and_decodes_as_diffusers_does() {
    let tensors = golden("vae");
    let start = tensors["start_image"].to_dtype(DType::F32).unwrap();
    // [64, 64, 3] in 0..255 -> [1, 3, 64, 48] in -1..1
    let pixels = ((start.narrow(1, 0, 48).unwrap() / 127.5).unwrap() - 1.0).unwrap();
    let pixels = pixels.permute((2, 0, 1)).unwrap().unsqueeze(0).unwrap().contiguous().unwrap();
    for name in MODELS {
        let get = |key: &str| &tensors[&format!("{name}.{key}")];
        let model = model(name);
        let posterior = model.vae.encode(&input(&pixels), Interrupt::never()).unwrap();
        // Measured: 9.5e-7.
        assert_close(&format!("{name} mean"), &posterior.mean, get("mean"), 4e-6);
        assert_close(&format!("{name} logvar"), &posterior.log_variance, get("logvar"), 4e-6);
        let decoded = model.vae.decode(&input(get("latents")), Interrupt::never()).unwrap();
        assert_close(&format!("{name} decoded"), &decoded, get("decoded"), 4e-6);
    }
}
