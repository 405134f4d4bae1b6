"""The texts of the pictures that make_recipe_files.py writes, as each program writes them, and what they say.

Every entry of FILES is (name, container, texts, said): `said` has the fields of `calotype info --json` that are not
null, and `not_understood`, word for word; None where no recipe is to be found.
"""

import json

A1111 = (
    "a fox in snow <lora:ink:0.8>\nsecond line\nNegative prompt: fog, rain\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 4294967296, Size: 512x768, "
    "Model hash: abcdef1234, Model: dreams, Clip skip: 2, RNG: CPU, Lora hashes: \"ink: 0123456789ab\", Version: v1.10.1"
)
A1111_SAID = dict(
    tool="AUTOMATIC1111", prompt="a fox in snow <lora:ink:0.8>\nsecond line", negative_prompt="fog, rain",
    seed=4294967296, steps=20, guidance=7.0, sampler="dpmpp-2m", schedule="karras", width=512, height=768,
    model="dreams", model_hash="abcdef1234", clip_skip=2, noise="torch-cpu",
    loras=[{"name": "ink", "weight": 0.8, "hash": "0123456789ab"}], not_understood=["LoRA: ink (0.8)"],
)


def infotext(settings, prompt="a fox"):
    return f"{prompt}\n{settings}"


def graph(**changes):
    """ComfyUI's usual graph."""
    nodes = {
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 156680208700286, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "karras",
            "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
    }
    nodes.update(changes)
    return nodes


COMFY_SAID = dict(
    tool="ComfyUI", prompt="a fox", negative_prompt="fog", seed=156680208700286, steps=20, guidance=8.0,
    sampler="euler", schedule="karras", width=512, height=768, model="v1-5.safetensors", denoise=1.0,
    noise="comfyui", dialect="comfyui", not_understood=[],
)
GRAPH = json.dumps(graph())

TENSORART = json.dumps({
    "models": [{"label": "Ink", "type": "LORA", "modelFileName": "ink", "weight": 0.7, "hash": "BEEF"}],
    "baseModel": {"label": "Dreams", "type": "BASE_MODEL", "modelFileName": "dreams", "hash": "CAFE"},
    "sdxl": {"refiner": False}, "prompt": "a fox", "negativePrompt": "fog", "width": 512, "height": 768,
    "imageCount": 1, "samplerName": "Euler a", "steps": 25, "cfgScale": 3, "seed": "-1", "clipSkip": 2,
    "sdVae": "Automatic", "etaNoiseSeedDelta": 31337,
})

SWARM = json.dumps({"sui_image_params": {
    "prompt": "a <random:red,blue> fox", "negativeprompt": "fog", "model": "dreams", "seed": 3, "steps": 20,
    "cfgscale": 7.0, "width": 512, "height": 768, "sampler": "euler", "scheduler": "karras", "clipstopatlayer": -2,
    "initimagecreativity": 0.6, "swarm_version": "0.9.6.2"}}, indent=2)
SWARM_SAID = dict(
    tool="SwarmUI", prompt="a <random:red,blue> fox", negative_prompt="fog", seed=3, steps=20, guidance=7.0,
    sampler="euler", schedule="karras", width=512, height=768, model="dreams", clip_skip=2, denoise=0.6,
    not_understood=["Prompt: macros of SwarmUI"],
)

FOOOCUS = json.dumps({
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernaut", "base_model_hash": "aa11", "clip_skip": 2,
    "full_negative_prompt": ["fog", "ugly"], "full_prompt": ["a fox", "cinematic"], "guidance_scale": 4.0,
    "loras": [["ink.safetensors", 0.1, "bb22"]], "metadata_scheme": "fooocus", "negative_prompt": "fog",
    "performance": "Speed", "prompt": "a fox", "resolution": "(768, 1280)", "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras", "seed": "9223372036854775809", "sharpness": 2.0, "steps": 30,
    "styles": "['Fooocus V2']", "vae": "Default (model)", "version": "Fooocus v2.5.5"})
