//! A picture's texts as each program writes them, read as they should be, and files that mean harm.

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::*;
    use crate::gallery::record::samples::any_text;
    use crate::request::{GuidanceScale, ImageSize, SamplerKind, ScheduleKind, Seed, Steps, Strength};

    fn found(texts: &[(&str, &str)]) -> Found {
        let mut all = Texts::default();
        for (keyword, text) in texts {
            all.keep(keyword, text);
        }
        read(&all)
    }

    #[track_caller]
    fn recipe(texts: &[(&str, &str)]) -> ReadRecipe {
        found(texts).recipe.unwrap()
    }

    /// The usual graph: checkpoint, two texts, an empty picture, one sampler.
    fn usual_graph() -> serde_json::Value {
        json!({
            "3": {"class_type": "KSampler", "inputs": {"seed": 156680208700286_u64, "steps": 20, "cfg": 8.0,
                "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0, "model": ["4", 0],
                "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
            "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
            "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
            "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
            "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
            "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}}
        })
    }

    fn of_graph(graph: &serde_json::Value) -> ReadRecipe {
        recipe(&[("prompt", &graph.to_string())])
    }

    #[test]
    fn comfyuis_usual_graph_is_read() {
        let recipe = of_graph(&usual_graph());
        assert_eq!((recipe.prompt.as_str(), recipe.negative_prompt.as_str()), ("a fox", "fog"));
        assert_eq!((recipe.sampler, recipe.schedule), (Some(SamplerKind::DpmPlusPlus2M), Some(ScheduleKind::Karras)));
        assert_eq!((recipe.seed, recipe.steps), (Some(Seed(156_680_208_700_286)), Steps::new(20).ok()));
        assert_eq!((recipe.guidance, recipe.size), (GuidanceScale::new(8.0).ok(), ImageSize::new(512, 768).ok()));
        assert_eq!((recipe.model.as_deref(), recipe.tool.as_deref()), (Some("v1-5.safetensors"), Some("ComfyUI")));
        assert_eq!((recipe.strength, recipe.clip_skip), (Strength::new(1.0).ok(), None));
        assert_eq!(recipe.not_understood, Vec::<String>::new());
    }

    #[test]
    fn a_graph_counts_more_than_the_infotext_that_a_saver_made_up() {
        let graph = usual_graph().to_string();
        let texts = [("parameters", "unknown\nSteps: 0, Sampler: unknown, Seed: 0"), ("prompt", graph.as_str())];
        assert_eq!(recipe(&texts).prompt, "a fox");
    }

    #[test]
    fn comfyuis_loras_layers_controls_and_second_passes_are_told() {
        let mut graph = usual_graph();
        graph["10"] = json!({"class_type": "LoraLoader", "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.8,
        "strength_clip": 1.0, "model": ["4", 0], "clip": ["4", 1]}});
        graph["11"] =
            json!({"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["10", 1]}});
        graph["12"] = json!({"class_type": "ControlNetApplyAdvanced", "inputs": {"strength": 0.5, "positive": ["6", 0],
        "negative": ["7", 0], "control_net": ["20", 0], "image": ["21", 0]}});
        graph["1"] = json!({"class_type": "KSampler", "inputs": {"seed": 5, "steps": 10, "cfg": 8.0, "sampler_name": "euler",
        "scheduler": "normal", "denoise": 0.5, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
        "latent_image": ["13", 0]}});
        graph["13"] = json!({"class_type": "LatentUpscale", "inputs": {"samples": ["3", 0]}});
        graph["3"]["inputs"]["model"] = json!(["10", 0]);
        graph["3"]["inputs"]["positive"] = json!(["12", 0]);
        graph["3"]["inputs"]["negative"] = json!(["12", 1]);
        graph["6"]["inputs"]["clip"] = json!(["11", 0]);
        graph["8"]["inputs"]["samples"] = json!(["1", 0]);
        let recipe = of_graph(&graph);
        assert_eq!((recipe.prompt.as_str(), recipe.negative_prompt.as_str()), ("a fox", "fog"));
        assert_eq!((recipe.steps, recipe.clip_skip), (Steps::new(20).ok(), Some(2)));
        assert_eq!((recipe.loras[0].name.as_str(), recipe.loras[0].weight), ("ink.safetensors", Some(0.8)));
        for part in ["ControlNetApplyAdvanced", "Another pass: node 1, steps 10", "LoRA: ink"] {
            assert!(
                recipe.not_understood.iter().any(|said| said.contains(part)),
                "{part}: {:?}",
                recipe.not_understood
            );
        }
    }

    #[test]
    fn comfyuis_custom_samplers_and_linked_values_are_followed() {
        let graph = json!({
            "4:1": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["n", 0], "guider": ["g", 0],
                "sampler": ["s", 0], "sigmas": ["b", 0], "latent_image": ["e", 0]}},
            "n": {"class_type": "RandomNoise", "inputs": {"noise_seed": ["seed", 0]}},
            "seed": {"class_type": "PrimitiveInt", "inputs": {"value": 77}},
            "g": {"class_type": "CFGGuider", "inputs": {"model": ["m", 0], "positive": ["p", 0], "negative": ["z", 0], "cfg": 3.5}},
            "z": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["p", 0]}},
            "m": {"class_type": "UNETLoader", "inputs": {"unet_name": "unet.safetensors"}},
            "s": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler_ancestral"}},
            "b": {"class_type": "BasicScheduler", "inputs": {"scheduler": "karras", "steps": 12, "denoise": 1.0, "model": ["m", 0]}},
            "e": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024}},
            "p": {"class_type": "CLIPTextEncode", "inputs": {"text": ["t", 0]}},
            "t": {"class_type": "StringConcatenate", "inputs": {"string_a": "a fox", "string_b": ["u", 0], "delimiter": ", "}},
            "u": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "in snow"}}
        });
        let recipe = of_graph(&graph);
        assert_eq!((recipe.prompt.as_str(), recipe.negative_prompt.as_str()), ("a fox, in snow", ""));
        assert_eq!((recipe.seed, recipe.guidance), (Some(Seed(77)), GuidanceScale::new(3.5).ok()));
        assert_eq!((recipe.sampler, recipe.schedule), (Some(SamplerKind::EulerAncestral), Some(ScheduleKind::Karras)));
        assert_eq!((recipe.steps, recipe.size), (Steps::new(12).ok(), ImageSize::new(1024, 1024).ok()));
        assert_eq!(recipe.not_understood, ["Node: ConditioningZeroOut"]);
    }

    #[test]
    fn a_prompt_that_comes_from_an_unknown_node_is_not_guessed() {
        let mut graph = usual_graph();
        graph["6"]["inputs"]["text"] = json!(["30", 0]);
        graph["30"] = json!({"class_type": "Some Prompt Styler", "inputs": {"label": "not this"}});
        let recipe = of_graph(&graph);
        assert_eq!(recipe.prompt, "");
        assert_eq!(recipe.not_understood, ["positive: comes from a node that is not known"]);
    }

    #[test]
    fn graphs_without_a_known_sampler_or_names_are_refused_plainly() {
        let said = found(&[("prompt", "{\"1\": {\"class_type\": \"Detailer\", \"inputs\": {}}}")]);
        assert!(said.recipe.is_none() && said.warning.unwrap().contains("no sampler"));
        let said = found(&[("workflow", "{\"nodes\": []}")]);
        assert!(said.recipe.is_none() && said.warning.unwrap().contains("no names"));
    }

    #[test]
    fn invokeai_of_three_generations_is_read() {
        let new = json!({"app_version": "4.2.0", "generation_mode": "txt2img", "positive_prompt": "a fox",
        "negative_prompt": "fog", "width": 512, "height": 640, "seed": 42, "rand_device": "cpu", "cfg_scale": 7.5,
        "cfg_rescale_multiplier": 0.0, "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 1, "seamless_x": false,
        "model": {"key": "k", "hash": "blake3:ab", "name": "dreams", "base": "sd-1", "type": "main"},
        "loras": [{"model": {"name": "ink"}, "weight": 0.7}], "controlnets": []});
        let new = recipe(&[("invokeai_metadata", &new.to_string())]);
        assert_eq!((new.sampler, new.schedule), (Some(SamplerKind::DpmPlusPlus2M), Some(ScheduleKind::Karras)));
        assert_eq!((new.model.as_deref(), new.model_hash.as_deref()), (Some("dreams"), Some("blake3:ab")));
        assert_eq!((new.clip_skip, new.size), (Some(2), ImageSize::new(512, 640).ok()));
        assert_eq!(new.not_understood, ["LoRA: ink (0.7)"]);
        let old = json!({"model": "stable diffusion", "model_weights": "sd-1.5", "model_hash": "cc6c", "app_id": "x",
        "image": {"prompt": [{"prompt": "a fox [fog]", "weight": 1.0}], "steps": 50, "cfg_scale": 7.5, "threshold": 0,
        "perlin": 0, "height": 512, "width": 512, "seed": 3, "type": "txt2img", "sampler": "k_euler_a"}});
        let old = recipe(&[("sd-metadata", &old.to_string()), ("Dream", "\"a fox\" -s 50")]);
        assert_eq!((old.prompt.as_str(), old.negative_prompt.as_str()), ("a fox", "fog"));
        assert_eq!((old.sampler, old.seed), (Some(SamplerKind::EulerAncestral), Some(Seed(3))));
        assert_eq!(recipe(&[("Dream", "\"a fox\" -s 50 -S 9")]).seed, Some(Seed(9)));
    }

    #[test]
    fn fooocus_and_swarm_are_read() {
        let fooocus = json!({"adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernaut", "base_model_hash": "aa",
        "full_prompt": ["a fox", "cinematic"], "full_negative_prompt": "fog", "guidance_scale": 4.0,
        "loras": [["ink.safetensors", 0.1, "bb"]], "metadata_scheme": "fooocus", "negative_prompt": "",
        "prompt": "a fox", "resolution": "(768, 1280)", "sampler": "dpmpp_2m", "scheduler": "karras",
        "seed": "9223372036854775809", "steps": 30, "styles": "['Fooocus V2']", "version": "Fooocus v2.3"});
        let fooocus = recipe(&[("parameters", &fooocus.to_string()), ("fooocus_scheme", "fooocus")]);
        assert_eq!((fooocus.prompt.as_str(), fooocus.negative_prompt.as_str()), ("a fox\ncinematic", "fog"));
        assert_eq!(
            (fooocus.seed, fooocus.size),
            (Some(Seed(9_223_372_036_854_775_809)), ImageSize::new(768, 1280).ok())
        );
        assert_eq!((fooocus.loras[0].weight, fooocus.model_hash.as_deref()), (Some(0.1), Some("aa")));
        assert!(fooocus.not_understood.contains(&"styles: ['Fooocus V2']".to_owned()), "{:?}", fooocus.not_understood);
        let swarm = json!({"sui_image_params": {"prompt": "a fox", "model": "m", "seed": 3, "steps": 20, "cfgscale": 7.0,
        "width": 512, "height": 512, "sampler": "euler", "scheduler": "karras", "loras": ["ink"], "loraweights": ["0.5"],
        "clipstopatlayer": -2, "swarm_version": "0.9"}});
        let swarm = recipe(&[("parameters", &swarm.to_string())]);
        assert_eq!((swarm.tool.as_deref(), swarm.clip_skip), (Some("SwarmUI"), Some(2)));
        assert_eq!((swarm.loras[0].weight, swarm.guidance), (Some(0.5), GuidanceScale::new(7.0).ok()));
    }

    #[test]
    fn stable_diffusion_cpps_own_json_counts() {
        let own = json!({"schema": "sdcpp.image.params/v1", "generator": {"name": "stable-diffusion.cpp"}, "seed": 7,
        "width": 512, "height": 512, "prompt": {"positive": "a fox", "negative": "fog"}, "sampling": {"steps": 30, "eta": 0.5,
        "method": "euler_a", "scheduler": "karras", "guidance": {"txt_cfg": 5.0}}, "models": {"model": "v1-5"}, "rng": "cuda"});
        let text =
            format!("x\nSteps: 1, CFG scale: 99, Seed: 1, Sampler: heun, Version: stable-diffusion.cpp, SDCPP: {own}");
        let recipe = recipe(&[("parameters", &text)]);
        assert_eq!(
            (recipe.prompt.as_str(), recipe.negative_prompt.as_str(), recipe.seed),
            ("a fox", "fog", Some(Seed(7)))
        );
        assert_eq!((recipe.sampler, recipe.steps), (Some(SamplerKind::EulerAncestral), Steps::new(30).ok()));
        assert_eq!(recipe.not_understood, ["rng: cuda", "eta: 0.5"]);
    }

    #[test]
    fn novelai_draw_things_and_easy_diffusion_are_read() {
        let comment = json!({"steps": 28, "sampler": "k_euler_ancestral", "seed": 5, "strength": 0.7, "noise": 0.2,
        "scale": 11.0, "uc": "fog"});
        let novel = [("Software", "NovelAI"), ("Description", "a fox"), ("Comment", &comment.to_string())];
        let novel = recipe(&novel);
        assert_eq!(
            (novel.prompt.as_str(), novel.negative_prompt.as_str(), novel.seed),
            ("a fox", "fog", Some(Seed(5)))
        );
        assert_eq!((novel.sampler, novel.size, novel.strength), (Some(SamplerKind::EulerAncestral), None, None));
        assert_eq!(novel.not_understood, ["noise: 0.2", "strength: 0.7"]);
        let packet = "<x:xmpmeta><xmp:CreatorTool>Draw Things</xmp:CreatorTool><exif:UserComment><rdf:Alt>\
        <rdf:li xml:lang=\"x-default\">{&quot;c&quot;:&quot;a fox &amp;amp; more&quot;,&quot;uc&quot;:&quot;&quot;,\
        &quot;seed&quot;:4,&quot;steps&quot;:20,&quot;scale&quot;:1.8999999761581421,&quot;size&quot;:&quot;512x512&quot;,\
        &quot;sampler&quot;:&quot;DPM++ 2M Karras&quot;,&quot;model&quot;:&quot;m.ckpt&quot;,\
        &quot;v2&quot;:{&quot;guidanceScale&quot;:1.9}}</rdf:li></rdf:Alt></exif:UserComment></x:xmpmeta>";
        let drawn = recipe(&[(XMP_KEYWORD, packet)]);
        assert_eq!((drawn.prompt.as_str(), drawn.guidance), ("a fox &amp; more", GuidanceScale::new(1.9).ok()));
        assert_eq!((drawn.sampler, drawn.schedule), (Some(SamplerKind::DpmPlusPlus2M), Some(ScheduleKind::Karras)));
        let easy = recipe(&[
            ("prompt", "a fox"),
            ("negative_prompt", "fog"),
            ("num_inference_steps", "25"),
            ("guidance_scale", "7.5"),
            ("seed", "6"),
            ("width", "512"),
            ("height", "512"),
            ("sampler_name", "euler_a"),
            ("use_stable_diffusion_model", "v1-5"),
            ("use_lora_model", "['ink', 'snow']"),
            ("lora_alpha", "[0.5, 1.0]"),
            ("use_vae_model", "None"),
        ]);
        assert_eq!((easy.prompt.as_str(), easy.model.as_deref()), ("a fox", Some("v1-5")));
        assert_eq!((easy.loras.len(), easy.loras[0].weight), (2, Some(0.5)));
        assert_eq!(easy.not_understood, ["LoRA: ink (0.5)", "LoRA: snow (1)"]);
    }

    /// Three times the limit of 100 ms, for machines that are busy while they test.
    const LONGEST: Duration = Duration::from_millis(300);

    #[track_caller]
    fn assert_ends_soon(texts: &[(&str, &str)]) {
        let begin = Instant::now();
        let said = found(texts);
        assert!(begin.elapsed() < LONGEST, "{:?}", begin.elapsed());
        assert!(said.recipe.is_none_or(|recipe| recipe.not_understood.len() <= fields::MOST_NOT_UNDERSTOOD));
    }

    #[test]
    fn circles_nets_depths_and_lengths_end_soon() {
        let mut circle = usual_graph();
        circle["3"]["inputs"]["latent_image"] = json!(["3", 0]);
        circle["3"]["inputs"]["model"] = json!(["3", 0]);
        circle["6"] = json!({"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["6", 0], "conditioning_2": ["6", 0]}});
        circle["7"]["inputs"]["text"] = json!(["7", 0]);
        circle["7"]["inputs"]["clip"] = json!(["7", 0]);
        assert_ends_soon(&[("prompt", &circle.to_string())]);
        // Each text joins the one before with itself.
        let mut net = usual_graph();
        net["6"]["inputs"]["text"] = json!(["t60", 0]);
        net["t0"] = json!({"class_type": "PrimitiveString", "inputs": {"value": "0123456789"}});
        for at in 1..=60 {
            let before = json!([format!("t{}", at - 1), 0]);
            net[format!("t{at}")] =
                json!({"class_type": "StringConcatenate", "inputs": {"string_a": before, "string_b": before}});
        }
        assert_ends_soon(&[("prompt", &net.to_string())]);
        let many: serde_json::Map<String, serde_json::Value> =
            (0..3000).map(|at| (at.to_string(), usual_graph()["3"].clone())).collect();
        assert_ends_soon(&[("prompt", &serde_json::Value::Object(many).to_string())]);
        for keyword in ["parameters", "prompt", "invokeai_metadata", "UserComment", "Dream", XMP_KEYWORD] {
            for text in
                ["{\"a\":".repeat(200_000), "[{".repeat(400_000), "a: b, ".repeat(150_000), "<lora:".repeat(100_000)]
            {
                assert_ends_soon(&[(keyword, &text)]);
            }
        }
    }

    proptest! {
        #[test]
        fn any_texts_are_read_without_a_panic(
            texts in proptest::collection::vec(
                (proptest::sample::select(vec!["parameters", "prompt", "Dream", "Comment", "UserComment", "sd-metadata"]), any_text()),
                0..4,
            ),
        ) {
            let texts: Vec<(&str, &str)> = texts.iter().map(|(keyword, text)| (*keyword, text.as_str())).collect();
            let _ = found(&texts);
        }

        #[test]
        fn damaged_graphs_are_read_without_a_panic(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), 32_u8..127), 0..12),
        ) {
            let mut bytes = usual_graph().to_string().into_bytes();
            for (index, value) in changes {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            let _ = found(&[("prompt", &String::from_utf8(bytes).unwrap())]);
        }
    }
}
