"""Pictures made sooner, and others, by the references of the three ways: diffusers' guider for guidance in a part of the
steps, DeepCache 0.1.1 and tomesd 0.1.3 by their authors. The last two need `pip install --no-deps DeepCache==0.1.1
tomesd==0.1.3` beside the packages of README.md.

    python golden_accelerations.py      # writes fixtures/golden/accelerations.safetensors, .json
"""

import json
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"
import tomesd
import torch
from DeepCache import DeepCacheSDHelper
from diffusers.guiders import ClassifierFreeGuidance
from safetensors.torch import load_file

import golden_models
import tiny_models
from golden_pictures import BAD, HOUSE, SAMPLERS, make, request
from make_fixtures import FIXTURES, GOLDEN, quiet

# (model, sampler, further arguments of `request`, beginning, end)
INTERVALS = [
    ("tiny-eps", "euler", {"negative": BAD}, 0.25, 0.75),
    ("tiny-eps", "ddim", {"prompt": HOUSE}, 0.0, 0.6),
    ("tiny-v", "dpmpp_2m_karras", {"prompt": HOUSE, "negative": BAD}, 0.3, 1.0),
]

# (model, sampler, further arguments of `request`, interval, branch)
CACHINGS = [
    ("tiny-eps", "ddim", {"negative": BAD}, 2, 0),
    ("tiny-eps", "euler_a", {"prompt": HOUSE}, 5, 1),
    ("tiny-eps", "euler", {"guidance": 1.0}, 3, 0),
    ("tiny-v", "euler", {"prompt": HOUSE, "negative": BAD}, 3, 0),
    ("tiny-v", "dpmpp_2m_karras", {"negative": BAD}, 2, 1),
    ("tiny-v", "ddim", {"prompt": HOUSE}, 3, 2),
    ("tiny-v", "ddim", {"negative": BAD, "size": (72, 104)}, 4, 3),
    ("tiny-v", "euler", {}, 2, 7),
]

# (model, sampler, further arguments of `request`, ratio)
MERGINGS = [
    ("tiny-eps", "ddim", {"negative": BAD}, 0.5),
    ("tiny-v", "euler", {"prompt": HOUSE}, 0.25),
    ("tiny-eps", "dpmpp_2m_karras", {"negative": BAD, "size": (72, 104)}, 0.75),
]


def guided_in_part(pipe, wanted, start, stop):
    """The final latents; the guider says which steps it guides, and how."""
    cls, options = SAMPLERS[wanted["sampler"]]
    scheduler = cls.from_config(pipe.scheduler.config, **options)
    scheduler.set_timesteps(wanted["steps"])
    cond, uncond = pipe.encode_prompt(wanted["prompt"], "cpu", 1, True, wanted["negative_prompt"] or "")
    guider = ClassifierFreeGuidance(guidance_scale=wanted["guidance_scale"], start=start, stop=stop)
    shape = (1, 4, wanted["height"] // 4, wanted["width"] // 4)
    generator = torch.Generator("cpu").manual_seed(wanted["seed"])
    latents = torch.randn(shape, generator=generator) * scheduler.init_noise_sigma
    for step, t in enumerate(scheduler.timesteps):
        guider.set_state(step=step, num_inference_steps=wanted["steps"], timestep=t)
        x = scheduler.scale_model_input(latents, t)
        predict = lambda text: pipe.unet(x, t, encoder_hidden_states=text).sample  # noqa: B023, E731
        away = predict(uncond) if guider._is_cfg_enabled() else None
        latents = scheduler.step(guider.forward(predict(cond), away).pred, t, latents).prev_sample
    return latents


def intervals(pipes):
    for model, sampler, more, start, stop in INTERVALS:
        wanted = request(model, sampler, **more)
        wanted |= {"key": f"{model}.{sampler}.guided_{start}_{stop}", "guidance_from": start, "guidance_to": stop}
        yield wanted, guided_in_part(pipes[model], wanted, start, stop)


def cachings(pipes):
    for model, sampler, more, interval, branch in CACHINGS:
        wanted, helper = request(model, sampler, **more), DeepCacheSDHelper(pipe=pipes[model])
        wanted |= {"key": f"{wanted['key']}.cached_{interval}_{branch}", "deep_cache": interval, "deep_cache_branch": branch}
        helper.set_params(cache_interval=interval, cache_branch_id=branch)
        helper.enable()
        latents, _ = make(pipes[model], wanted)
        helper.disable()
        yield wanted, latents


def mergings(pipes):
    for model, sampler, more, ratio in MERGINGS:
        wanted = request(model, sampler, **more)
        wanted |= {"key": f"{wanted['key']}.merged_{ratio}", "token_merging": ratio}
        tomesd.apply_patch(pipes[model], ratio=ratio, use_rand=False)
        latents, _ = make(pipes[model], wanted)
        # Two places may be alike to the last bits: a picture in which other arithmetic joins other tokens is no measure.
        with torch.backends.mkldnn.flags(enabled=False):
            other, _ = make(pipes[model], wanted)
        assert (other - latents).abs().max() < 2e-5 * latents.abs().max()
        tomesd.remove_patch(pipes[model])
        yield wanted, latents


def merged_evaluations(pipes):
    """Of the inputs of unet.safetensors."""
    inputs, outputs = load_file(GOLDEN / "unet.safetensors"), {}
    for model, pipe in pipes.items():
        for case in ("even", "odd"):
            sample, timestep, context = (inputs[f"{model}.{case}.{key}"] for key in ("sample", "timestep", "context"))
            t = int(timestep) if case == "even" else timestep
            for ratio in (0.25, 0.5, 0.75):
                tomesd.apply_patch(pipe, ratio=ratio, use_rand=False)
                merged = pipe.unet(sample, t, encoder_hidden_states=context).sample
                tomesd.remove_patch(pipe)
                assert (merged - inputs[f"{model}.{case}.output"]).abs().max() > 0.005
                outputs[f"{model}.{case}.merged_{ratio}"] = merged
    return outputs


def main():
    quiet()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    pipes = {name: tiny_models.load(FIXTURES / name) for name in golden_models.MODELS}
    tensors, rows = merged_evaluations(pipes), []
    for wanted, latents in [*intervals(pipes), *cachings(pipes), *mergings(pipes)]:
        plain, _ = make(pipes[wanted["model"]], wanted)
        moved = ((latents - plain).abs().max() / plain.abs().max()).item()
        print(f"{wanted['key']}: {moved:.3f} away from the plain picture")
        assert moved > 0.005
        tensors[f"{wanted['key']}.latents"] = latents
        rows.append(json.dumps(wanted))
    golden_models.save(GOLDEN / "accelerations.safetensors", tensors)
    (GOLDEN / "accelerations.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


if __name__ == "__main__":
    main()
