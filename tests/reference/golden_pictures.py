"""Whole pictures through StableDiffusionPipeline and StableDiffusionImg2ImgPipeline."""

import json

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from golden_models import save, smooth_image
from golden_samplers import SAMPLERS as FIRST

# Ours by their own names -> (class, options); the others are those of `golden_samplers`.
SAMPLERS = FIRST | {
    "lms": (LMSDiscreteScheduler, {}),
    "dpm2": (KDPM2DiscreteScheduler, {}),
    "dpm2-a": (KDPM2AncestralDiscreteScheduler, {}),
    "unipc-bh2": (UniPCMultistepScheduler, {}),
    "deis": (DEISMultistepScheduler, {}),
    "pndm": (PNDMScheduler, {"skip_prk_steps": True}),
    "lcm": (LCMScheduler, {"clip_sample": False}),
    "tcd": (TCDScheduler, {"clip_sample": False}),
    "ddim-eta": (DDIMScheduler, {}),
}
CAT = "a red cat, sitting on a mat"
HOUSE = "a small house on a green hill, sunset, warm light"
BAD = "lowres, blurry, text"


def request(model, sampler, prompt=CAT, negative=None, guidance=5.0, size=(64, 64), strength=None, picture=False,
            eta=0.0, rescale=0.0):  # fmt: skip
    """One picture to make; `picture`: keep its pixels too, not only the final latents."""
    cls, options = SAMPLERS[sampler]
    height, width = size
    parts = [model, sampler] + ([f"{height}x{width}"] if size != (64, 64) else [])
    parts += ["img2img"] * (strength is not None) + ["unguided"] * (guidance == 1) + ["rescaled"] * (rescale > 0)
    return {
        "key": ".".join(parts), "model": model, "sampler": sampler, "class": cls.__name__, "options": options,
        "prompt": prompt, "negative_prompt": negative, "seed": 42, "steps": 8, "guidance_scale": guidance,
        "height": height, "width": width, "strength": strength, "has_picture": picture,
        "eta": eta, "guidance_rescale": rescale,
    }


REQUESTS = [
    request("tiny-eps", "ddim", negative=BAD, picture=True),
    request("tiny-eps", "ddpm", HOUSE, picture=True),
    request("tiny-eps", "euler", negative=BAD, picture=True),
    request("tiny-eps", "euler_a", HOUSE, BAD, picture=True),
    request("tiny-eps", "heun", HOUSE),
    request("tiny-eps", "dpmpp_2m"),
    request("tiny-eps", "dpmpp_2m_karras", HOUSE, BAD, picture=True),
    request("tiny-eps", "ddim", guidance=1.0),
    request("tiny-eps", "euler_a", negative=BAD, size=(64, 96)),
    request("tiny-eps", "ddim", strength=0.6),
    request("tiny-eps", "ddpm", HOUSE, strength=0.6),
    request("tiny-eps", "euler_a", negative=BAD, strength=0.6),
    request("tiny-eps", "dpmpp_2m", HOUSE, BAD, strength=0.6),
    request("tiny-v", "ddim", HOUSE, BAD, picture=True),
    request("tiny-v", "euler_a"),
    request("tiny-v", "heun", negative=BAD),
    request("tiny-v", "dpmpp_2m_karras", HOUSE),
    request("tiny-v", "euler_a", HOUSE, BAD, strength=0.6),
    request("tiny-v", "dpmpp_2m", strength=0.6),
    request("tiny-eps", "lms", HOUSE, BAD, picture=True),
    request("tiny-eps", "dpm2", HOUSE, picture=True),
    request("tiny-eps", "dpm2-a", negative=BAD, picture=True),
    request("tiny-eps", "unipc-bh2", HOUSE, BAD, picture=True),
    request("tiny-eps", "deis", negative=BAD, picture=True),
    request("tiny-eps", "pndm", HOUSE, picture=True),
    request("tiny-eps", "lcm", HOUSE, BAD, guidance=1.5, picture=True),
    request("tiny-eps", "tcd", negative=BAD, guidance=1.5, eta=0.3, picture=True),
    request("tiny-eps", "ddim-eta", HOUSE, eta=0.7, picture=True),
    request("tiny-v", "unipc-bh2", negative=BAD),
    request("tiny-v", "deis", HOUSE),
    request("tiny-v", "lms", negative=BAD),
    request("tiny-v", "ddim", HOUSE, BAD, guidance=9.0, rescale=0.7, picture=True),
]


def pictures(out, pipes):
    tensors, rows = {}, []
    for wanted in REQUESTS:
        latents, pixels = make(pipes[wanted["model"]], wanted)
        key = wanted["key"]
        assert f"{key}.latents" not in tensors
        tensors[f"{key}.latents"] = latents
        if wanted["has_picture"]:
            tensors[f"{key}.picture"] = pixels
        rows.append(json.dumps(wanted | rounding(pipes[wanted["model"]], wanted, latents, pixels)))
    save(out / "pictures.safetensors", tensors)
    (out / "pictures.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


def make(pipe, wanted):
    """(final latents [1,4,h,w] before the division by scaling_factor, pixels u8 [H,W,3] as PIL gets them)."""
    original, cls = pipe.scheduler, SAMPLERS[wanted["sampler"]][0]
    common = {
        "prompt": wanted["prompt"], "negative_prompt": wanted["negative_prompt"],
        "num_inference_steps": wanted["steps"], "guidance_scale": wanted["guidance_scale"],
        "generator": torch.Generator("cpu").manual_seed(wanted["seed"]),
    }
    seen = {}

    def keep(_pipe, _step, _timestep, kwargs):
        seen["latents"] = kwargs["latents"].clone()
        return {}

    common["callback_on_step_end"] = keep
    pipe.scheduler = cls.from_config(original.config, **wanted["options"])
    pipe.set_progress_bar_config(disable=True)
    try:
        if wanted["strength"] is None:
            common |= {"eta": wanted["eta"], "guidance_rescale": wanted["guidance_rescale"]}
            image = pipe(**common, height=wanted["height"], width=wanted["width"]).images[0]
        else:
            image_to_image = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
            image_to_image.set_progress_bar_config(disable=True)
            start = Image.fromarray(smooth_image(64, 64).numpy())
            image = image_to_image(**common, image=start, strength=wanted["strength"]).images[0]
    finally:
        pipe.scheduler = original
    return seen["latents"], torch.from_numpy(np.array(image))


def rounding(pipe, wanted, latents, pixels):
    """How far other f32 arithmetic (oneDNN off) strays on the same request: the measure for a tolerance."""
    with torch.backends.mkldnn.flags(enabled=False):
        other_latents, other_pixels = make(pipe, wanted)
    difference = (other_pixels.int() - pixels.int()).abs()
    return {
        "latents_std": round(latents.std().item(), 3),
        "rounding_latents": float(f"{(other_latents - latents).abs().max():.1e}"),
        "rounding_pixels": {"max": int(difference.max()), "changed": int((difference > 0).sum())},
        "saturated": round(((pixels == 0) | (pixels == 255)).float().mean().item(), 4),
    }
