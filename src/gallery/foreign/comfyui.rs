//! ComfyUI: finds the sampler that began the picture and follows its inputs backwards.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::gallery::foreign::fields::{Field, Gathering};
use crate::gallery::foreign::graph::{Graph, Link};
use crate::gallery::foreign::json;
use crate::gallery::record::{ReadLora, ReadRecipe};
use crate::request::{Dialect, NoiseSourceKind, SamplerKind, SamplerOptions};

/// Nodes that draw.
const SAMPLERS: &[&str] = &["KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"];
/// The inputs by which latents come to a node.
const LATENTS: &[&str] = &["latent_image", "samples", "latent", "samples_to", "samples1"];
/// The longest chain of nodes that is followed.
const MOST_DEPTH: usize = 100;

/// The recipe of a `prompt` graph; `None` when no sampler in it is known.
#[must_use]
pub fn read(nodes: &Map<String, Value>) -> Option<ReadRecipe> {
    let graph = Graph::of(nodes);
    let samplers = samplers(&graph);
    let begins = |node: &&&str| !matches!(origin(&graph, node), Origin::Sampler(_));
    let firsts: Vec<&str> = samplers.iter().filter(begins).copied().collect();
    let is_fresh = |node: &&str| matches!(origin(&graph, node), Origin::Empty(_));
    let first =
        firsts.iter().copied().find(|node| is_fresh(node)).or(firsts.first().copied()).or(samplers.first().copied())?;
    let mut reading = Reading { graph: &graph, gathering: Gathering::of("ComfyUI") };
    reading.sampler(first);
    for other in samplers.iter().filter(|node| **node != first) {
        let of = |name: &str| graph.value(other, name).map(|value| format!(", {name} {value}")).unwrap_or_default();
        let said = format!("node {other}{}{}{}", of("steps"), of("sampler_name"), of("denoise"));
        reading.gathering.cannot_follow("Another pass", &said);
    }
    let recipe = reading.gathering.finish();
    Some(ReadRecipe {
        dialect: Some(Dialect::ComfyUi),
        noise_source: Some(NoiseSourceKind::ComfyUi),
        sampler_options: options(recipe.sampler),
        ..recipe
    })
}

/// k-diffusion's own defaults, where ours are A1111's.
fn options(sampler: Option<SamplerKind>) -> SamplerOptions {
    let usual = SamplerOptions::default();
    match sampler {
        Some(SamplerKind::DpmFast | SamplerKind::DpmAdaptive) => usual.with_eta(0.0).unwrap_or(usual),
        _ => usual,
    }
}

/// The samplers that lead to a picture that was saved or shown, else all; in the order of their numbers.
fn samplers<'a>(graph: &Graph<'a>) -> Vec<&'a str> {
    let mut all: Vec<&str> =
        graph.nodes().filter(|(_, kind)| SAMPLERS.contains(kind)).map(|(id, _)| id).take(MOST_DEPTH).collect();
    all.sort_by_key(|id| (id.parse::<u64>().unwrap_or(u64::MAX), *id));
    let ends = graph
        .nodes()
        .filter(|(_, kind)| kind.contains("Save") || kind.contains("PreviewImage") || kind.contains("ImageWebsocket"));
    let mut leading = std::collections::BTreeSet::new();
    for (end, _) in ends.take(8) {
        leading.extend(graph.upstream(end));
    }
    let connected: Vec<&str> = all.iter().copied().filter(|id| leading.contains(id)).collect();
    if connected.is_empty() { all } else { connected }
}

/// What a sampler's latents came from.
enum Origin<'a> {
    /// An empty picture, whose size this node says.
    Empty(&'a str),
    /// A picture, encoded by this node.
    Picture(&'a str),
    /// A sampler before this one.
    Sampler(&'a str),
    /// What is not known.
    Unknown,
}

fn origin<'a>(graph: &Graph<'a>, sampler: &str) -> Origin<'a> {
    let mut link = LATENTS.iter().find_map(|name| graph.link(sampler, name));
    for _ in 0..MOST_DEPTH {
        let Some(Link { node, .. }) = link else { return Origin::Unknown };
        let Some(kind) = graph.kind(node) else { return Origin::Unknown };
        if SAMPLERS.contains(&kind) {
            return Origin::Sampler(node);
        }
        if kind.starts_with("Empty") && kind.contains("Latent") {
            return Origin::Empty(node);
        }
        if kind.starts_with("VAEEncode") {
            return Origin::Picture(node);
        }
        link = LATENTS.iter().find_map(|name| graph.link(node, name));
    }
    Origin::Unknown
}

/// One sampler's inputs on their way into a recipe.
struct Reading<'g, 'a> {
    graph: &'g Graph<'a>,
    gathering: Gathering,
}

