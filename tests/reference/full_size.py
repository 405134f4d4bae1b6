"""Models of the real sizes with random weights, to see that nothing depends on the tiny models' smallness.

    full_size.py make sd2|xl|xl-shallow FOLDER    a diffusers folder in f16, weights from seed 0
    full_size.py draw FOLDER OUT.png       diffusers' picture in f32: PROMPT, 2 steps of DDIM, guidance 5, seed 7
    full_size.py ckpt FILE OUT.ckpt        a single file (single_files.py makes it) as PyTorch writes it
    full_size.py gguf FILE OUT.gguf [q8]   … as GGUF in f16, or with the matrices as Q8_0
    full_size.py compare A.png B.png       by how many levels, in how many bytes

The product's picture of the same: calotype generate "a photo of a cat" --model … --width 128 --height 128 --steps 2
--guidance 5 --sampler ddim --schedule model --seed 7. Up to 15 GB of memory and 21 GB of disk for XL.
"""

import gc
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from single_files import scheduler

# "a photo of a cat" in CLIP's vocabulary, from the documentation of transformers.
PROMPT = [320, 1125, 539, 320, 2368]
BEGIN, END = 49406, 49407
SIDE = 128

TEXT = {"vocab_size": 49408, "bos_token_id": BEGIN, "eos_token_id": END, "max_position_embeddings": 77}
# The published configurations of stable-diffusion-2-1 and stable-diffusion-xl-base-1.0.
CLIP_L = {**TEXT, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
          "hidden_act": "quick_gelu", "projection_dim": 768}  # fmt: skip
OPEN_CLIP_H = {**TEXT, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
               "num_attention_heads": 16, "hidden_act": "gelu", "projection_dim": 512}  # fmt: skip
OPEN_CLIP_BIG_G = {**TEXT, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
                   "num_attention_heads": 20, "hidden_act": "gelu", "projection_dim": 1280}  # fmt: skip
SD2 = {
    "sample_size": 96,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}
XL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 2,
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
FAMILIES = {
    "sd2": (SD2, 0.18215, {"text_encoder": (CLIPTextModel, OPEN_CLIP_H)}, "v_prediction"),
    "xl": (XL, 0.13025, {"text_encoder": (CLIPTextModel, CLIP_L),
                         "text_encoder_2": (CLIPTextModelWithProjection, OPEN_CLIP_BIG_G)}, "epsilon"),
}  # fmt: skip
# True widths in half the memory: 2 where XL has 10 layers.
FAMILIES["xl-shallow"] = ({**XL, "transformer_layers_per_block": [1, 1, 2]}, *FAMILIES["xl"][1:])


def random_weights(model):
    """Uniform as torch's layers start with, biases and norms spread as wide as those of trained models."""
    generator = torch.Generator().manual_seed(0)
    out = {}
    for name, empty in model.state_dict().items():
        if name.endswith("position_ids"):
            continue
        values = torch.rand(empty.shape, generator=generator) * 2 - 1
        if empty.ndim > 1:
            values *= 0.03 if "embedding" in name and "text" in type(model).__name__.lower() else empty[0].numel() ** -0.5
        elif name.endswith("bias"):
            values *= 0.3 if "norm" in name else 0.05
        else:
            values = 1 + 0.2 * values
        out[name] = values.half()
    return out


def make(family, folder):
    unet, scale, texts, prediction = FAMILIES[family]
    parts = [
        ("unet", "diffusion_pytorch_model", lambda: UNet2DConditionModel(**unet)),
        ("vae", "diffusion_pytorch_model", lambda: AutoencoderKL(**VAE, scaling_factor=scale)),
    ]
    parts += [(part, "model", lambda cls=cls, c=c: cls(CLIPTextConfig(**c))) for part, (cls, c) in texts.items()]
    for part, stem, build in parts:
        with init_empty_weights():
            model = build()
        (folder / part).mkdir(parents=True)
        if stem == "model":
            model.config.architectures = [type(model).__name__]
            model.config.save_pretrained(folder / part)
        else:
            model.save_config(folder / part)
        save_file(random_weights(model), folder / part / f"{stem}.safetensors")
        gc.collect()
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler(prediction)))
    # OpenCLIP's tokenizer pads with "!", id 0.
    tokenizer = folder / ("tokenizer" if family == "sd2" else "tokenizer_2")
    tokenizer.mkdir()
    (tokenizer / "special_tokens_map.json").write_text('{"pad_token": "!"}')
    name = "StableDiffusionPipeline" if family == "sd2" else "StableDiffusionXLPipeline"
    index = {"_class_name": name} | ({"force_zeros_for_empty_prompt": True} if family.startswith("xl") else {})
    (folder / "model_index.json").write_text(json.dumps(index))


