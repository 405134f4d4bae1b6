"""Goldens of the web UIs' schedules, the Brownian tree, and the solvers beyond those of `golden_samplers`: k-diffusion's
and diffusers', on the same formula for a network."""

import numpy
import torch
from diffusers import DDIMScheduler, DEISMultistepScheduler, LCMScheduler, TCDScheduler, UniPCMultistepScheduler
from scipy.stats import beta as beta_distribution

from golden_models import save
from golden_samplers import SEED, SHAPE, k_diffusion, network

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# Stable Diffusion 1.5's row of the table at https://research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html
ALIGN_YOUR_STEPS = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
SDE = {
    "dpmpp_sde": ("sample_dpmpp_sde", {}),
    "dpmpp_2m_sde": ("sample_dpmpp_2m_sde", {}),
    "dpmpp_2m_sde_heun": ("sample_dpmpp_2m_sde", {"solver_type": "heun"}),
    "dpmpp_3m_sde": ("sample_dpmpp_3m_sde", {}),
}
ANCESTRAL = {"dpm2_a": "sample_dpm_2_ancestral", "dpmpp_2s_a": "sample_dpmpp_2s_ancestral"}
DIFFUSERS = {
    "unipc": (UniPCMultistepScheduler, {}),
    # With a last sigma of 0 this form's last step is 0 times infinity there.
    "unipc_bh1": (UniPCMultistepScheduler, {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
    "unipc_karras": (UniPCMultistepScheduler, {"use_karras_sigmas": True}),
    "deis": (DEISMultistepScheduler, {}),
    "deis_karras": (DEISMultistepScheduler, {"use_karras_sigmas": True}),
    "lcm": (LCMScheduler, {"clip_sample": False}),
    "tcd": (TCDScheduler, {"clip_sample": False}),
}
PLAIN = {"lms": "sample_lms", "dpm2": "sample_dpm_2"}


def wrapped(kind):
    """k-diffusion's model: timesteps between the trained ones are not rounded."""
    table = DDIMScheduler(**BETAS).alphas_cumprod
    wrapper = {"eps": k_diffusion.external.DiscreteEpsDDPMDenoiser, "v": k_diffusion.external.DiscreteVDDPMDenoiser}
    return wrapper[kind](lambda x, t: network(x, t), table, quantize=False)


def web_ui_schedules(model, n, tables=None):
    """The schedules by A1111's names, the final 0 included; the last three are ComfyUI's or NVIDIA's own words.
    `tables`: further ones that are read as Align Your Steps is."""
    sampling = k_diffusion.sampling
    low, high = model.sigma_min.item(), model.sigma_max.item()
    trained = model.sigmas.double().numpy()
    share = numpy.linspace(0, 1, n)
    last = len(trained) - 1
    even = model.t_to_sigma(torch.linspace(last, 0, n)).numpy()
    open_ended = model.t_to_sigma(torch.linspace(last, 0, n + 1)[:-1]).numpy()
    stride = max(len(trained) // n, 1)
    knots = numpy.linspace(0, 1, len(ALIGN_YOUR_STEPS))
    arcs = numpy.linspace(numpy.arctan(high), numpy.arctan(low), n + 1)
    sigmas = {
        "normal": even,
        "sgm_uniform": open_ended,
        "simple": numpy.array([trained[-(1 + int(i * (len(trained) / n)))] for i in range(n)]),
        "ddim_uniform": trained[1::stride][::-1],
        "beta": low + beta_distribution.ppf(1 - share, 0.6, 0.6) * (high - low),
        "align_your_steps": numpy.exp(numpy.interp(share, knots, numpy.log(ALIGN_YOUR_STEPS))),
        "linear_quadratic": high * (1 - linear_quadratic(n)),
    }
    for name, table in (tables or {}).items():
        sigmas[name] = numpy.exp(numpy.interp(share, knots, numpy.log(table)))
    with_end = {name: numpy.append(values, 0.0) for name, values in sigmas.items()}
    with_end["kl_optimal"] = numpy.tan(arcs)  # ends at the lowest trained level, not at 0
    with_end["exponential"] = sampling.get_sigmas_exponential(n, low, high).numpy()
    with_end["polyexponential"] = sampling.get_sigmas_polyexponential(n, low, high, rho=1.0).numpy()
    return {name: torch.tensor(numpy.array(values), dtype=torch.float32) for name, values in with_end.items()}


def linear_quadratic(n, threshold=0.025):
    """How much noise is gone before each of n steps (Mochi's schedule): half of the steps lead in a line to `threshold`,
    a parabola of the same slope goes on to 1."""
    straight = n // 2
    i = numpy.arange(n, dtype=float)
    slope = threshold / straight
    curvature = (1 - threshold - slope * (n - straight)) / (n - straight) ** 2
    past = i - straight
    return numpy.where(past < 0, slope * i, threshold + slope * past + curvature * past**2)


def brownian_tree(tensors):
    """The noise that k-diffusion's SDE samplers draw: queries down a schedule, halves first as DPM++ SDE asks."""
    for seed, shape in ((7, SHAPE), (2**40 + 3, (1, 4, 3, 5)), (0, (1, 4, 1, 1))):
        ends = torch.tensor([0.0291671, 14.614647])
        sampler = k_diffusion.sampling.BrownianTreeNoiseSampler(torch.zeros(shape), *ends, seed=seed)
        points = torch.tensor([14.614647, 9.5, 4.25, 1.0000004, 0.3, 0.0291671])
        pairs = [(points[i], points[j]) for i, j in ((0, 1), (0, 2), (2, 3), (1, 3), (3, 4), (4, 5), (0, 5))]
        key = f"tree.seed{seed}"
        tensors[f"{key}.queries"] = torch.tensor([[float(a), float(b)] for a, b in pairs])
        tensors[f"{key}.noise"] = torch.stack([sampler(a, b) for a, b in pairs])


def k_sampler_results(out, configs):
    """Everything of `k_samplers.safetensors`."""
    tensors = {}
    brownian_tree(tensors)
    for kind in ("eps", "v"):
        model = wrapped(kind)
        for n in (5, 12):
            sigmas = k_diffusion.sampling.get_sigmas_karras(n, model.sigma_min.item(), model.sigma_max.item())
            tensors[f"n{n}.sigmas"] = sigmas
            for name, sample in PLAIN.items():
                tensors[f"{name}.{kind}.n{n}"] = sampled(sample, model, sigmas)
            for name, sample in ANCESTRAL.items():
                tensors[f"{name}.{kind}.n{n}"] = sampled(sample, model, sigmas, ancestral=True)
            for name, (sample, options) in SDE.items():
                tree = k_diffusion.sampling.BrownianTreeNoiseSampler(
                    torch.zeros(SHAPE), sigmas[sigmas > 0].min(), sigmas.max(), seed=SEED
                )
                tensors[f"{name}.{kind}.n{n}"] = sampled(sample, model, sigmas, noise_sampler=tree, **options)
    for model, config in configs.items():
        for name, (cls, options) in DIFFUSERS.items():
            for n in (5, 12, 20):
                latents, next_draw = stepped(cls.from_config(config, **options), n)
                tensors[f"diffusers.{name}.{model}.n{n}"] = latents
                tensors[f"diffusers.{name}.{model}.n{n}.next_draw"] = next_draw
    save(out / "k_samplers.safetensors", tensors)


def stepped(scheduler, n):
    """The final latents, and what the generator gives next."""
    generator = torch.Generator().manual_seed(SEED)
    scheduler.set_timesteps(n)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    options = {"generator": generator} if isinstance(scheduler, (LCMScheduler, TCDScheduler)) else {}
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(output, t, x, **options).prev_sample
    return x, torch.randn(16, generator=generator)


def sampled(sample, model, sigmas, ancestral=False, **options):
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(SHAPE, generator=generator) * sigmas[0]
    if ancestral:
        options["noise_sampler"] = lambda *_: torch.randn(SHAPE, generator=generator)
    return getattr(k_diffusion.sampling, sample)(model, x, sigmas, disable=True, **options)