impl<'a> Reading<'_, 'a> {
    fn sampler(&mut self, node: &'a str) {
        let kind = self.graph.kind(node).unwrap_or_default();
        self.takes(node, &[("seed", Field::Seed), ("noise_seed", Field::Seed), ("steps", Field::Steps)]);
        self.takes(node, &[("cfg", Field::Guidance), ("sampler_name", Field::Sampler), ("scheduler", Field::Schedule)]);
        self.takes(node, &[("denoise", Field::Denoise)]);
        if kind == "KSamplerAdvanced" {
            self.part_of_the_steps(node);
        }
        if let Some(link) = self.graph.link(node, "noise") {
            self.takes(link.node, &[("noise_seed", Field::Seed)]);
        }
        self.solver(node);
        self.noise_levels(node);
        if let Some(guider) = self.graph.link(node, "guider") {
            self.guider(guider.node);
        } else {
            self.prompt(node, "positive", Field::Prompt);
            self.prompt(node, "negative", Field::NegativePrompt);
            self.model(node);
        }
        match origin(self.graph, node) {
            Origin::Empty(empty) => self.takes(empty, &[("width", Field::Width), ("height", Field::Height)]),
            Origin::Picture(from) => self.gathering.cannot_follow("Start image", &format!("through node {from}")),
            Origin::Sampler(from) => self.gathering.cannot_follow("Start", &format!("the latents of node {from}")),
            Origin::Unknown => self.gathering.cannot_follow("Start", "latents of an unknown node"),
        }
    }

    /// Takes what a node says under these names; a link to an unknown node is named.
    fn takes(&mut self, node: &str, names: &[(&str, Field)]) {
        for (name, field) in names {
            match self.graph.value(node, name) {
                Some(text) => self.gathering.take(*field, name, &text),
                None if self.graph.input(node, name).is_some() => {
                    self.gathering.cannot_follow(name, "comes from a node that is not known");
                }
                None => {}
            }
        }
    }

    /// A sampler that takes only some of its steps leaves the rest to another.
    fn part_of_the_steps(&mut self, node: &str) {
        let number = |name: &str| self.graph.value(node, name).and_then(|text| text.parse::<u64>().ok());
        let steps = number("steps").unwrap_or(u64::MAX);
        let is_part = number("start_at_step").unwrap_or(0) > 0 || number("end_at_step").unwrap_or(u64::MAX) < steps;
        let adds_no_noise = self.graph.value(node, "add_noise").as_deref() == Some("disable");
        for name in ["start_at_step", "end_at_step", "add_noise"] {
            if let Some(value) = self.graph.value(node, name).filter(|_| is_part || adds_no_noise) {
                self.gathering.cannot_follow(name, &value);
            }
        }
    }

    /// `KSamplerSelect`, or a node of one solver with its options: SamplerEulerAncestral, SamplerDPMPP_2M_SDE.
    fn solver(&mut self, node: &str) {
        let Some(Link { node, .. }) = self.graph.link(node, "sampler") else { return };
        let kind = self.graph.kind(node).unwrap_or_default();
        if self.graph.input(node, "sampler_name").is_some() {
            self.takes(node, &[("sampler_name", Field::Sampler)]);
        } else {
            self.gathering.take(Field::Sampler, "sampler", kind.strip_prefix("Sampler").unwrap_or(kind));
        }
        for (name, value) in self.graph.inputs(node).into_iter().flatten() {
            if name != "sampler_name" {
                self.gathering.cannot_follow(&format!("{kind} {name}"), &json::plain(value));
            }
        }
    }

    /// The scheduler's node, through nodes that change its levels.
    fn noise_levels(&mut self, node: &str) {
        let mut at = self.graph.link(node, "sigmas");
        for _ in 0..MOST_DEPTH {
            let Some(Link { node, .. }) = at else { return };
            let kind = self.graph.kind(node).unwrap_or_default();
            if let Some(before) = self.graph.link(node, "sigmas") {
                self.gathering.cannot_follow("Node", kind);
                at = Some(before);
                continue;
            }
            self.takes(node, &[("steps", Field::Steps), ("denoise", Field::Denoise)]);
            if self.graph.input(node, "scheduler").is_some() {
                self.takes(node, &[("scheduler", Field::Schedule)]);
                return;
            }
            self.gathering.take(Field::Schedule, "scheduler", kind.strip_suffix("Scheduler").unwrap_or(kind));
            for name in ["sigma_max", "sigma_min", "rho"] {
                if let Some(value) = self.graph.value(node, name) {
                    self.gathering.cannot_follow(&format!("{kind} {name}"), &value);
                }
            }
            return;
        }
    }

    fn guider(&mut self, node: &'a str) {
        let kind = self.graph.kind(node).unwrap_or_default();
        match kind {
            "CFGGuider" => self.takes(node, &[("cfg", Field::Guidance)]),
            "DualCFGGuider" => {
                self.takes(node, &[("cfg_conds", Field::Guidance)]);
                let second = self.graph.value(node, "cfg_cond2_negative").unwrap_or_default();
                self.gathering.cannot_follow("DualCFGGuider", &second);
            }
            other => self.gathering.cannot_follow("Guider", other),
        }
        for name in ["positive", "conditioning", "cond1"] {
            self.prompt(node, name, Field::Prompt);
        }
        self.prompt(node, "negative", Field::NegativePrompt);
        self.model(node);
    }

    /// The first text behind an input; whatever else stands on the way is named.
    fn prompt(&mut self, node: &'a str, name: &str, field: Field) {
        let Some(link) = self.graph.link(node, name) else { return };
        let mut texts = Vec::new();
        self.conditioning(link, &mut texts, MOST_DEPTH);
        for text in texts.iter().skip(1) {
            self.gathering.cannot_follow(&format!("also {name}"), text);
        }
        match texts.first() {
            Some(text) => self.gathering.take(field, name, text),
            None => self.gathering.cannot_follow(name, "comes from a node that is not known"),
        }
    }

    fn conditioning(&mut self, link: Link<'a>, texts: &mut Vec<String>, depth: usize) {
        let Some(depth) = depth.checked_sub(1).filter(|_| texts.len() < 32) else { return };
        let (graph, node) = (self.graph, link.node);
        let kind = graph.kind(node).unwrap_or_default();
        if kind.contains("CLIPTextEncode") || kind.contains("CLIP Text Encode") {
            let names = ["text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl"];
            let before = texts.len();
            for text in names.iter().filter_map(|name| graph.value(node, name)) {
                if !texts[before..].contains(&text) {
                    texts.push(text);
                }
            }
            if kind == "CLIPTextEncodeSDXL" {
                self.told_sizes(node);
            }
            return self.last_layer(node);
        }
        if kind == "ConditioningZeroOut" {
            self.gathering.cannot_follow("Node", kind);
            return texts.push(String::new());
        }
        // Of nodes that change both prompts the first output is the positive one.
        let both = if link.slot == 0 { "positive" } else { "negative" };
        let names = ["conditioning", "conditioning_1", "conditioning_2", "conditioning_to", "conditioning_from", both];
        let before: Vec<Link<'a>> = names.iter().filter_map(|name| graph.link(node, name)).collect();
        if !before.is_empty() {
            self.gathering.cannot_follow("Node", &format!("{kind}{}", settings(graph, node)));
        }
        for link in before {
            self.conditioning(link, texts, depth);
        }
    }

    /// What Stable Diffusion XL is told of the size beside a text. Here both prompts are told the same.
    fn told_sizes(&mut self, node: &'a str) {
        let graph = self.graph;
        let pair = |a: &str, b: &str| Some((graph.value(node, a)?, graph.value(node, b)?));
        for (field, key, sides) in [
            (Field::OriginalSize, "width x height", pair("width", "height")),
            (Field::TargetSize, "target_width x target_height", pair("target_width", "target_height")),
        ] {
            if let Some((width, height)) = sides {
                self.gathering.take(field, key, &format!("{width}x{height}"));
            }
        }
        if let Some((left, top)) = pair("crop_w", "crop_h") {
            self.gathering.take(Field::Crop, "crop_h, crop_w", &format!("{top}, {left}"));
        }
    }

    /// The text encoder's last layer, behind a text's `clip`.
    fn last_layer(&mut self, node: &'a str) {
        let mut at = self.graph.link(node, "clip");
        for _ in 0..MOST_DEPTH {
            let Some(Link { node, .. }) = at else { return };
            if let Some(layer) = self.graph.value(node, "stop_at_clip_layer").and_then(|text| text.parse::<i64>().ok())
            {
                // The last is -1. Both prompts say it, mostly; once is enough.
                let skip = layer.unsigned_abs().to_string();
                if !self.gathering.has_clip_skip() {
                    self.gathering.take(Field::ClipSkip, "Clip skip", &skip);
                }
                return;
            }
            at = self.graph.link(node, "clip");
        }
    }

    /// The checkpoint behind `model`, and what changes it on the way.
    fn model(&mut self, node: &str) {
        let mut at = self.graph.link(node, "model");
        for _ in 0..MOST_DEPTH {
            let Some(Link { node, .. }) = at else { return };
            let kind = self.graph.kind(node).unwrap_or_default();
            let names = [("ckpt_name", Field::Model), ("unet_name", Field::Model), ("model_name", Field::Model)];
            if names.iter().any(|(name, _)| self.graph.input(node, name).is_some()) {
                return self.takes(node, &names);
            }
            if let Some(name) = self.graph.value(node, "lora_name") {
                let weight = self.graph.value(node, "strength_model").and_then(|text| text.parse().ok());
                self.gathering.lora(ReadLora { name, weight, hash: None });
            } else {
                self.gathering.cannot_follow("Node", &format!("{kind}{}", settings(self.graph, node)));
            }
            at = self.graph.link(node, "model");
        }
    }
}

/// What a node was set to, for people.
fn settings(graph: &Graph<'_>, node: &str) -> String {
    let inputs = graph.inputs(node).into_iter().flatten().take(MOST_DEPTH);
    // Links may be signed and carry a key of the user's.
    let is_shown = |value: &Value| value.is_number() || value.as_str().is_some_and(|text| !text.contains("://"));
    inputs.filter(|(_, value)| is_shown(value)).fold(String::new(), |mut said, (name, value)| {
        let _ = write!(said, ", {name} {}", json::plain(value));
        said
    })
}
