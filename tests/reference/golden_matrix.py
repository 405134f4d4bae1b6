"""Goldens of every solver on every schedule at 5, 10 and 30 steps, and of the solvers' options: on the formula of
`golden_samplers` and on the small U-Net."""

import torch
from diffusers import DDIMScheduler, DEISMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler, UniPCMultistepScheduler

import web_ui_solvers
from golden_k_samplers import BETAS, web_ui_schedules, wrapped
from golden_models import save
from golden_samplers import SEED, SHAPE, k_diffusion, network

COUNTS = (5, 10, 30)
SDE = {"dpmpp-sde": ("sample_dpmpp_sde", {}), "dpmpp-2m-sde": ("sample_dpmpp_2m_sde", {}),
       "dpmpp-2m-sde-heun": ("sample_dpmpp_2m_sde", {"solver_type": "heun"}), "dpmpp-3m-sde": ("sample_dpmpp_3m_sde", {})}  # fmt: skip
PLAIN = {"euler": "sample_euler", "euler-a": "sample_euler_ancestral", "heun": "sample_heun", "lms": "sample_lms",
         "dpm2": "sample_dpm_2", "dpm2-a": "sample_dpm_2_ancestral", "dpmpp-2s-a": "sample_dpmpp_2s_ancestral",
         "dpmpp-2m": "sample_dpmpp_2m"}  # fmt: skip
OWN = {"heunpp2": web_ui_solvers.heunpp2, "ipndm": web_ui_solvers.ipndm, "restart": web_ui_solvers.restart,
       "euler-cfg-pp": web_ui_solvers.euler_cfg_pp}  # fmt: skip
# diffusers', which work on latents of unit variance.
VARIANCE_PRESERVING = {"unipc-bh2": UniPCMultistepScheduler, "deis": DEISMultistepScheduler}
CHURN = {"s_churn": 3.0, "s_tmin": 0.1, "s_tmax": 10.0, "s_noise": 1.02}
ETA = {"eta": 0.5, "s_noise": 1.02}
# Stable Diffusion XL's row of the table at https://research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html
XL = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]


def schedules(n):
    model = wrapped("eps")
    named = web_ui_schedules(model, n, {"align_your_steps_xl": XL})
    named["karras"] = k_diffusion.sampling.get_sigmas_karras(n, model.sigma_min.item(), model.sigma_max.item())
    return {name.replace("_", "-"): sigmas for name, sigmas in sorted(named.items())}


def run(name, model, sigmas, shape=SHAPE, **options):
    torch.manual_seed(SEED)
    x = torch.randn(shape) * sigmas[0]
    if name in OWN:
        return OWN[name](model, x, sigmas, **options)
    if name in PLAIN:
        return getattr(k_diffusion.sampling, PLAIN[name])(model, x, sigmas, disable=True, **options)
    sample, own = SDE[name]
    tree = k_diffusion.sampling.BrownianTreeNoiseSampler(x, sigmas[sigmas > 0].min(), sigmas.max(), seed=SEED)
    return getattr(k_diffusion.sampling, sample)(model, x, sigmas, disable=True, noise_sampler=tree, **own, **options)


def run_scheduler(name, model, sigmas):
    """A scheduler of diffusers over any sigmas."""
    scheduler = VARIANCE_PRESERVING[name](**BETAS)
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas, scheduler.timesteps = sigmas, model.sigma_to_t(sigmas[:-1])
    scale = (1 + sigmas**2) ** 0.5
    torch.manual_seed(SEED)
    x = torch.randn(SHAPE) * sigmas[0] / scale[0]
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x).prev_sample
    return x * scale[-1]


def leaps(name, model, n=0, **options):
    """DPM fast and adaptive, which take the ends alone."""
    low, high = model.sigma_min.item(), model.sigma_max.item()
    torch.manual_seed(SEED)
    x = torch.randn(SHAPE) * high
    if name == "dpm-fast":
        return k_diffusion.sampling.sample_dpm_fast(model, x, low, high, n, disable=True, **options)
    return k_diffusion.sampling.sample_dpm_adaptive(model, x, low, high, disable=True, **options)


def formula():
    """k-diffusion's wrapper around the formula; unguided it is 0.8 of it."""
    model = wrapped("eps")
    other = k_diffusion.external.DiscreteEpsDDPMDenoiser(
        lambda x, t: 0.8 * network(x, t), DDIMScheduler(**BETAS).alphas_cumprod, quantize=False
    )
    model.unguided = other
    return model


