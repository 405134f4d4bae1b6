//! A1111's infotext: the recipe as a text that people and most programs of the field read.
//!
//! The format cannot hold every recipe, which is why our own record is written beside it. It loses white space at the
//! ends of lines and around the prompts, a prompt's line that begins with `Negative prompt:` (the rest becomes negative
//! prompt), and, when the text carries no settings, a last line that looks like settings.

use std::fmt::Write as _;

use crate::gallery::record::PictureRecord;
use crate::request::{
    ClipSkip, Crop, Dialect, Emphasis, GenerationRequest, GuidanceInterval, NoiseSourceKind, RecordedVae, SamplerKind,
    SamplerOptions, ScheduleKind, TokenMerging,
};

/// What opens the negative prompt.
const NEGATIVE: &str = "Negative prompt:";
/// A last line with fewer pairs than this is prompt, not settings.
const LEAST_PAIRS: usize = 3;
/// The most pairs that are taken; real lines have a few dozen.
const MOST_PAIRS: usize = 1000;

/// The infotext of a record, with A1111's keys in A1111's order.
#[must_use]
pub fn write(record: &PictureRecord) -> String {
    let request = &record.request;
    let mut text = request.prompt.clone();
    if !request.negative_prompt.trim().is_empty() {
        let _ = write!(text, "\n{NEGATIVE} {}", request.negative_prompt);
    }
    text.push('\n');
    let mut pairs = vec![("Steps", request.steps.get().to_string()), ("Sampler", request.sampler.label().to_owned())];
    pairs.extend(schedule_type(request.sampler, request.schedule).map(|name| ("Schedule type", name.to_owned())));
    pairs.push(("CFG scale", request.guidance.get().to_string()));
    pairs.push(("Seed", request.seed.to_string()));
    pairs.push(("Size", request.size.to_string()));
    pairs.extend(record.model_hash.iter().map(|hash| ("Model hash", hash.clone())));
    pairs.push(("Model", quoted(&record.model)));
    if let Some(RecordedVae { name, hash }) = &record.vae {
        pairs.extend(hash.iter().map(|hash| ("VAE hash", hash.clone())));
        pairs.push(("VAE", quoted(name)));
    }
    pairs.extend(record.precision.iter().map(|name| ("Precision", name.clone())));
    pairs.extend(record.card.iter().map(|name| ("Card", quoted(name))));
    pairs.extend(request.image_to_image.as_ref().map(|start| ("Denoising strength", start.strength.get().to_string())));
    if request.clip_skip != ClipSkip::default() {
        pairs.push(("Clip skip", request.clip_skip.get().to_string()));
    }
    pairs.extend(emphasis(request.emphasis).map(|name| ("Emphasis", name.to_owned())));
    pairs.extend(fine_settings(request));
    if request.dialect != Dialect::default() {
        // No key of A1111's; named, so that nobody takes the weights for its own.
        pairs.push(("Prompt language", request.dialect.label().to_owned()));
    }
    if let Some(template) = &request.template {
        // As the web UI's extension for wildcards writes them.
        let templates = [("Template", &template.prompt), ("Negative Template", &template.negative_prompt)];
        let said = templates.into_iter().filter(|(_, text)| !text.is_empty());
        pairs.extend(said.map(|(key, text)| (key, serde_json::Value::from(text.as_str()).to_string())));
    }
    match request.noise_source {
        NoiseSourceKind::TorchCpu | NoiseSourceKind::ComfyUi => {
            pairs.push(("RNG", request.noise_source.label().to_owned()));
        }
        // A1111's default, which it leaves out.
        NoiseSourceKind::Philox => {}
    }
    let hashes = |pairs: Vec<String>| Some(quoted(&pairs.join(", "))).filter(|_| !pairs.is_empty());
    let loras = record.adapters.iter().map(|adapter| format!("{}: {}", adapter.name, adapter.hash)).collect();
    pairs.extend(hashes(loras).map(|hashes| ("Lora hashes", hashes)));
    let embeddings = record.embeddings.iter().map(|embedding| format!("{}: {}", embedding.word, embedding.hash));
    pairs.extend(hashes(embeddings.collect()).map(|hashes| ("TI hashes", hashes)));
    pairs.push(("Version", quoted(&record.software)));
    let settings: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    text.push_str(&settings.join(", "));
    text.trim().to_owned()
}