FOOOCUS_SAID = dict(
    tool="Fooocus", prompt="a fox\ncinematic", negative_prompt="fog\nugly", seed=9223372036854775809, steps=30,
    guidance=4.0, sampler="dpmpp-2m-sde", schedule="karras", width=768, height=1280, model="juggernaut",
    model_hash="aa11", clip_skip=2, loras=[{"name": "ink.safetensors", "weight": 0.1, "hash": "bb22"}],
    not_understood=["LoRA: ink.safetensors (0.1)", "adm_guidance: (1.5, 0.8, 0.3)", "performance: Speed",
                    "sharpness: 2.0", "styles: ['Fooocus V2']", "vae: Default (model)"],
)

NOVEL_COMMENT = json.dumps({"steps": 28, "sampler": "k_euler_ancestral", "seed": 5, "strength": 0.7, "noise": 0.2,
                            "scale": 11.0, "uc": "fog"})
NOVEL_4 = {
    "prompt": "a {{fox}}, -0.8::fog::", "uc": "rain", "steps": 23, "scale": 5.0, "seed": 9, "width": 832, "height": 1216,
    "sampler": "k_euler_ancestral", "noise_schedule": "karras", "request_type": "PromptGenerateRequest",
    "strength": 0.7, "noise": 0.0,
    "v4_prompt": {"caption": {"base_caption": "a {{fox}}", "char_captions": [{"char_caption": "girl, red hat"}]}}}
NOVEL_4_SAID = dict(
    tool="NovelAI", prompt="a {{fox}}, -0.8::fog::", negative_prompt="rain", seed=9, steps=23, guidance=5.0,
    sampler="euler-a", schedule="karras", width=832, height=1216, model="NovelAI Diffusion V4 37442FCA",
    not_understood=["Prompt: weights in NovelAI's own language", "Character: girl, red hat"],
)

DRAW_THINGS = json.dumps({
    "c": "a fox & \"more\"", "uc": "fog", "seed": 4, "steps": 20, "scale": 1.8999999761581421, "size": "512x768",
    "sampler": "DPM++ 2M Karras", "model": "dreams.ckpt", "strength": 1, "lora": [{"model": "ink.ckpt", "weight": 0.6}],
    "v2": {"guidanceScale": 1.9, "clipSkip": 2, "hiresFix": True}})
DRAW_THINGS_SAID = dict(
    tool="Draw Things", prompt="a fox & \"more\"", negative_prompt="fog", seed=4, steps=20, guidance=1.9,
    sampler="dpmpp-2m", schedule="karras", width=512, height=768, model="dreams.ckpt", clip_skip=2, denoise=1.0,
    loras=[{"name": "ink.ckpt", "weight": 0.6, "hash": None}], not_understood=["LoRA: ink.ckpt (0.6)", "hiresFix: true"],
)

EASY = {
    "prompt": "a fox", "negative_prompt": "fog", "num_inference_steps": 25, "guidance_scale": 7.5, "seed": 6,
    "width": 512, "height": 768, "sampler_name": "euler_a", "use_stable_diffusion_model": "v1-5", "use_vae_model": None,
    "use_lora_model": ["ink", "snow"], "lora_alpha": [0.5, 1.0], "clip_skip": True}
EASY_SAID = dict(
    tool="Easy Diffusion", prompt="a fox", negative_prompt="fog", seed=6, steps=25, guidance=7.5, sampler="euler-a",
    width=512, height=768, model="v1-5", clip_skip=2,
    loras=[{"name": "ink", "weight": 0.5, "hash": None}, {"name": "snow", "weight": 1.0, "hash": None}],
    not_understood=["LoRA: ink (0.5)", "LoRA: snow (1)"],
)
EASY_SPACED = {
    "Prompt": "a fox", "Negative Prompt": "fog", "Steps": "25", "Guidance Scale": "7.5", "Seed": "6", "Width": "512",
    "Height": "768", "Sampler": "euler_a", "Stable Diffusion model": "v1-5", "Clip Skip": "True",
    "LoRA model": "['ink', 'snow']", "LoRA Strength": "[0.5, 1.0]", "VAE model": "None"}

