//! The program itself, run as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

use crate::golden::fixtures;
use crate::single_files::Twins;

/// The program with a data folder and home of its own.
pub fn calotype(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calotype"))
        .args(arguments)
        .env("HOME", home)
        .env("CALOTYPE_DATA", home.join("data"))
        .env_remove("XDG_PICTURES_DIR")
        .env_remove("CALOTYPE_LOG")
        .current_dir(home)
        .output()
        .unwrap()
}

/// `calotype generate` with a tiny model and few steps.
pub fn generate(home: &Path, more: &[&str]) -> Output {
    let model = fixtures().join("tiny-eps");
    let mut arguments = vec!["generate", "--model", model.to_str().unwrap(), "--steps", "4", "a red cat"];
    arguments.extend(more);
    calotype(home, &arguments)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub fn assert_ends(output: &Output, code: i32, hint: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(hint), "\"{hint}\" is not in: {said}");
}

pub fn json_lines(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_same_request_gives_the_same_file_and_info_reads_it_back() {
    let home = tempfile::tempdir().unwrap();
    let picture = |name: &str| {
        let output = generate(home.path(), &["--seed", "7", "--negative", "blurry", "--output", name]);
        assert_ends(&output, 0, "");
        assert_eq!(text(&output.stdout).trim(), name);
        std::fs::read(home.path().join(name)).unwrap()
    };
    assert_eq!(picture("a.png"), picture("b.png"));
    let info = calotype(home.path(), &["info", "a.png"]);
    assert_ends(&info, 0, "");
    let info = text(&info.stdout);
    for part in ["a red cat", "Negative prompt: blurry", "Steps: 4", "Seed: 7", "Size: 64x64", "Model: tiny-eps"] {
        assert!(info.contains(part), "{info}");
    }
}

#[test]
fn info_tells_a_recipe_as_json_and_in_what_two_differ() {
    let home = tempfile::tempdir().unwrap();
    for (name, seed) in [("a.png", "7"), ("b.png", "8")] {
        assert_ends(&generate(home.path(), &["--seed", seed, "--sampler", "euler", "--output", name]), 0, "");
    }
    let told = &json_lines(&calotype(home.path(), &["info", "--json", "a.png"]))[0];
    assert_eq!((&told["tool"], &told["prompt"]), (&"Calotype".into(), &"a red cat".into()));
    assert_eq!((&told["seed"], &told["steps"], &told["width"]), (&7.into(), &4.into(), &64.into()));
    assert_eq!((&told["sampler"], &told["model"]), (&"euler".into(), &"tiny-eps".into()));
    for absent in ["negative_prompt", "model_hash", "clip_skip", "denoise", "loras"] {
        assert!(told[absent].is_null() && told.get(absent).is_some(), "{absent}: {told}");
    }
    assert_eq!(told["not_understood"], serde_json::json!([]));
    let differ = calotype(home.path(), &["info", "a.png", "b.png"]);
    assert_ends(&differ, 0, "");
    assert_eq!(text(&differ.stdout), "Seed:\n  7\n  8\n");
}

#[test]
fn every_fine_setting_is_in_the_file_and_changes_the_picture() {
    let home = tempfile::tempdir().unwrap();
    let made = |name: &str, more: &[&str]| {
        let options = [&["--seed", "7", "--output", name][..], more].concat();
        assert_ends(&generate(home.path(), &options), 0, "");
        let told = json_lines(&calotype(home.path(), &["info", "--json", name])).remove(0);
        assert_eq!(told["not_understood"], serde_json::json!([]));
        (image::open(home.path().join(name)).unwrap().into_rgb8(), told)
    };
    let (plain, _) = made("plain.png", &["--sampler", "euler-a"]);
    for (option, value, key, told) in [
        ("--eta", "0.5", "eta", serde_json::json!(0.5)),
        ("--s-noise", "1.1", "s_noise", serde_json::json!(1.1)),
        ("--guidance-rescale", "0.7", "guidance_rescale", serde_json::json!(0.7)),
        ("--seed-resize", "96x64", "seed_resize", serde_json::json!("96x64")),
        ("--ensd", "31337", "noise_seed_delta", serde_json::json!(31337)),
        ("--noise", "comfyui", "noise", serde_json::json!("comfyui")),
    ] {
        let (picture, said) = made("one.png", &["--sampler", "euler-a", option, value]);
        assert!(picture != plain, "{option}");
        assert_eq!(said[key], told, "{option}");
    }
    let (_, said) = made("churn.png", &["--sampler", "euler", "--s-churn", "4", "--s-tmin", "0.1", "--s-tmax", "9"]);
    assert_eq!((&said["s_churn"], &said["s_tmin"], &said["s_tmax"]), (&4.0.into(), &0.1.into(), &9.0.into()));
    let sigmas = ["--sampler", "euler", "--sigmas", "14.5,5,1,0"];
    let output = generate(home.path(), &[&["--seed", "7", "--output", "sigmas.png"][..], &sigmas].concat());
    assert_ends(&output, 2, "--steps");
    let model = fixtures().join("tiny-eps");
    let own = ["generate", "--model", model.to_str().unwrap(), "a red cat", "--output", "sigmas.png"];
    assert_ends(&calotype(home.path(), &[&own[..], &sigmas].concat()), 0, "");
    let said = json_lines(&calotype(home.path(), &["info", "--json", "sigmas.png"])).remove(0);
    assert_eq!((&said["steps"], &said["sigmas"]), (&3.into(), &serde_json::json!([14.5, 5.0, 1.0, 0.0])));
}

#[test]
fn models_of_stable_diffusion_xl_are_told_sizes_and_others_are_not() {
    let home = tempfile::tempdir().unwrap();
    let told = ["--original-size", "1023x515", "--crop", "12,64", "--target-size", "768x321"];
    let made = |name: &str, model: &str, more: &[&str]| {
        let model = fixtures().join(model);
        let own = ["generate", "--model", model.to_str().unwrap(), "a red cat", "--output", name, "--seed", "7"];
        let small = ["--steps", "2", "--width", "64", "--height", "64"];
        calotype(home.path(), &[&own[..], &small, more].concat())
    };
    assert_ends(&made("plain.png", "tiny-xl", &[]), 0, "");
    assert_ends(&made("told.png", "tiny-xl", &told), 0, "");
    let picture = |name: &str| image::open(home.path().join(name)).unwrap().into_rgb8();
    assert!(picture("plain.png") != picture("told.png"));
    let said = json_lines(&calotype(home.path(), &["info", "--json", "told.png"])).remove(0);
    let expected = ["1023x515", "12, 64", "768x321"].map(serde_json::Value::from);
    assert_eq!(["original_size", "crop", "target_size"].map(|key| said[key].clone()), expected);
    assert_ends(&made("no.png", "tiny-eps", &told), 2, "Stable Diffusion XL only");
    assert_ends(&made("no.png", "tiny-xl", &["--crop", "7"]), 2, "0,64");
}

#[test]
fn a_batch_of_variations_keeps_the_seed_and_counts_the_variations() {
    let home = tempfile::tempdir().unwrap();
    let varied = ["--seed", "7", "--variation-seed", "40", "--variation-strength", "0.3"];
    let output = generate(
        home.path(),
        &[&varied[..], &["--count", "2", "--output", "out", "--previews", "p", "--json"]].concat(),
    );
    assert_ends(&output, 0, "");
    let lines = json_lines(&output);
    let paths: Vec<&str> = lines.iter().filter_map(|line| line["path"].as_str()).collect();
    let told = |path: &str| json_lines(&calotype(home.path(), &["info", "--json", path])).remove(0);
    let seeds: Vec<_> =
        paths.iter().map(|path| (told(path)["seed"].clone(), told(path)["variation_seed"].clone())).collect();
    assert_eq!(seeds, [(7.into(), 40.into()), (7.into(), 41.into())]);
    // Neither run over the other's previews.
    let previews = home.path().join("p");
    assert_eq!(std::fs::read_dir(&previews).unwrap().count(), 2 * 4);
    assert!(previews.join("7-41-step-004.png").is_file());
    let alone = ["--seed", "7", "--variation-seed", "41", "--variation-strength", "0.3", "--output", "alone.png"];
    assert_ends(&generate(home.path(), &alone), 0, "");
    let bytes = |path: &str| std::fs::read(home.path().join(path)).unwrap();
    assert_eq!(bytes("alone.png"), bytes(paths[1]));
}

#[test]
fn count_makes_seeds_in_order_and_json_tells_every_step() {
    let home = tempfile::tempdir().unwrap();
    let output = generate(home.path(), &["--seed", "10", "--count", "3", "--output", "out", "--json"]);
    assert_ends(&output, 0, "");
    let lines = json_lines(&output);
    let of = |event: &str| lines.iter().filter(|l| l["event"] == event).cloned().collect::<Vec<_>>();
    assert_eq!(of("loading").last().unwrap()["fraction"], 1.0);
    assert_eq!(of("step").len(), 12);
    let finished = of("finished");
    assert_eq!(finished.iter().map(|l| l["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [10, 11, 12]);
    for line in &finished {
        assert!(home.path().join(line["path"].as_str().unwrap()).is_file());
        assert!(line["seconds"].as_f64().unwrap() > 0.0);
    }
    // One picture of the run is the picture of its seed alone.
    let alone = generate(home.path(), &["--seed", "11", "--output", "alone.png"]);
    assert_ends(&alone, 0, "");
    let of_run = std::fs::read(home.path().join(finished[1]["path"].as_str().unwrap())).unwrap();
    assert_eq!(of_run, std::fs::read(home.path().join("alone.png")).unwrap());
}

#[test]
fn previews_are_one_file_a_step_in_the_pictures_size() {
    let home = tempfile::tempdir().unwrap();
    let size = ["--width", "96", "--height", "64"];
    let output = generate(home.path(), &[&size[..], &["--seed", "1", "--previews", "p", "--output", "a.png"]].concat());
    assert_ends(&output, 0, "");
    let mut names: Vec<_> = std::fs::read_dir(home.path().join("p"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["1-step-001.png", "1-step-002.png", "1-step-003.png", "1-step-004.png"]);
    assert_eq!(image::image_dimensions(home.path().join("p/1-step-004.png")).unwrap(), (96, 64));
}

#[test]
fn a_taesd_decodes_the_previews_and_leaves_the_picture_alone() {
    let home = tempfile::tempdir().unwrap();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let (model, decoder) = (format!("{fixtures}/tiny-eps"), format!("{fixtures}/taesd/taesd_decoder.safetensors"));
    let run = |folder: &str, more: &[&str]| {
        let picture = format!("{folder}.png");
        let line = ["generate", "fox", "--model", &model, "--seed", "1", "--steps", "2", "--previews", folder];
        let output = calotype(home.path(), &[&line[..], &["--output", &picture], more].concat());
        assert_ends(&output, 0, "");
        [home.path().join(picture), home.path().join(folder).join("1-step-002.png")]
            .map(|path| image::open(path).unwrap().into_rgb8())
    };
    let [picture, rough] = run("rough", &[]);
    let [same, sharp] = run("sharp", &["--preview-decoder", &decoder]);
    assert_eq!((&same, sharp.dimensions()), (&picture, rough.dimensions()));
    assert_ne!(sharp, rough);
}

#[test]
fn a_picture_can_start_from_a_picture() {
    let home = tempfile::tempdir().unwrap();
    assert_ends(&generate(home.path(), &["--seed", "1", "--output", "a.png"]), 0, "");
    let from = ["--init", "a.png", "--strength", "0.5", "--seed", "2", "--output", "b.png", "--json"];
    let output = generate(home.path(), &from);
    assert_ends(&output, 0, "");
    assert_eq!(json_lines(&output).iter().filter(|l| l["event"] == "step").count(), 2);
    let info = text(&calotype(home.path(), &["info", "b.png"]).stdout);
    assert!(info.contains("Denoising strength: 0.5"), "{info}");
}

#[test]
fn without_output_pictures_go_to_the_gallery_folder() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("data")).unwrap();
    std::fs::write(home.path().join("data/gallery-folder.txt"), home.path().join("mine").to_str().unwrap()).unwrap();
    let output = generate(home.path(), &[]);
    assert_ends(&output, 0, "");
    assert!(text(&output.stdout).starts_with(home.path().join("mine").to_str().unwrap()));
}

#[test]
fn wrong_usage_is_told_before_the_model_is_read() {
    let home = tempfile::tempdir().unwrap();
    for (more, hint) in [
        (&["--width", "100"][..], "nearest is 104"),
        (&["--sampler", "plums"], "euler-a"),
        (&["--count", "2", "--output", "one.png"], "name a folder"),
        (&["--output", "picture.gif"], "end in .png, .jpg or .webp"),
        (&["--init", "missing.png", "--strength", "0.5"], "missing.png"),
        (&["--init", "notes.txt", "--strength", "0.5"], "notes.txt"),
        (&["--strength", "0.5"], "--init"),
        (&["--seed", "-1"], "not a number that fits"),
        (&["--output", "notes.txt/below.png"], "notes.txt"),
        (&["--previews", "notes.txt"], "notes.txt"),
        (&["--preview-decoder", "notes.txt"], "--previews"),
        (&["--previews", "p", "--preview-decoder", "notes.txt"], "notes.txt"),
    ] {
        std::fs::write(home.path().join("notes.txt"), "not a picture").unwrap();
        assert_ends(&generate(home.path(), more), 2, hint);
    }
    assert_ends(&calotype(home.path(), &["generate"]), 2, "PROMPT");
    assert_ends(&calotype(home.path(), &["generate", "--model", "nowhere", "x"]), 2, "nowhere");
    assert_ends(&calotype(home.path(), &["fly"]), 2, "fly");
}

#[test]
fn lora_files_that_a_prompt_cannot_tell_apart_are_refused() {
    let home = tempfile::tempdir().unwrap();
    for folder in ["a", "b"] {
        std::fs::create_dir(home.path().join(folder)).unwrap();
        std::fs::write(home.path().join(folder).join("ink.safetensors"), "").unwrap();
    }
    let same = ["--lora", "a/ink.safetensors", "--lora", "b/ink.safetensors"];
    assert_ends(&generate(home.path(), &same), 2, "have the same name");
    #[cfg(unix)]
    {
        std::fs::write(home.path().join("ink>2.safetensors"), "").unwrap();
        assert_ends(&generate(home.path(), &["--lora", "ink>2.safetensors"]), 2, "rename it");
    }
}

#[test]
fn steps_and_strength_that_leave_nothing_are_wrong_usage() {
    let home = tempfile::tempdir().unwrap();
    assert_ends(&generate(home.path(), &["--seed", "1", "--output", "a.png"]), 0, "");
    let output = generate(home.path(), &["--init", "a.png", "--strength", "0.1"]);
    assert_ends(&output, 2, "raise the strength");
}

#[test]
fn a_failure_ends_with_1_and_is_a_json_line_too() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("empty")).unwrap();
    let output = calotype(home.path(), &["generate", "--model", "empty", "--json", "x"]);
    assert_ends(&output, 1, "unet/config.json is missing");
    assert_eq!(json_lines(&output).last().unwrap()["event"], "failed");
    assert_ends(&calotype(home.path(), &["info", "nothing.png"]), 1, "nothing.png");
}

#[test]
fn samplers_and_schedules_are_listed_a_line_each() {
    let home = tempfile::tempdir().unwrap();
    for (list, line) in
        [("samplers", "dpmpp-2m-sde       DPM++ 2M SDE "), ("schedules", "karras               Karras ")]
    {
        let output = calotype(home.path(), &[list]);
        assert!(output.status.success());
        assert!(text(&output.stdout).lines().any(|found| found.starts_with(line)), "{}", text(&output.stdout));
    }
}

#[test]
fn a_picture_without_a_recipe_says_so() {
    let home = tempfile::tempdir().unwrap();
    image::RgbImage::new(8, 8).save(home.path().join("plain.png")).unwrap();
    assert_ends(&calotype(home.path(), &["info", "plain.png"]), 1, "no recipe");
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_at_once_and_cleanly() {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_calotype"))
        .args(["generate", "--steps", "999", "--sampler", "euler", "--json", "--output", "never.png", "a fox"])
        .env("CALOTYPE_DATA", home.path())
        .current_dir(home.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"step\"")));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (Some(130), None));
    assert!(text(&output.stderr).contains("cancelled"));
    assert!(!home.path().join("never.png").exists());
}

