"""The other families as tiny models, and their pictures by diffusers' own pipelines: Stable Diffusion XL, its refiner
(with the uneven U-Net of SSD-1B: other depths up than down, half a middle), and an inpainting model.

Of the inpainting model diffusers draws the latents of the masked picture; here it is made to take their mean.
"""

import json
import shutil

import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint as inpaint
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from golden_models import save, smooth_image
from tiny_models import BOS, CORPUS, EOS, bpe, calibrate, randn, randomize, text_config, vae_of

SCHEDULER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
CAT = "a red cat, sitting on a mat"
BAD = "lowres, blurry, text"


def encoders(vocab, seed):
    ids = {"vocab_size": len(vocab), "bos_token_id": vocab[BOS], "eos_token_id": vocab[EOS], "pad_token_id": vocab[EOS]}
    first = CLIPTextModel(
        text_config(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                    projection_dim=16, hidden_act="quick_gelu", **ids)
    )  # fmt: skip
    second = CLIPTextModelWithProjection(
        text_config(hidden_size=24, intermediate_size=48, num_hidden_layers=3, num_attention_heads=3,
                    projection_dim=20, hidden_act="gelu", **ids)
    )  # fmt: skip
    return randomize(first, seed).half().float(), randomize(second, seed + 1).half().float()


def finished(unet, vae, seed, added):
    """Random weights that make pictures vary, rounded to f16."""
    randomize(unet, seed)
    with torch.no_grad():
        for name, p in unet.named_parameters():
            if "attn2.to_out.0.weight" in name or "attn2.to_q" in name or "time_emb_proj" in name:
                p *= 2.0
    context = randn(1, 2, 77, unet.config.cross_attention_dim)
    x = randn(2, 2, unet.config.in_channels, 16, 16)
    calibrate(unet, unet.conv_out, lambda: unet(x, 501, context, added_cond_kwargs=added).sample, 1.0)
    randomize(vae, seed + 1)
    calibrate(vae, vae.decoder.conv_out, lambda: vae.decode(randn(3, 1, 4, 16, 16)).sample, 0.4)
    image = randn(4, 1, 3, 64, 64).clamp(-1, 1)
    calibrate(vae, vae.quant_conv, lambda: vae.encode(image).latent_dist.mean, 2.0)
    return unet.half().float(), vae.half().float()


def small_vae(scale):
    return vae_of((4, 4, 8), layers_per_block=1, norm_num_groups=2, scaling_factor=scale)


def build_xl(tokenizers, first, second):
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=40,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2], attention_head_dim=[1, 2], use_linear_projection=True, norm_num_groups=4,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=20 + 6 * 8,
    )  # fmt: skip
    added = {"text_embeds": randn(5, 2, 20), "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)}
    unet, vae = finished(unet, small_vae(0.2613), 300, added)
    return StableDiffusionXLPipeline(
        vae=vae, text_encoder=first, text_encoder_2=second, tokenizer=tokenizers[0], tokenizer_2=tokenizers[1],
        unet=unet, scheduler=EulerDiscreteScheduler(**euler_options()), add_watermarker=False,
    )  # fmt: skip


def build_refiner(tokenizers, second):
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=2, cross_attention_dim=24,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, [2, 1]], reverse_transformer_layers_per_block=[[1, 3, 1], 1],
        mid_block_type="UNetMidBlock2D", attention_head_dim=[1, 2], use_linear_projection=True, norm_num_groups=4,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=20 + 5 * 8,
    )  # fmt: skip
    added = {"text_embeds": randn(5, 2, 20), "time_ids": torch.tensor([[64.0, 64, 0, 0, 6]] * 2)}
    unet, vae = finished(unet, small_vae(0.2613), 320, added)
    return StableDiffusionXLImg2ImgPipeline(
        vae=vae, text_encoder=None, text_encoder_2=second, tokenizer=None, tokenizer_2=tokenizers[1], unet=unet,
        scheduler=DDIMScheduler(**SCHEDULER), requires_aesthetics_score=True, force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )  # fmt: skip