/// What differs from the usual, under A1111's keys where it has one; it leaves the usual out too.
fn fine_settings(request: &GenerationRequest) -> Vec<(&'static str, String)> {
    let (options, usual) = (&request.sampler_options, SamplerOptions::default());
    let mut pairs = Vec::new();
    let eta_key = if request.sampler == SamplerKind::Ddim { "Eta DDIM" } else { "Eta" };
    pairs.extend(options.eta().map(|eta| (eta_key, eta.to_string())));
    for (key, value, usual) in [
        ("Sigma churn", options.churn(), usual.churn()),
        ("Sigma tmin", options.churn_from(), usual.churn_from()),
        ("Sigma tmax", options.churn_to(), usual.churn_to()),
        ("Sigma noise", options.noise_factor(), usual.noise_factor()),
        ("Guidance rescale", request.guidance_rescale.get(), 0.0),
    ] {
        if value != usual {
            pairs.push((key, value.to_string()));
        }
    }
    pairs.extend(accelerations(request));
    let seeds = &request.seed_options;
    if let Some(variation) = &seeds.variation {
        pairs.push(("Variation seed", variation.seed.to_string()));
        pairs.push(("Variation seed strength", variation.strength.get().to_string()));
    }
    pairs.extend(seeds.resize_from.map(|size| ("Seed resize from", size.to_string())));
    if seeds.noise_delta != 0 {
        pairs.push(("ENSD", seeds.noise_delta.to_string()));
    }
    let told = &request.micro_conditioning;
    pairs.extend(told.original_size.map(|size| ("Told original size", size.to_string())));
    if told.crop != Crop::default() {
        pairs.push(("Told crop", quoted(&told.crop.to_string())));
    }
    pairs.extend(told.target_size.map(|size| ("Told target size", size.to_string())));
    pairs.extend(request.sigmas.as_ref().map(|sigmas| ("Sigmas", quoted(&sigmas.to_string()))));
    pairs
}

/// What makes a picture sooner and another one.
fn accelerations(request: &GenerationRequest) -> Vec<(&'static str, String)> {
    let interval = request.accelerations.guidance_interval;
    let mut pairs = Vec::new();
    if interval != GuidanceInterval::default() {
        pairs.push(("Guidance from", interval.from().to_string()));
        pairs.push(("Guidance to", interval.to().to_string()));
    }
    if let Some(caching) = request.accelerations.block_caching {
        pairs.push(("DeepCache interval", caching.interval().to_string()));
        pairs.push(("DeepCache branch", caching.branch().to_string()));
    }
    let share = request.accelerations.token_merging;
    if share != TokenMerging::default() {
        pairs.push(("Token merging ratio", share.get().to_string()));
    }
    if request.accelerations.decoding_in_tiles {
        pairs.push(("Decoded in tiles", true.to_string()));
    }
    pairs
}

/// A1111's name of a schedule.
///
/// The model's own levels are nearest to its "Uniform", which is our "Normal": the trained levels at evenly spread
/// timesteps. A folder may place the timesteps a little differently (leading, trailing), for which A1111 has no name.
/// Without the key A1111 would take "Automatic", which for DPM++ 2M means Karras. The samplers with a grid of their own
/// ignore the key there, so it is left out.
fn schedule_type(sampler: SamplerKind, schedule: ScheduleKind) -> Option<&'static str> {
    match (schedule.resolved_for(sampler), sampler) {
        (ScheduleKind::Karras, _) => Some("Karras"),
        (ScheduleKind::Model, sampler) if sampler.has_own_grid() => None,
        (ScheduleKind::Model | ScheduleKind::Normal, _) => Some("Uniform"),
        (schedule, _) => Some(schedule.label()),
    }
}

/// A1111's name of what weights do; its usual way is left out.
fn emphasis(emphasis: Emphasis) -> Option<&'static str> {
    match emphasis {
        Emphasis::Original => None,
        Emphasis::NoNorm => Some("No norm"),
        Emphasis::Ignore => Some("Ignore"),
        // No way of A1111's; named, so that nobody takes it for one.
        Emphasis::ComfyUi => Some("ComfyUI"),
    }
}

/// A value as A1111's `quote` writes it: a JSON string only if it must be; also if it begins like one.
fn quoted(value: &str) -> String {
    if value.contains([',', ':', '\n']) || value.starts_with(['"', '{', '[']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}

/// An infotext taken apart, nothing of it judged yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InfoText {
    /// The prompt, without white space around its lines.
    pub prompt: String,
    /// The negative prompt, likewise.
    pub negative_prompt: String,
    /// Keys and values in the order of the file; a key may occur twice.
    pub parameters: Vec<(String, String)>,
}