INVOKE_5 = json.dumps({
    "app_version": "5.6.0", "generation_mode": "txt2img", "positive_prompt": "a fox++", "negative_prompt": "fog",
    "width": 512, "height": 640, "seed": 42, "rand_device": "cpu", "cfg_scale": 7.5, "cfg_rescale_multiplier": 0.0,
    "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 1, "seamless_x": False,
    "model": {"key": "k", "hash": "blake3:ab", "name": "dreams", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"key": "l", "hash": "blake3:cd", "name": "ink", "base": "sd-1", "type": "lora"}, "weight": 0.7}],
    "controlnets": []})
INVOKE_2 = json.dumps({
    "model": "stable diffusion", "model_weights": "sd-1.5", "model_hash": "cc6c", "app_id": "invoke-ai/InvokeAI",
    "app_version": "2.2.5", "image": {
        "prompt": [{"prompt": "a fox [fog]", "weight": 0.7}, {"prompt": "a wolf", "weight": 0.3}], "steps": 50,
        "cfg_scale": 7.5, "threshold": 0, "perlin": 0, "height": 512, "width": 512, "seed": 3, "type": "txt2img",
        "sampler": "k_euler_a"}})

SDCPP_OWN = json.dumps({
    "schema": "sdcpp.image.params/v1", "generator": {"name": "stable-diffusion.cpp"}, "seed": 7, "width": 512,
    "height": 768, "prompt": {"positive": "a fox", "negative": "fog"}, "models": {"model": "v1-5"},
    "sampling": {"steps": 30, "method": "euler_a", "scheduler": "karras", "guidance": {"txt_cfg": 5.0}}})