#[test]
fn a_vae_from_another_file_is_in_the_recipe_and_verify_finds_it_in_the_library() {
    let home = tempfile::tempdir().unwrap();
    let twins = Twins::new("sd1", candle_core::DType::F16, 0.3);
    let whole = candle_core::safetensors::load(twins.file(), &candle_core::Device::Cpu).unwrap();
    let decoder = |(name, tensor): (String, candle_core::Tensor)| {
        let name = name.strip_prefix("first_stage_model.")?.to_owned();
        // Brighter than the model's own.
        let is_last = name == "decoder.conv_out.bias";
        Some((name, if is_last { (tensor + 0.4).unwrap() } else { tensor }))
    };
    let vae: std::collections::HashMap<_, _> = whole.into_iter().filter_map(decoder).collect();
    let folder = home.path().join("data/models/vae");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("bright.safetensors");
    candle_core::safetensors::save(&vae, &path).unwrap();
    let model = twins.file();
    let generate = |more: &[&str]| {
        let mut arguments = vec!["generate", "--model", model.to_str().unwrap(), "--seed", "7", "--steps", "2"];
        arguments.extend(["--width", "64", "--height", "64", "a red cat"]);
        arguments.extend(more);
        calotype(home.path(), &arguments)
    };
    // By its name in the library.
    assert_ends(&generate(&["--vae", "bright", "--output", "bright.png"]), 0, "");
    assert_ends(&generate(&["--output", "own.png"]), 0, "");
    assert_ne!(
        std::fs::read(home.path().join("bright.png")).unwrap(),
        std::fs::read(home.path().join("own.png")).unwrap()
    );
    let info = calotype(home.path(), &["info", "--json", "bright.png"]);
    let vae = &json_lines(&info)[0]["vae"];
    assert_eq!(vae["name"], "bright.safetensors");
    assert_eq!(vae["hash"].as_str().unwrap().len(), 10);
    let text_of = |name: &str| text(&calotype(home.path(), &["info", name]).stdout);
    assert!(text_of("bright.png").contains("VAE: bright.safetensors") && text_of("bright.png").contains("VAE hash: "));
    assert!(!text_of("own.png").contains("VAE"), "{}", text_of("own.png"));
    let verify = |more: &[&str]| {
        let arguments = [&["verify", "bright.png", "--model", model.to_str().unwrap()], more].concat();
        calotype(home.path(), &arguments)
    };
    let found = verify(&[]);
    assert_ends(&found, 0, "");
    assert!(text(&found.stdout).starts_with("the same: all 4096 pixels agree"), "{}", text(&found.stdout));
    // Somewhere else it is told, until it is named.
    let elsewhere = home.path().join("elsewhere.safetensors");
    std::fs::rename(&path, &elsewhere).unwrap();
    let missing = verify(&[]);
    assert_ends(&missing, 1, "");
    assert!(text(&missing.stdout).contains("made with the VAE bright.safetensors, which is not here"));
    assert_ends(&verify(&["--vae", elsewhere.to_str().unwrap()]), 0, "");
    let missing = generate(&["--vae", "bright", "--output", "never.png"]);
    assert_ends(&missing, 2, "there is no such VAE: bright");
}

