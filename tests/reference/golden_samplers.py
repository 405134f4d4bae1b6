"""Goldens of schedules and solvers, on a network that is a formula: see `network`."""

import itertools
import json
import sys
import types

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

from golden_models import save

# k_diffusion/__init__ imports CLIP for its FID metric, which needs a setuptools of the past; no sampler uses it.
sys.modules.setdefault("clip", types.ModuleType("clip"))
import k_diffusion  # noqa: E402

# name -> (class, options added to the model's own scheduler config)
SAMPLERS = {
    "ddim": (DDIMScheduler, {}),
    "ddpm": (DDPMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_karras": (EulerDiscreteScheduler, {"use_karras_sigmas": True}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
}
SHAPE, SEED = (1, 4, 4, 2), 7
SPACINGS = (("leading", 0), ("leading", 1), ("linspace", 0), ("trailing", 0))
BETAS = {"scaled_linear": (0.00085, 0.012), "linear": (0.0001, 0.02), "squaredcos_cap_v2": (0.0001, 0.02)}


def network(x, t):
    """Stands for the U-Net: elementwise, lively in x and t. Its output is taken as eps or v as the config says."""
    t = torch.as_tensor(t, dtype=torch.float32)
    return 0.9 * x * (t / 1000) + 0.2 * torch.sin(2 * x)


def schedules(out):
    """Timesteps and sigmas of every distinct grid; which samplers share one is asserted here."""
    tensors = {}
    for betas in BETAS:
        config = {"beta_schedule": betas, "beta_start": BETAS[betas][0], "beta_end": BETAS[betas][1]}
        table = DDIMScheduler(**config).alphas_cumprod
        tensors[f"alphas_cumprod.{betas}"] = table[::37]  # 0, 37, … 999
        counts = (5, 10, 20, 30) if betas == "scaled_linear" else (10,)
        for (spacing, offset), n in itertools.product(SPACINGS, counts):
            grids = {name: grid(name, config, spacing, offset, n) for name in SAMPLERS}
            assert torch.equal(grids["ddim"][0], grids["ddpm"][0])
            assert all(torch.equal(a, b) for a, b in zip(grids["euler"], grids["euler_a"]))
            assert_doubled(grids["heun"], grids["euler"])
            for name in ("ddim", "euler", "euler_karras", "dpmpp_2m", "dpmpp_2m_karras"):
                if name == "dpmpp_2m_karras" and (spacing, offset) != SPACINGS[0]:
                    first = tensors[f"{name}.{betas}.n{n}.sigmas"]
                    assert torch.equal(first, grids[name][1])  # it does not look at the spacing
                    continue
                where = "" if name == "dpmpp_2m_karras" else f".{spacing}{offset}"
                if name == "ddim" and betas != "scaled_linear":
                    continue  # its timesteps do not depend on the betas, and it has no sigmas
                tensors[f"{name}.{betas}{where}.n{n}.timesteps"] = grids[name][0].float()
                if name != "ddim":
                    tensors[f"{name}.{betas}{where}.n{n}.sigmas"] = grids[name][1]
    save(out / "schedules.safetensors", tensors)


def grid(name, config, spacing, offset, n):
    cls, options = SAMPLERS[name]
    scheduler = cls(**config, timestep_spacing=spacing, steps_offset=offset, **options)
    scheduler.set_timesteps(n)
    return scheduler.timesteps, getattr(scheduler, "sigmas", None)


def assert_doubled(heun, euler):
    """Heun's lists are Euler's with all but the first (and the final 0) twice."""
    assert torch.equal(heun[0][1::2], euler[0][1:]) and torch.equal(heun[0][2::2], euler[0][1:])
    assert torch.equal(heun[1][2:-1:2], euler[1][1:-1]) and heun[1][-1] == 0


def trajectories(out, configs):
    """Latents after each step() in the scheduler's own space, and x0 where it returns one."""
    tensors, facts = {}, {"shape": SHAPE, "seed": SEED, "runs": []}
    for (model, config), (name, (cls, options)), n in itertools.product(configs.items(), SAMPLERS.items(), (5, 12)):
        scheduler = cls.from_config(config, **options)
        run = trajectory(scheduler, n)
        key = f"{name}.{model}.n{n}"
        tensors |= {f"{key}.{part}": tensor for part, tensor in run.items()}
        start = float(scheduler.init_noise_sigma)
        facts["runs"].append({"key": key, "class": cls.__name__, "options": options, "init_noise_sigma": start})
    save(out / "trajectories.safetensors", tensors)
    rows = ",\n  ".join(json.dumps(run) for run in facts["runs"])
    head = f'"shape": {json.dumps(SHAPE)}, "seed": {SEED}'
    (out / "trajectories.json").write_text(f'{{{head}, "runs": [\n  {rows}\n]}}\n')


def trajectory(scheduler, n):
    generator = torch.Generator().manual_seed(SEED)
    scheduler.set_timesteps(n)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    latents, denoised = [], []
    takes_generator = not isinstance(scheduler, HeunDiscreteScheduler)
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, t), t)
        stepped = scheduler.step(output, t, x, **({"generator": generator} if takes_generator else {}))
        x = stepped.prev_sample
        latents.append(x)
        denoised += [stepped.pred_original_sample] if "pred_original_sample" in stepped else []
    run = {"timesteps": scheduler.timesteps.float(), "latents": torch.cat(latents)}
    # What the generator gives next: proves how many draws the sampler took.
    run["next_draw"] = torch.randn(16, generator=generator)
    if hasattr(scheduler, "sigmas"):
        run["sigmas"] = scheduler.sigmas
    if denoised and n == 5:
        run["denoised"] = torch.cat(denoised)
    return run


def k_diffusion_results(out):
    """k-diffusion's samplers on the same network, eps and v, SD1.5's betas, Karras sigmas over the whole range."""
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    table = DDIMScheduler(**betas).alphas_cumprod
    external, sampling = k_diffusion.external, k_diffusion.sampling
    tensors = {}
    for kind, wrapper in (("eps", external.DiscreteEpsDDPMDenoiser), ("v", external.DiscreteVDDPMDenoiser)):
        # The wrapper hands t as [1]; every element has the same, so the scalar network serves.
        model = wrapper(lambda x, t: network(x, t), table, quantize=False)
        for n in (5, 12):
            sigmas = sampling.get_sigmas_karras(n, model.sigma_min.item(), model.sigma_max.item())
            tensors[f"n{n}.sigmas"] = sigmas
            tensors[f"n{n}.timesteps"] = model.sigma_to_t(sigmas[:-1])
            for name in ("euler", "euler_ancestral", "heun", "dpmpp_2m"):
                tensors[f"{name}.{kind}.n{n}"] = k_sample(getattr(sampling, "sample_" + name), model, sigmas)
    tensors["model_schedule.n10.sigmas"] = model.get_sigmas(10)  # log-interpolated, unlike diffusers' linspace
    tensors["exponential.n10.sigmas"] = sampling.get_sigmas_exponential(10, model.sigma_min.item(), model.sigma_max.item())
    save(out / "k_diffusion.safetensors", tensors)


def k_sample(sample, model, sigmas):
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(SHAPE, generator=generator) * sigmas[0]
    noise = {"noise_sampler": lambda *_: torch.randn(SHAPE, generator=generator)}
    return sample(model, x, sigmas, disable=True, **(noise if "ancestral" in sample.__name__ else {}))