def build_inpaint(tokenizers, first):
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=9, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2, norm_num_groups=4,
    )  # fmt: skip
    unet, vae = finished(unet, small_vae(0.18215), 340, None)
    # Its preprocessing leaves channels last, where torch's GroupNorm of a flat picture is off by 1e-4.
    encode = vae.encode
    vae.encode = lambda x: encode(x.contiguous())
    return StableDiffusionInpaintPipeline(
        vae=vae, text_encoder=first, tokenizer=tokenizers[0], unet=unet, scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def euler_options():
    """As the published models have it."""
    kept = {key: value for key, value in SCHEDULER.items() if key not in ("clip_sample", "set_alpha_to_one")}
    return kept | {"timestep_spacing": "leading"}


def families(fixtures, golden):
    vocab, merges = bpe(CORPUS, 150)
    tokenizers = [CLIPTokenizer(vocab, merges, model_max_length=77, **pad) for pad in ({}, {"pad_token": "!"})]
    assert [t.pad_token_id for t in tokenizers] == [vocab[EOS], 0]
    first, second = encoders(vocab, 290)
    pipes = {
        "tiny-xl": build_xl(tokenizers, first, second),
        "tiny-xl-refiner": build_refiner(tokenizers, second),
        "tiny-inpaint": build_inpaint(tokenizers, first),
    }
    for name, pipe in pipes.items():
        shutil.rmtree(fixtures / name, ignore_errors=True)
        # A copy in f16: the weights are rounded to it already.
        pipe.to(dtype=torch.float16).save_pretrained(fixtures / name)
        pipe.to(dtype=torch.float32).set_progress_bar_config(disable=True)
    grey = pipes["tiny-inpaint"].vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mean
    tensors, rows = {"tiny-inpaint.grey": grey}, []
    for wanted in REQUESTS:
        latents, pixels = make(pipes[wanted["model"]], wanted)
        tensors[f"{wanted['key']}.latents"], tensors[f"{wanted['key']}.picture"] = latents, pixels
        rows.append(json.dumps(wanted | {"latents_std": round(latents.std().item(), 3)}))
    save(golden / "families.safetensors", tensors)
    (golden / "families.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


def request(model, sampler, what, negative=None, size=(64, 64), strength=None, prompt=CAT, **told):
    height, width = size
    return {
        "key": f"{model}.{what}", "model": model, "sampler": sampler, "prompt": prompt, "negative_prompt": negative,
        "seed": 42, "steps": 6, "guidance_scale": 5.0, "height": height, "width": width, "strength": strength,
    } | told  # fmt: skip


# Width and height; top and left; as the text in recipes.
TOLD = {"original_size": "1023x515", "crop": "12, 64", "target_size": "768x321"}
REQUESTS = [
    request("tiny-xl", "euler", "empty-negative"),
    request("tiny-xl", "ddim", "negative", BAD, size=(64, 96)),
    request("tiny-xl", "ddim", "img2img", BAD, strength=0.6),
    request("tiny-xl", "euler", "told", BAD, size=(64, 96), **TOLD),
    request("tiny-xl-refiner", "ddim", "img2img-told", BAD, strength=0.5, **TOLD),
    request("tiny-xl-refiner", "ddim", "img2img", BAD, strength=0.5),
    request("tiny-xl-refiner", "ddim", "img2img-empty-negative", strength=0.7),
    request("tiny-inpaint", "ddim", "negative", BAD),
    request("tiny-inpaint", "ddim", "img2img", BAD, strength=0.6),
]


def make(pipe, wanted):
    """(final latents before the division by scaling_factor, pixels u8)."""
    cls = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}[wanted["sampler"]]
    pipe.scheduler = cls.from_config(pipe.scheduler.config, **({"clip_sample": False} if cls is DDIMScheduler else {}))
    common = {
        "prompt": wanted["prompt"], "negative_prompt": wanted["negative_prompt"],
        "num_inference_steps": wanted["steps"], "guidance_scale": wanted["guidance_scale"],
        "generator": torch.Generator("cpu").manual_seed(wanted["seed"]),
    }  # fmt: skip
    if "crop" in wanted:
        for key in ("original_size", "target_size"):
            width, height = wanted[key].split("x")
            common[key] = (int(height), int(width))
        # Both prompts are told the same; some of the pipelines assume (0, 0) for the negative one.
        for key in ("crops_coords_top_left", "negative_crops_coords_top_left"):
            common[key] = tuple(map(int, wanted["crop"].split(", ")))
    seen = {}

    def keep(_pipe, _step, _timestep, kwargs):
        seen["latents"] = kwargs["latents"].clone()
        return {}

    common["callback_on_step_end"] = keep
    size = {"height": wanted["height"], "width": wanted["width"]}
    start = Image.fromarray(smooth_image(64, 64).numpy())
    if isinstance(pipe, StableDiffusionInpaintPipeline):
        everything = Image.new("L", (64, 64), 255)
        draws = iter([True] * (wanted["strength"] is not None))  # the start image's latents are drawn
        inpaint.retrieve_latents = lambda output, generator=None: (
            output.latent_dist.sample(generator) if next(draws, False) else output.latent_dist.mean
        )
        image = pipe(**common, **size, image=start, mask_image=everything, strength=wanted["strength"] or 1.0).images[0]
    elif wanted["strength"] is None:
        image = pipe(**common, **size).images[0]
    else:
        if not isinstance(pipe, StableDiffusionXLImg2ImgPipeline):
            pipe = StableDiffusionXLImg2ImgPipeline(**pipe.components, add_watermarker=False)
            pipe.set_progress_bar_config(disable=True)
        image = pipe(**common, image=start, strength=wanted["strength"]).images[0]
    return seen["latents"], torch.from_numpy(np.array(image))