def loaded(cls, path, config):
    """The weights in f32, one after the other, so that no second copy is ever there."""
    with init_empty_weights():
        model = cls(config) if cls.__module__.startswith("transformers") else cls.from_config(config)
    (file,) = path.glob("*.safetensors")
    weights = load_file(file)
    for name in list(weights):
        weights[name] = weights[name].float()
    model.load_state_dict(weights, strict=False, assign=True)
    if cls.__module__.startswith("transformers"):
        # Not a weight, and empty like them.
        embeddings = next(m for m in model.modules() if hasattr(m, "position_embedding"))
        embeddings.position_ids = torch.arange(77)[None]
    assert not [name for name, p in model.named_parameters() if p.is_meta], "weights are missing"
    return model.eval()


def encoded(folder, part, cls, ids):
    model = loaded(cls, folder / part, CLIPTextConfig.from_pretrained(folder / part))
    out = model(torch.tensor(ids), output_hidden_states=True)
    del model
    gc.collect()
    return out


def padded(words, padding):
    ids = [BEGIN, *words, END]
    return ids + [padding] * (77 - len(ids))


def draw(folder, target):
    start = time.perf_counter()
    config = lambda part: json.loads((folder / part / "config.json").read_text())
    is_xl = (folder / "text_encoder_2").exists()
    if is_xl:
        first = encoded(folder, "text_encoder", CLIPTextModel, [padded(PROMPT, END)])
        second = encoded(folder, "text_encoder_2", CLIPTextModelWithProjection, [padded(PROMPT, 0)])
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        texts = {"prompt_embeds": states, "pooled_prompt_embeds": second.text_embeds,
                 "negative_prompt_embeds": torch.zeros_like(states),
                 "negative_pooled_prompt_embeds": torch.zeros_like(second.text_embeds)}  # fmt: skip
    else:
        both = encoded(folder, "text_encoder", CLIPTextModel, [padded(PROMPT, 0), padded([], 0)]).last_hidden_state
        texts = {"prompt_embeds": both[:1], "negative_prompt_embeds": both[1:]}
    unet = loaded(UNet2DConditionModel, folder / "unet", config("unet"))
    vae = loaded(AutoencoderKL, folder / "vae", config("vae"))
    config_of_noise = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    # Stable Diffusion's pipeline switches clipping off where a configuration is silent; XL's does not.
    noise = DDIMScheduler.from_config(config_of_noise, clip_sample=False)
    parts = {"vae": vae, "text_encoder": None, "tokenizer": None, "unet": unet, "scheduler": noise}
    if is_xl:
        pipe = StableDiffusionXLPipeline(**parts, text_encoder_2=None, tokenizer_2=None, add_watermarker=False)
    else:
        pipe = StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    generator = torch.Generator().manual_seed(7)
    out = pipe(**texts, width=SIDE, height=SIDE, num_inference_steps=2, guidance_scale=5.0, generator=generator)
    out.images[0].save(target)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{time.perf_counter() - start:.1f} s, peak memory {peak:.2f} GiB")


def as_gguf(source, target, quantise):
    import gguf

    kind = gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(target, "sd", use_temp_file=False)
    for name, tensor in load_file(source).items():
        if quantise and tensor.ndim == 2 and tensor.shape[1] % 32 == 0 and "embed" not in name:
            writer.add_tensor(name, gguf.quants.quantize(tensor.float().numpy(), kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare(a, b):
    a, b = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (a, b))
    far = np.abs(a - b)
    saturated = np.isin(a, (0, 255)).mean()
    print(f"at most {far.max()} levels, in {(far > 0).sum()} of {far.size} bytes; {saturated:.1%} saturated; std {a.std():.1f}")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    match sys.argv[1:]:
        case ["make", family, folder]:
            make(family, Path(folder))
        case ["draw", folder, target]:
            draw(Path(folder), target)
        case ["ckpt", source, target]:
            torch.save({"state_dict": load_file(source), "global_step": 1}, target)
        case ["gguf", source, target, *quantise]:
            as_gguf(source, target, bool(quantise))
        case ["compare", a, b]:
            compare(a, b)
        case _:
            sys.exit(__doc__)
