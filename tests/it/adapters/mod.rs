//! LoRAs and embeddings: what the model computes with them against the reference, and that taking them off leaves no trace.

mod command_line;
pub mod engine;
mod hostile;

use std::path::PathBuf;
use std::sync::Arc;

use calotype::checkpoint::{
    self, ActiveAdapter, Adapter, AdapterError, LiveWeights, ModelFiles, Placement, read_embedding,
};
use calotype::diffusion::Interrupt;
use calotype::diffusion::pipeline::{LearnedVectors, StableDiffusion};
use calotype::prompt::ParsedPrompt;
use calotype::request::{ClipSkip, Companions, Dialect};
use candle_core::{DType, Device, Tensor};

use crate::golden::pictures::{draw, picture_of, request_of};
use crate::golden::{Tensors, assert_close, fixtures, golden, golden_json, relative_error, values};

/// A model whose weights can be changed.
struct Changing {
    model: StableDiffusion,
    live: LiveWeights,
    golden: Tensors,
}

fn adapter_file(name: &str) -> PathBuf {
    fixtures().join("adapters").join(format!("{name}.safetensors"))
}

fn load(name: &str) -> (StableDiffusion, LiveWeights) {
    load_in(name, DType::F32)
}

fn load_in(name: &str, dtype: DType) -> (StableDiffusion, LiveWeights) {
    let files = ModelFiles::at(&fixtures().join(name)).unwrap();
    let description = checkpoint::describe(&files, &Companions::default()).unwrap();
    checkpoint::load_live(&description, &Placement::together(dtype, &Device::Cpu), Arc::new(|_| true)).unwrap()
}

fn active(adapter: &Arc<Adapter>, weight: f32) -> ActiveAdapter {
    ActiveAdapter { adapter: Arc::clone(adapter), unet_weight: weight, text_weight: weight }
}

impl Changing {
    fn new() -> Self {
        let (model, live) = load("tiny-eps");
        Self { model, live, golden: golden("adapters") }
    }

    fn read(&self, name: &str) -> Arc<Adapter> {
        Arc::new(Adapter::read(&adapter_file(name), &self.live).unwrap())
    }

    fn apply(&mut self, adapters: &[ActiveAdapter]) -> usize {
        self.live.apply(adapters, &|| false).unwrap()
    }

    fn unet(&self) -> Tensor {
        let context = self.model.unet.prepare_context(&self.golden["context"], None).unwrap();
        self.model.unet.forward(&self.golden["sample"], 501.0, &context, Interrupt::never()).unwrap()
    }

    fn text_of(&self, ids: &[u32]) -> Tensor {
        let (tower, marks) = (&self.model.text_encoders.towers()[0], self.model.tokenizer.marks());
        let states = tower.encode(&[ids], marks, ClipSkip::default(), Interrupt::never()).unwrap().states;
        states.narrow(1, 0, 12).unwrap()
    }