impl InfoText {
    /// Takes any text apart as A1111 does. Never fails: a text that says nothing else is a prompt.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (prompts, last_line) = text.rsplit_once('\n').unwrap_or(("", text));
        let parameters = pairs(last_line);
        if parameters.len() < LEAST_PAIRS {
            return Self { parameters: Vec::new(), ..Self::parse_prompts(text) };
        }
        let is_sd_next = parameters.iter().any(|(key, app)| key == "App" && app.starts_with("SD.Next"));
        let prompts = if is_sd_next { without_templates(prompts) } else { prompts };
        Self { parameters, ..Self::parse_prompts(prompts) }
    }

    fn parse_prompts(text: &str) -> Self {
        let mut prompt = Vec::new();
        let mut negative: Option<Vec<&str>> = None;
        for line in text.split('\n').map(str::trim) {
            match (line.strip_prefix(NEGATIVE), &mut negative) {
                (Some(rest), None) => negative = Some(vec![rest.trim()]),
                (Some(rest), Some(lines)) => lines.push(rest.trim()),
                (None, Some(lines)) => lines.push(line),
                (None, None) => prompt.push(line),
            }
        }
        let joined = |lines: &[&str]| lines.join("\n").trim().to_owned();
        Self { prompt: joined(&prompt), negative_prompt: joined(&negative.unwrap_or_default()), parameters: Vec::new() }
    }

    /// The first value of a key, whatever its case: forks differ in it, and some write a key twice.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }
}

/// SD.Next may repeat both prompts, as they were before its styles, on lines of their own ahead of the settings.
fn without_templates(prompts: &str) -> &str {
    let begins = ["Template:", "Negative Template:"];
    let mut end = 0;
    for line in prompts.split_inclusive('\n') {
        if begins.iter().any(|begin| line.trim_start().starts_with(begin)) {
            return &prompts[..end];
        }
        end += line.len();
    }
    prompts
}

/// The pairs of a settings line: A1111's pattern `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`, and unquoted
/// JSON objects and lists, which Civitai and stable-diffusion.cpp write, as one value.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while let Some((key, after)) = next_key(rest).filter(|_| pairs.len() < MOST_PAIRS) {
        let (value, after) = next_value(after.trim_start());
        pairs.push((key.to_owned(), value));
        rest = after;
    }
    pairs
}

/// The next key and what follows its colon.
fn next_key(text: &str) -> Option<(&str, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    loop {
        let run = &rest[rest.find(is_word)?..];
        let end = run.find(|c: char| !is_word(c) && !matches!(c, ' ' | '-' | '/')).unwrap_or(run.len());
        let (key, after) = run.split_at(end);
        match after.strip_prefix(':') {
            Some(after) if key.chars().nth(1).is_some() => return Some((key.trim_end(), after)),
            _ => rest = after,
        }
    }
}

/// The value that `text` begins with, and what follows its comma.
fn next_value(text: &str) -> (String, &str) {
    let structured = match text.as_bytes().first() {
        Some(b'"') => quoted_value(text),
        Some(b'{' | b'[') => json_value(text),
        _ => None,
    };
    structured.unwrap_or_else(|| {
        let (value, after) = text.split_once(',').unwrap_or((text, ""));
        (value.trim().to_owned(), after)
    })
}

/// A JSON string that is the whole value.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at + 1)
    })?;
    let (value, after) = text.split_at(end);
    let after = after_value(after)?;
    Some((serde_json::from_str(value).unwrap_or_else(|_| value.to_owned()), after))
}

/// A JSON object or list that is the whole value.
fn json_value(text: &str) -> Option<(String, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    let (value, after) = text.split_at_checked(values.byte_offset())?;
    Some((value.to_owned(), after_value(after)?))
}