#[test]
fn the_vae_beside_a_model_is_told_and_its_prediction_can_be_named() {
    let home = tempfile::tempdir().unwrap();
    let twins = Twins::new("sd1", candle_core::DType::F16, 0.3);
    std::fs::copy(twins.file(), twins.file().with_extension("vae.safetensors")).unwrap();
    let model = twins.file();
    let generate = |more: &[&str]| {
        let mut arguments = vec!["generate", "--model", model.to_str().unwrap(), "--seed", "7", "--steps", "1"];
        arguments.extend(["--width", "64", "--height", "64", "a red cat"]);
        arguments.extend(more);
        calotype(home.path(), &arguments)
    };
    let beside = "model.vae.safetensors lies beside the model and is used as its VAE";
    assert_ends(&generate(&["--output", "eps.png"]), 0, beside);
    assert_ends(&generate(&["--output", "v.png", "--prediction", "v"]), 0, beside);
    let pixels = |name: &str| image::open(home.path().join(name)).unwrap().into_rgb8();
    assert_ne!(pixels("eps.png"), pixels("v.png"));
    // The recipe has it.
    let verified = calotype(home.path(), &["verify", "v.png", "--model", model.to_str().unwrap()]);
    assert_ends(&verified, 0, "");
    assert_ends(&generate(&["--prediction", "x0"]), 2, "epsilon, v");
    let own = generate(&["--output", "own.png", "--vae", model.to_str().unwrap()]);
    assert_ends(&own, 0, "");
    assert!(!text(&own.stderr).contains("beside"), "{}", text(&own.stderr));
}
