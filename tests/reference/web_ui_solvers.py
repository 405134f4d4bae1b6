"""The solvers that only the web UIs have, written down again from their papers and from what the web UIs do with them;
each with k-diffusion's signature. `model` gives clean latents, guided; `model.unguided(x, sigma)` the unguided ones."""

import torch


def slope(x, sigma, denoised):
    return (x - denoised) / sigma


def restart(model, x, sigmas, disable=True, s_noise=1.0):
    """Restart (Xu et al. 2023, arXiv:2306.14878) with A1111's choice of restarts, which depends on the number of steps."""
    from k_diffusion.sampling import get_sigmas_karras

    steps = len(sigmas) - 1
    descents = [sigmas]
    if steps >= 20:
        length, times = (9, 1) if steps < 36 else (steps // 4, 2)
        base = get_sigmas_karras(steps - length * times, sigmas[-2].item(), sigmas[0].item())
        bottom, top = int((base - 0.1).abs().argmin()), int((base - 2).abs().argmin())
        descents = [base]
        if top < bottom:
            again = get_sigmas_karras(length + 1, base[bottom].item(), base[top].item())[:-1]
            descents = [base[: bottom + 1]] + [again] * times + [base[bottom:]]
    last = None
    for descent in descents:
        for here, there in zip(descent[:-1], descent[1:]):
            if last is not None and last < here:
                x = x + torch.randn_like(x) * s_noise * (here**2 - last**2) ** 0.5
            x = heun_step(model, x, here, there)
            last = there
    return x


def heun_step(model, x, here, there):
    first = slope(x, here, model(x, here * x.new_ones(1)))
    guess = x + first * (there - here)
    if there == 0:
        return guess
    second = slope(guess, there, model(guess, there * x.new_ones(1)))
    return x + (first + second) / 2 * (there - here)


def heunpp2(model, x, sigmas, disable=True, s_churn=0.0, s_tmin=0.0, s_tmax=float("inf"), s_noise=1.0):
    """Heun++ 2 (github.com/Carzit/sd-webui-samplers-scheduler): the slopes of up to three levels, weighted by sigma."""
    one = x.new_ones(1)
    for i in range(len(sigmas) - 1):
        gamma = min(s_churn / (len(sigmas) - 1), 2**0.5 - 1) if s_tmin <= sigmas[i] <= s_tmax else 0.0
        noise = torch.randn_like(x) * s_noise
        start = sigmas[i] * (1 + gamma)
        if gamma > 0:
            x = x + noise * (start**2 - sigmas[i] ** 2) ** 0.5
        count = min(3, len(sigmas) - 1 - i)
        levels = [start, *sigmas[i + 1 : i + count]]
        slopes, guess = [], x
        for k, level in enumerate(levels):
            slopes.append(slope(guess, level, model(guess, level * one)))
            if k + 1 < count:
                guess = guess + slopes[-1] * (levels[k + 1] - level)
        weights = [level / (count * sigmas[0]) for level in levels[1:]]
        mean = slopes[0] * (1 - sum(weights)) + sum(w * s for w, s in zip(weights, slopes[1:]))
        x = x + mean * (sigmas[i + 1] - start)
    return x


def ipndm(model, x, sigmas, disable=True):
    """IPNDM of order four (Zhang & Chen 2022, arXiv:2204.13902): Adams-Bashforth as if the steps were even."""
    table = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
    slopes = []
    for here, there in zip(sigmas[:-1], sigmas[1:]):
        denoised = model(x, here * x.new_ones(1))
        slopes = [slope(x, here, denoised), *slopes][:4]
        step = sum(w * s for w, s in zip(table[len(slopes) - 1], slopes)) * (there - here)
        x = denoised if there == 0 else x + step
    return x


def euler_cfg_pp(model, x, sigmas, disable=True):
    """CFG++ (Chung et al. 2024, arXiv:2406.08070) as Euler's method: the noise is that of the unguided prediction."""
    one = x.new_ones(1)
    for here, there in zip(sigmas[:-1], sigmas[1:]):
        x, noise = model(x, here * one), slope(x, here, model.unguided(x, here * one))
        x = x + noise * there
    return x