def matrix(out):
    """`matrix.safetensors`: one row of latents a schedule, in the order of their names."""
    tensors, model = {}, formula()
    for n in COUNTS:
        levels = schedules(n)
        for name, sigmas in levels.items():
            tensors[f"sigmas.{name}.n{n}"] = sigmas
        for name in (*PLAIN, *SDE, *OWN):
            rows = [run(name, model, sigmas).flatten() for sigmas in levels.values()]
            tensors[f"{name}.n{n}"] = torch.stack(rows)
        for name in VARIANCE_PRESERVING:
            # Over 15 steps DEIS takes the logarithm of a last sigma of 0.
            if name != "deis" or n < 15:
                rows = [run_scheduler(name, model, sigmas).flatten() for sigmas in levels.values()]
                tensors[f"{name}.n{n}"] = torch.stack(rows)
        for eta in (0, 1):
            tensors[f"dpm-fast.eta{eta}.n{n}"] = leaps("dpm-fast", model, n, eta=float(eta))
    for eta in (0, 1):
        tensors[f"dpm-adaptive.eta{eta}"] = leaps("dpm-adaptive", model, eta=float(eta))
    sigmas = schedules(10)["karras"]
    for name in ("euler", "heun", "dpm2", "heunpp2"):
        tensors[f"options.{name}"] = run(name, model, sigmas, **CHURN)
    for name in ("euler-a", "dpm2-a", "dpmpp-2s-a", *SDE):
        tensors[f"options.{name}"] = run(name, model, sigmas, **ETA)
    tensors["options.restart"] = run("restart", model, schedules(30)["karras"], s_noise=1.02)
    tensors["sigmas.karras.n40"] = schedules(40)["karras"]
    tensors["restart.n40"] = run("restart", model, tensors["sigmas.karras.n40"])
    save(out / "matrix.safetensors", tensors)


def unet_matrix(out, pipe):
    """`unet_matrix.safetensors`: the same on the small U-Net with a prompt's hidden states, every 16th value of a row."""
    generator = torch.Generator().manual_seed(SEED)
    context = torch.randn((1, 7, pipe.unet.config.cross_attention_dim), generator=generator)
    empty = torch.randn(context.shape, generator=generator)
    table = pipe.scheduler.alphas_cumprod

    def wrapped_unet(hidden):
        return k_diffusion.external.DiscreteEpsDDPMDenoiser(
            lambda x, t: pipe.unet(x, t, encoder_hidden_states=hidden).sample, table, quantize=False
        )

    model = wrapped_unet(context)
    model.unguided = wrapped_unet(empty)
    tensors = {"context": context, "empty": empty}
    for n in COUNTS:
        levels = schedules(n).values()
        for name in (*PLAIN, *SDE, *OWN):
            rows = [run(name, model, sigmas, shape=(1, 4, 8, 8)).flatten()[::16] for sigmas in levels]
            tensors[f"{name}.n{n}"] = torch.stack(rows)
    save(out / "unet_matrix.safetensors", tensors)


def diffusers_extras(out, configs):
    """`scheduler_extras.safetensors`: PNDM, DDIM with eta, and a model whose betas lead down to zero signal."""
    tensors = {}
    config = configs["tiny-eps"]
    for n in (1, 2, 5, 12, 20):
        tensors[f"pndm.n{n}"] = stepped(PNDMScheduler.from_config(config, skip_prk_steps=True), n)[0]
        tensors[f"ddim-eta.n{n}"], tensors[f"ddim-eta.n{n}.next_draw"] = stepped(
            DDIMScheduler.from_config(config), n, eta=0.7
        )
    zero = {**BETAS, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    scheduler = EulerDiscreteScheduler(**zero)
    tensors["zero.alphas_cumprod"] = scheduler.alphas_cumprod[::37]
    for n in (5, 10):
        scheduler.set_timesteps(n)
        tensors[f"zero.euler.n{n}.sigmas"] = scheduler.sigmas
        tensors[f"zero.euler.n{n}"] = stepped(EulerDiscreteScheduler(**zero), n)[0]
        tensors[f"zero.ddim.n{n}"] = stepped(DDIMScheduler(**zero, clip_sample=False), n)[0]
    save(out / "scheduler_extras.safetensors", tensors)


def stepped(scheduler, n, **options):
    """The final latents, and what the generator gives next."""
    generator = torch.Generator().manual_seed(SEED)
    scheduler.set_timesteps(n)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    if "eta" in options:
        options["generator"] = generator
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(output, t, x, **options).prev_sample
    return x, torch.randn(16, generator=generator)