/// What follows the comma, or nothing at the end of the line; `None` when the value goes on.
fn after_value(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if text.is_empty() { Some(text) } else { text.strip_prefix(',') }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gallery::record::samples::{any_record, any_text, fox};
    use crate::request::{GuidanceScale, ImageToImage, Strength};

    #[test]
    fn a_record_is_written_as_a1111_would() {
        let mut record = fox();
        record.request.prompt = "a fox,\nin the snow".into();
        record.request.negative_prompt = "blurry".into();
        assert_eq!(
            write(&record),
            format!(
                "a fox,\nin the snow\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, \
                 CFG scale: 4.5, Seed: 42, Size: 64x72, Model: Calotype starter, RNG: CPU, Version: {}",
                record.software
            )
        );
    }

    #[test]
    fn what_is_not_there_is_left_out_and_whole_numbers_have_no_point() {
        let mut record = fox();
        record.request.prompt = String::new();
        record.request.guidance = GuidanceScale::new(7.0).unwrap();
        record.request.sampler = SamplerKind::Ddim;
        record.request.schedule = ScheduleKind::Model;
        record.request.image_to_image =
            Some(ImageToImage { strength: Strength::new(0.75).unwrap(), source: "a.png".into() });
        record.model = "v1-5, \"pruned\": fp16".into();
        assert_eq!(
            write(&record),
            format!(
                "Steps: 20, Sampler: DDIM, CFG scale: 7, Seed: 42, Size: 64x72, Model: \"v1-5, \\\"pruned\\\": fp16\", \
                 Denoising strength: 0.75, RNG: CPU, Version: {}",
                record.software
            )
        );
        assert_eq!(InfoText::parse(&write(&record)).get("model"), Some(record.model.as_str()));
    }

    #[test]
    fn the_models_schedule_is_never_mistaken_for_karras() {
        let mut record = fox();
        record.request.schedule = ScheduleKind::Model;
        assert!(write(&record).contains("Schedule type: Uniform"));
    }

    #[test]
    fn prompts_over_many_lines_with_blank_ones_are_read() {
        let info = InfoText::parse(
            "a castle\r\n\r\n  by the sea \r\n\r\nNegative prompt: fog,\r\nrain\r\nSteps: 28, Sampler: Euler a, Seed: 5\r\n",
        );
        assert_eq!((info.prompt.as_str(), info.negative_prompt.as_str()), ("a castle\n\nby the sea", "fog,\nrain"));
        assert_eq!(info.get("Seed"), Some("5"));
    }

    #[test]
    fn a_text_may_be_settings_alone_or_begin_with_the_negative_prompt() {
        let info = InfoText::parse("Steps: 1, Sampler: Euler, Seed: 2");
        assert_eq!((info.prompt.as_str(), info.get("Steps")), ("", Some("1")));
        let info = InfoText::parse("Negative prompt:\nSteps: 1, Sampler: Euler, Seed: 2");
        assert_eq!((info.prompt.as_str(), info.negative_prompt.as_str()), ("", ""));
    }

    #[test]
    fn a_prompt_with_colons_is_no_settings_line() {
        let info = InfoText::parse("portrait, lighting: soft, ratio: 3:2");
        assert_eq!(info.prompt, "portrait, lighting: soft, ratio: 3:2");
        assert!(info.parameters.is_empty());
    }

    #[test]
    fn unquoted_json_and_quoted_lists_are_one_value() {
        let info = InfoText::parse(
            "x\nSteps: 20, Lora hashes: \"a: 1, b: 2\", Hashes: {\"model\": \"abc\", \"l\": [1, 2]}, Civitai resources: \
             [{\"type\":\"checkpoint\",\"weight\":1}], Size: 512x512, Model: , Size: 1x1",
        );
        assert_eq!(info.get("Lora hashes"), Some("a: 1, b: 2"));
        assert_eq!(info.get("hashes"), Some("{\"model\": \"abc\", \"l\": [1, 2]}"));
        assert_eq!(info.get("Civitai resources"), Some("[{\"type\":\"checkpoint\",\"weight\":1}]"));
        assert_eq!((info.get("Size"), info.get("Model")), (Some("512x512"), Some("")));
        assert_eq!(info.parameters.len(), 7);
    }

    #[test]
    fn the_templates_of_sd_next_are_no_prompt() {
        let info = InfoText::parse(
            "a fox\nNegative prompt: fog\nTemplate: a {fox}\nNegative Template: fog\nSteps: 20, Seed: 3, App: SD.Next",
        );
        assert_eq!((info.prompt.as_str(), info.negative_prompt.as_str()), ("a fox", "fog"));
        let info = InfoText::parse("a fox\nTemplate: of wood\nSteps: 20, Seed: 3, Sampler: Euler");
        assert_eq!(info.prompt, "a fox\nTemplate: of wood");
    }

    #[test]
    fn a_broken_quote_or_brace_ends_at_the_comma() {
        let info = InfoText::parse("a: x\nSteps: 20, Model: \"half, Hashes: {oops, Seed: 3");
        assert_eq!(
            (info.get("Model"), info.get("Hashes"), info.get("Seed")),
            (Some("\"half"), Some("{oops"), Some("3"))
        );
    }

    /// What the format keeps of a prompt.
    fn kept(text: &str) -> String {
        let text = text.replace('\0', "");
        text.split('\n').map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in any_text()) {
            let _ = InfoText::parse(&text);
        }

        #[test]
        fn a_long_hostile_line_takes_no_long_time(part in "[a-z \\-/:\"{\\[,\\\\]{1,8}") {
            let _ = InfoText::parse(&part.repeat(4000));
        }

        #[test]
        fn what_is_written_is_read_back(mut record in any_record()) {
            // The one thing that a prompt cannot hold.
            for text in [&mut record.request.prompt, &mut record.request.negative_prompt] {
                *text = text.replace('\0', "").replace(NEGATIVE, "no");
            }
            let request = &record.request;
            let info = InfoText::parse(&write(&record).replace('\0', ""));
            prop_assert_eq!(&info.prompt, &kept(&request.prompt));
            prop_assert_eq!(&info.negative_prompt, &kept(&request.negative_prompt));
            prop_assert_eq!(info.get("Seed").map(str::to_owned), Some(request.seed.to_string()));
            prop_assert_eq!(info.get("CFG scale").map(str::to_owned), Some(request.guidance.get().to_string()));
        }
    }
}