# (name, container, texts or options, said)
FILES = [
    ("a1111-png", "reader.png", A1111, A1111_SAID),
    ("a1111-jpeg", "reader.jpg", A1111, A1111_SAID),
    ("a1111-webp", "reader.webp", A1111, A1111_SAID),
    ("a1111-utf8-in-text", "png", [("tEXt", "parameters", infotext(
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 3, Size: 512x768", "un renard élégant 狐"))],
     dict(tool="AUTOMATIC1111", prompt="un renard élégant 狐", seed=3, steps=20, guidance=7.0, sampler="euler-a",
          schedule="normal", width=512, height=768, noise="philox", not_understood=[])),
    ("a1111-2022", "png", [("tEXt", "parameters", infotext(
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 3, Denoising Strength: 0.75, ENSD: 31337"))],
     dict(tool="AUTOMATIC1111", prompt="a fox", seed=3, steps=20, guidance=7.0, sampler="dpmpp-2m", schedule="karras",
          denoise=0.75, noise="philox", noise_seed_delta=31337, not_understood=[])),
    ("a1111-settings-alone", "png", [("tEXt", "parameters", "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 3")],
     dict(tool="AUTOMATIC1111", seed=3, steps=20, guidance=7.0, sampler="euler", schedule="normal", noise="philox",
          not_understood=[])),
    ("a1111-negative-alone", "png", [("tEXt", "parameters",
        "Negative prompt:\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 3")],
     dict(tool="AUTOMATIC1111", seed=3, steps=20, guidance=7.0, sampler="euler", schedule="normal", noise="philox",
          not_understood=[])),
    ("a1111-hires", "png", [("tEXt", "parameters", infotext(
        "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 3, Size: 512x768, Denoising strength: 0.5, Emphasis: No norm, "
        "Pad conds: True, Hires upscale: 2, Hires upscaler: Latent, Version: v1.10.1"))],
     dict(tool="AUTOMATIC1111", prompt="a fox", seed=3, steps=20, guidance=7.0, sampler="euler", schedule="normal",
          width=512, height=768, noise="philox", emphasis="no-norm", not_understood=[
              "Denoising strength: 0.5", "Pad conds: True", "Hires upscale: 2", "Hires upscaler: Latent"])),
    ("a1111-late-zero-crlf", "png", [("late", "parameters",
        "a fox\r\n\r\nNegative prompt: fog\r\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 3\0")],
     dict(tool="AUTOMATIC1111", prompt="a fox", negative_prompt="fog", seed=3, steps=20, guidance=7.0, sampler="euler",
          schedule="normal", noise="philox", not_understood=[])),
    ("a-png-named-jpeg", "png", [("iTXt", "parameters", infotext("Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 3"))],
     dict(tool="AUTOMATIC1111", prompt="a fox", seed=3, steps=20, guidance=7.0, sampler="euler", schedule="normal",
          noise="philox", not_understood=[])),
    ("prompt-that-looks-like-json", "png", [("tEXt", "parameters", infotext(
        "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 3, App: SD.Next", '{"subject": "a fox"}'))],
     dict(tool="SD.Next", prompt='{"subject": "a fox"}', seed=3, steps=20, guidance=7.0, sampler="euler",
          not_understood=[])),
    ("forge", "png", [("tEXt", "parameters", infotext(
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 3, Size: 512x768, "
        "Version: f2.0.1v1.10.1-previous-313"))],
     dict(tool="Forge", prompt="a fox", seed=3, steps=20, guidance=7.0, sampler="dpmpp-2m", schedule="karras", width=512,
          height=768, not_understood=[])),
    ("sdnext", "png", [("tEXt", "parameters",
        "a fox\nNegative prompt: fog\nTemplate: a {fox}\nNegative Template: fog\n"
        "Steps: 20, Size: 512x768, Seed: 3, CFG scale: 6, App: SD.Next, Version: ab12cd3, Pipeline: StableDiffusionPipeline, "
        "Operations: txt2img, Model: dreams, Model hash: abcdef1234")],
     dict(tool="SD.Next", prompt="a fox", negative_prompt="fog", seed=3, steps=20, guidance=6.0, width=512, height=768,
          model="dreams", model_hash="abcdef1234",
          not_understood=["Pipeline: StableDiffusionPipeline", "Operations: txt2img"])),
    ("sdcpp", "png", [("tEXt", "parameters",
        "a fox\nSteps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: inf, Seed: 42, Size: 512x768, Model: , RNG: cuda, "
        "TE: one, TE: two, Sampler: euler_a karras, Version: stable-diffusion.cpp")],
     dict(tool="stable-diffusion.cpp", prompt="a fox", seed=42, steps=20, guidance=7.0, sampler="euler-a",
          schedule="karras", width=512, height=768, noise="philox",
          not_understood=["Guidance: 3.500000", "Eta: inf", "TE: one"])),
    ("sdcpp-own-json", "png", [("tEXt", "parameters",
        "x\nSteps: 1, CFG scale: 99, Seed: 1, Sampler: heun, Version: stable-diffusion.cpp, SDCPP: " + SDCPP_OWN)],
     dict(tool="stable-diffusion.cpp", prompt="a fox", negative_prompt="fog", seed=7, steps=30, guidance=5.0,
          sampler="euler-a", schedule="karras", width=512, height=768, model="v1-5", not_understood=[])),
    ("civitai-generator", "exif.jpg", dict(comment=("unicode-be", infotext(
        'Steps: 25, Sampler: Undefined, CFG scale: 4, Seed: 9, Size: 832x1216, Clip skip: 2, Civitai resources: '
        '[{"type":"checkpoint","modelVersionId":1,"modelName":"Dream","modelVersionName":"v8"},'
        '{"type":"lora","weight":0.5,"modelName":"Ink"}]')), order="II"),
     dict(tool="Civitai", prompt="a fox", seed=9, steps=25, guidance=4.0, width=832, height=1216, model="Dream v8",
          clip_skip=2, loras=[{"name": "Ink", "weight": 0.5, "hash": None}],
          not_understood=["LoRA: Ink (0.5)", "Sampler: Undefined"])),
    ("civitai-graph", "exif.jpg", dict(comment=("unicode-be", json.dumps(graph(
        **{"4": {"class_type": "CheckpointLoaderSimple",
                 "inputs": {"ckpt_name": "https://files.example/models/dreams.safetensors?X-Signature=secret"}}},
        extra={"airs": ["urn:air:sd1:checkpoint:civitai:1@2"]}, extraMetadata="{\"prompt\": \"other\"}"))), order="II"),
     dict(COMFY_SAID, model="dreams.safetensors")),
    ("comfyui", "png", [("tEXt", "prompt", GRAPH), ("tEXt", "workflow", '{"nodes": []}')], COMFY_SAID),
    ("comfyui-beside-made-up-infotext", "png", [
        ("tEXt", "parameters", "unknown\nSteps: 0, Sampler: unknown, Seed: 0"), ("tEXt", "prompt", GRAPH)], COMFY_SAID),
    ("comfyui-webp-make-model", "exif.webp", dict(ifd0=[(0x010F, 'workflow:{"nodes": []}'), (0x0110, "prompt:" + GRAPH)]),
     COMFY_SAID),
    ("comfyui-webp-description", "exif.webp", dict(ifd0=[(0x010E, 'Workflow: {"nodes": []}'), (0x010F, "Prompt: " + GRAPH)]),
     COMFY_SAID),
    ("comfyui-jpeg-ifd0-comment", "exif.jpg", dict(ifd0=[(0x9286, json.dumps({"prompt": graph(), "workflow": {}}))]),
     COMFY_SAID),
    ("comfyui-workflow-alone", "png", [("tEXt", "workflow", '{"nodes": []}')], None),
    ("tensorart", "png", [("tEXt", "generation_data", TENSORART + "\0")],
     dict(tool="TensorArt", prompt="a fox", negative_prompt="fog", steps=25, guidance=3.0, sampler="euler-a", width=512,
          height=768, model="dreams", model_hash="CAFE", clip_skip=2,
          loras=[{"name": "ink", "weight": 0.7, "hash": "BEEF"}],
          not_understood=["LoRA: ink (0.7)", "etaNoiseSeedDelta: 31337", "seed: -1"])),
    ("tensorart-with-graph", "png", [("tEXt", "generation_data", TENSORART + "\0"), ("tEXt", "prompt", GRAPH + "\0")],
     COMFY_SAID),
    ("stability-matrix", "png", [
        ("tEXt", "parameters", "a fox # old\r\nSteps: 20, Sampler: Euler, CFG scale: 8, Seed: 1, Size: 512x768"),
        ("tEXt", "parameters-json", "{}"), ("tEXt", "smproject", "{}"), ("tEXt", "prompt", GRAPH)], COMFY_SAID),
    ("invokeai-5", "png", [("tEXt", "invokeai_metadata", INVOKE_5)],
     dict(tool="InvokeAI", prompt="a fox++", negative_prompt="fog", seed=42, steps=30, guidance=7.5, sampler="dpmpp-2m",
          schedule="karras", width=512, height=640, model="dreams", model_hash="blake3:ab", clip_skip=2,
          loras=[{"name": "ink", "weight": 0.7, "hash": "blake3:cd"}],
          not_understood=["LoRA: ink (0.7)", "Prompt: weights in InvokeAI's own language"])),
    ("invokeai-2", "png", [("zTXt", "sd-metadata", INVOKE_2), ("tEXt", "Dream", '"a fox [fog]" -s 50 -S 3')],
     dict(tool="InvokeAI", prompt="a fox", negative_prompt="fog", seed=3, steps=50, guidance=7.5, sampler="euler-a",
          schedule="model", width=512, height=512, model="sd-1.5", model_hash="cc6c",
          not_understood=["Blended with: a wolf"])),
    ("invokeai-1", "png", [("tEXt", "Dream", '"a fox [fog]" -s50 -S 3 -W512 -H 768 -C7.5 -A k_lms -V 1:0.5')],
     dict(tool="InvokeAI", prompt="a fox", negative_prompt="fog", seed=3, steps=50, guidance=7.5, sampler="lms",
          schedule="model", width=512, height=768, not_understood=["-V: 1:0.5"])),
    ("invokeai-mask-command", "png", [("tEXt", "Dream", "!mask picture.png -tm cat")], None),
    ("fooocus", "png", [("tEXt", "parameters", FOOOCUS), ("tEXt", "fooocus_scheme", "fooocus")], FOOOCUS_SAID),
    ("fooocus-jpeg", "exif.jpg", dict(comment=("unicode-be", FOOOCUS), order="MM"), FOOOCUS_SAID),
    ("ruined-fooocus", "png", [("tEXt", "parameters", json.dumps({
        "Prompt": "a fox", "Negative": "fog", "steps": 30, "cfg": 8, "width": 1152, "height": 896, "seed": 77,
        "base_model_name": "dreams.safetensors", "base_model_hash": "aa11", "sampler_name": "dpmpp_2m",
        "scheduler": "karras", "loras": [["bb22", "0.5 - ink.safetensors"]], "software": "RuinedFooocus"}))],
     dict(tool="RuinedFooocus", prompt="a fox", negative_prompt="fog", seed=77, steps=30, guidance=8.0,
          sampler="dpmpp-2m", schedule="karras", width=1152, height=896, model="dreams.safetensors", model_hash="aa11",
          loras=[{"name": "ink.safetensors", "weight": 0.5, "hash": "bb22"}],
          not_understood=["LoRA: ink.safetensors (0.5)"])),
    ("hugging-face-space", "png", [("tEXt", "parameters", json.dumps({
        "prompt": "a fox", "negative_prompt": "fog", "num_inference_steps": 28, "guidance_scale": 7,
        "resolution": "832 x 1216", "seed": 5, "sampler": "Euler a", "Model": "dreams", "Model hash": "abcdef1234"}))],
     dict(prompt="a fox", negative_prompt="fog", seed=5, steps=28, guidance=7.0, sampler="euler-a", width=832,
          height=1216, model="dreams", model_hash="abcdef1234", not_understood=[])),
    ("swarmui", "png", [("tEXt", "parameters", SWARM)], SWARM_SAID),
    ("swarmui-jpeg-little-endian", "exif.jpg", dict(comment=("unicode-le", SWARM), order="II"), SWARM_SAID),
    ("novelai-1", "png", [("tEXt", "Software", "NovelAI"), ("tEXt", "Description", "a fox"),
                          ("tEXt", "Source", "Stable Diffusion 81274D13"), ("tEXt", "Comment", NOVEL_COMMENT)],
     dict(tool="NovelAI", prompt="a fox", negative_prompt="fog", seed=5, steps=28, guidance=11.0, sampler="euler-a",
          model="Stable Diffusion 81274D13", not_understood=["noise: 0.2", "strength: 0.7"])),
    ("novelai-4-webp", "exif.webp", dict(ifd0=[(0x010E, "\0\0\0a fox")], comment=("ascii", json.dumps({
        "Software": "NovelAI", "Source": "NovelAI Diffusion V4 37442FCA", "Comment": json.dumps(NOVEL_4)})), order="MM"),
     NOVEL_4_SAID),
    ("gimp-comment", "png", [("tEXt", "Comment", "Created with GIMP"), ("tEXt", "Title", "fox")], None),
    ("draw-things", "xmp.png", DRAW_THINGS, DRAW_THINGS_SAID),
    ("draw-things-exif", "exif.jpg", dict(comment=("ascii", DRAW_THINGS), order="MM"), DRAW_THINGS_SAID),
    ("easy-diffusion", "png", [("tEXt", key, str(value)) for key, value in EASY.items()], EASY_SAID),
    ("easy-diffusion-spaced", "png", [("tEXt", key, value) for key, value in EASY_SPACED.items()], EASY_SAID),
    ("easy-diffusion-jpeg", "exif.jpg", dict(comment=("unicode-be", json.dumps(EASY)), order="MM"), EASY_SAID),
    ("stealth-pnginfo", "stealth", ("stealth_pnginfo", A1111), A1111_SAID),
    ("stealth-pngcomp", "stealth", ("stealth_pngcomp", A1111), A1111_SAID),
    ("stealth-rgbinfo", "stealth", ("stealth_rgbinfo", A1111), A1111_SAID),
    ("stealth-rgbcomp", "stealth", ("stealth_rgbcomp", A1111), A1111_SAID),
    ("stealth-novelai", "stealth", ("stealth_pngcomp", json.dumps({
        "Software": "NovelAI", "Source": "NovelAI Diffusion V4 37442FCA", "Comment": json.dumps(NOVEL_4)})), NOVEL_4_SAID),
]