    fn text(&self) -> Tensor {
        let ids: Vec<i64> = self.golden["ids"].to_vec1().unwrap();
        self.text_of(&ids.into_iter().map(|id| id as u32).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(&self, case: &str) {
        // Measured: 3.5e-6.
        assert_close(&format!("{case} unet"), &self.unet(), &self.golden[&format!("{case}.unet")], 1e-5);
        assert_close(&format!("{case} text"), &self.text(), &self.golden[&format!("{case}.text")], 3e-6);
    }
}

const FORMULAS: [&str; 6] = ["kohya", "locon", "loha", "lokr", "full", "dora"];

#[test]
fn every_type_changes_the_model_as_the_reference_does() {
    let mut changing = Changing::new();
    changing.check("plain");
    assert!(!changing.unet().track_op() && !changing.text().track_op(), "a graph is recorded");
    for case in FORMULAS {
        let adapter = changing.read(case);
        assert_eq!(adapter.what_does_not_fit(), None, "{case}");
        assert!(changing.apply(&[active(&adapter, 1.0)]) > 0);
        changing.check(case);
        changing.apply(&[active(&adapter, -0.5)]);
        changing.check(&format!("{case}.minus"));
    }
    for case in ["peft", "processors"] {
        let adapter = changing.read(case);
        assert_eq!(adapter.what_does_not_fit(), None, "{case}");
        changing.apply(&[active(&adapter, 1.0)]);
        changing.check(case);
    }
}

#[test]
fn taking_all_off_gives_every_value_back_to_the_last_bit() {
    let mut changing = Changing::new();
    let before = (values(&changing.unet()), values(&changing.text()), changing.live.values().unwrap());
    let adapters: Vec<ActiveAdapter> =
        FORMULAS.iter().enumerate().map(|(i, name)| active(&changing.read(name), 0.3 + i as f32)).collect();
    assert!(changing.apply(&adapters) > 0);
    assert_ne!(changing.live.values().unwrap(), before.2);
    assert!(changing.apply(&[]) > 0);
    let after = (values(&changing.unet()), values(&changing.text()), changing.live.values().unwrap());
    assert_eq!(before, after);
    let fresh = Changing::new();
    assert_eq!(fresh.live.values().unwrap(), after.2);
}

#[test]
fn taking_all_off_gives_back_every_bit_of_weights_in_bf16_too() {
    let (_model, mut live) = load_in("tiny-eps", DType::BF16);
    let before = live.values().unwrap();
    for name in FORMULAS {
        let adapter = Arc::new(Adapter::read(&adapter_file(name), &live).unwrap());
        assert!(live.apply(&[active(&adapter, 0.8)], &|| false).unwrap() > 0, "{name}");
        assert_ne!(live.values().unwrap(), before, "{name}");
        live.apply(&[], &|| false).unwrap();
        assert_eq!(live.values().unwrap(), before, "{name}");
    }
}

#[test]
fn in_8_bits_a_lora_acts_once_the_weights_are_quantised_again_and_off_it_leaves_no_trace() {
    /// What 8 bits may change; a network as narrow as this one averages little.
    const TOLERANCE: f64 = 0.05;
    let mut changing = Changing::new();
    let adapter = changing.read(FORMULAS[0]);
    let exact = values(&changing.unet());
    changing.apply(&[active(&adapter, 0.8)]);
    let exact_with = values(&changing.unet());
    changing.apply(&[]);
    changing.model.unet.quantise().unwrap();
    let before = values(&changing.unet());
    let error = relative_error(&before, &exact);
    assert!(error > 0.0 && error < TOLERANCE, "8 bits change the U-Net's output by {error:.4}");
    changing.apply(&[active(&adapter, 0.8)]);
    changing.model.unet.quantise().unwrap();
    let error = relative_error(&values(&changing.unet()), &exact_with);
    assert!(error < TOLERANCE, "with a LoRA 8 bits change the U-Net's output by {error:.4}");
    changing.apply(&[]);
    changing.model.unet.quantise().unwrap();
    assert_eq!(values(&changing.unet()), before);
}

#[test]
fn a_lora_for_all_three_networks_of_xl_draws_the_references_picture() {
    let (model, mut live) = load("tiny-xl");
    let adapter = Arc::new(Adapter::read(&adapter_file("xl-kohya"), &live).unwrap());
    assert_eq!(live.apply(&[active(&adapter, 0.75)], &|| false).unwrap(), 7);
    let cases = golden_json("families");
    let case = cases.as_array().unwrap().iter().find(|case| case["key"] == "tiny-xl.negative").unwrap();
    let (latents, picture) = draw(&model, &request_of(case), None);
    let golden = golden("xl_adapter");
    let error = relative_error(&latents, &values(&golden["latents"]));
    let beyond = picture.iter().zip(picture_of(&golden["picture"]).iter()).filter(|(a, b)| a.abs_diff(**b) > 1).count();
    eprintln!("XL with a LoRA: latents {error:.2e}, {beyond} bytes differ by more than 1");
    assert!(error < 2e-5, "{error:e}");
    assert_eq!(beyond, 0);
}

#[test]
fn two_at_once_are_their_sum_in_any_order() {
    let mut changing = Changing::new();
    let (kohya, locon) = (changing.read("kohya"), changing.read("locon"));
    changing.apply(&[active(&kohya, 0.7), active(&locon, -0.4)]);
    changing.check("both");
    changing.apply(&[active(&locon, -0.4), active(&kohya, 0.7)]);
    changing.check("both");
    changing.apply(&[active(&kohya, 1.0), active(&locon, 0.0)]);
    changing.check("kohya");
}

#[test]
fn only_what_has_to_change_is_written_and_parts_have_their_own_weights() {
    let mut changing = Changing::new();
    let (kohya, locon) = (changing.read("kohya"), changing.read("locon"));
    let all = changing.apply(&[active(&kohya, 1.0)]);
    assert_eq!(all, kohya.len());
    assert_eq!(changing.apply(&[active(&kohya, 1.0)]), 0);
    assert_eq!(changing.apply(&[active(&kohya, 1.0), active(&locon, 1.0)]), locon.len());
    let unet_alone = ActiveAdapter { adapter: Arc::clone(&kohya), unet_weight: 1.0, text_weight: 0.0 };
    changing.apply(&[unet_alone]);
    assert_close("unet alone", &changing.unet(), &changing.golden["kohya.unet"], 1e-5);
    assert_close("plain text", &changing.text(), &changing.golden["plain.text"], 3e-6);
}

#[test]
fn a_stop_on_the_way_leaves_weights_that_are_known_for_what_they_are() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let mut changing = Changing::new();
    let kohya = changing.read("kohya");
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 3;
    let stopped = changing.live.apply(&[active(&kohya, 1.0)], &stop);
    assert!(matches!(stopped, Err(AdapterError::Cancelled)));
    changing.apply(&[active(&kohya, 1.0)]);
    changing.check("kohya");
    changing.apply(&[]);
    changing.check("plain");
}

#[test]
fn a_model_whose_file_is_written_to_is_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&fixtures().join("tiny-eps"), folder.path());
    let files = ModelFiles::at(folder.path()).unwrap();
    let description = checkpoint::describe(&files, &Companions::default()).unwrap();
    let (_, mut live) =
        checkpoint::load_live(&description, &Placement::together(DType::F32, &Device::Cpu), Arc::new(|_| true))
            .unwrap();
    let before = live.values().unwrap();
    let kohya = Arc::new(Adapter::read(&adapter_file("kohya"), &live).unwrap());
    let path = folder.path().join("unet/diffusion_pytorch_model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.push(0);
    std::fs::write(&path, bytes).unwrap();
    let error = live.apply(&[active(&kohya, 1.0)], &|| false).unwrap_err().to_string();
    assert!(error.contains("load the model again") && error.contains("diffusion_pytorch_model"), "{error}");
    assert_eq!(live.values().unwrap(), before);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn an_embedding_reads_as_diffusers_reads_it() {
    let mut changing = Changing::new();
    let by_encoder = read_embedding(&adapter_file("ink-style"), &[16]).unwrap();
    assert_eq!(by_encoder[0].len(), 3 * 16);
    changing.model.learn(&[LearnedVectors { word: "ink-style".to_owned(), by_encoder }]).unwrap();
    for (prompt, dialect) in [("a ink-style cat", Dialect::A1111), ("a embedding:ink-style cat", Dialect::ComfyUi)] {
        let parsed = ParsedPrompt::positive(prompt, 1, dialect, &changing.model.tokenizer).unwrap();
        assert_eq!(parsed.count(&changing.model.tokenizer).tokens, plain_tokens(&changing, "a cat") + 3);
        let chunk = &parsed.parts[0].schedule[0].chunks[0];
        let found = changing.text_of(&chunk.tokens);
        assert_close(prompt, &found, &changing.golden["embedding.text"], 3e-6);
    }
    changing.model.learn(&[]).unwrap();
    changing.check("plain");
}

#[test]
fn an_embedding_of_the_web_ui_and_one_for_both_encoders_of_xl_are_read() {
    let formats = fixtures().join("tensor-formats");
    let expected = candle_core::safetensors::load(formats.join("expected.safetensors"), &Device::Cpu).unwrap();
    let found = read_embedding(&formats.join("embedding.pt"), &[8]).unwrap();
    assert_eq!(found, [values(&expected["embedding.pt/*"])]);
    let both = read_embedding(&adapter_file("xl"), &[16, 32]).unwrap();
    assert_eq!(both[0].len() / 16, both[1].len() / 32);
}

fn plain_tokens(changing: &Changing, text: &str) -> usize {
    changing.model.tokenizer.ids(text).unwrap().len()
}

#[test]
fn an_embedding_is_never_parted_and_has_its_weight() {
    let mut changing = Changing::new();
    let by_encoder = read_embedding(&adapter_file("ink-style"), &[16]).unwrap();
    changing.model.learn(&[LearnedVectors { word: "ink-style".to_owned(), by_encoder }]).unwrap();
    let tokenizer = &changing.model.tokenizer;
    let letters = |count: usize| vec!["!"; count].join(" ");
    for (before, expected) in [(72, vec![75]), (73, vec![73, 3]), (74, vec![74, 3])] {
        let prompt = format!("{} (ink-style:1.5)", letters(before));
        let parsed = ParsedPrompt::positive(&prompt, 1, Dialect::A1111, tokenizer).unwrap();
        let chunks = &parsed.parts[0].schedule[0].chunks;
        assert_eq!(chunks.iter().map(|chunk| chunk.words.len()).collect::<Vec<_>>(), expected);
        let last = chunks.last().unwrap();
        assert!(last.weights[1 + last.words.len() - 3..=last.words.len()].iter().all(|&weight| weight == 1.5));
    }
}

#[test]
fn what_is_made_for_another_family_is_refused_by_name() {
    let (_, other) = load("tiny-v");
    let error = Adapter::read(&adapter_file("kohya"), &other).unwrap_err().to_string();
    assert!(error.contains("16 wide") && error.contains("24 wide") && error.contains("kohya"), "{error}");
    let error = read_embedding(&adapter_file("one"), &[768]).unwrap_err().to_string();
    assert!(error.contains("16 wide") && error.contains("Stable Diffusion 1"), "{error}");
    let error = read_embedding(&adapter_file("xl"), &[16]).unwrap_err().to_string();
    assert!(error.contains("text encoders 16 and 32 wide") && error.contains("texts 16 wide"), "{error}");
    // As many text encoders, of other widths: both sides are told apart.
    let error = read_embedding(&adapter_file("xl"), &[16, 16]).unwrap_err().to_string();
    assert!(error.contains("16 and 32 wide") && error.contains("16 and 16 wide"), "{error}");
    let error = read_embedding(&adapter_file("kohya"), &[16]).unwrap_err().to_string();
    assert!(error.contains("LoRA"), "{error}");
    assert_eq!(read_embedding(&adapter_file("one"), &[16]).unwrap()[0].len(), 16);
}
