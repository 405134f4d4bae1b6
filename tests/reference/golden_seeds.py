"""Goldens of a picture's first noise where it is more than its seed's: a variation, another size's noise, a delta. A1111's
rules, written down again on torch's CPU generator."""

import torch

from golden_models import save

SEED, OTHER = 2**33 + 5, 77
# name: (shape, shape of the noise in the middle, strength of the variation, delta)
CASES = {
    "plain": ((4, 6, 5), None, 0.0, 0),
    "variation": ((4, 6, 5), None, 0.35, 0),
    "same": ((4, 6, 5), None, 1.0, 0),
    "smaller": ((4, 9, 8), (4, 6, 5), 0.0, 0),
    "larger": ((4, 6, 5), (4, 9, 10), 0.0, 0),
    "taller-and-narrower": ((4, 6, 8), (4, 9, 5), 0.2, 0),
    "delta": ((4, 6, 5), None, 0.0, 31337),
}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def arc(share, low, high):
    """From low to high along the arc of each column; A1111 normalises over the second of [C, H, W]."""
    length = lambda x: x.norm(dim=1, keepdim=True)  # noqa: E731
    cosine = ((low / length(low)) * (high / length(high))).sum(1, keepdim=True)
    if cosine.mean() > 0.9995:
        return low * share + high * (1 - share)
    angle = cosine.acos()
    return ((1 - share) * angle).sin() / angle.sin() * low + (share * angle).sin() / angle.sin() * high


def first_noise(shape, inner, strength, delta):
    source = generator(SEED)
    if inner is None:
        noise = torch.randn(shape, generator=source)
    else:
        noise = torch.randn(inner, generator=generator(SEED))
    if strength:
        noise = arc(strength, noise, torch.randn(noise.shape, generator=generator(OTHER)))
    if inner is not None:
        around = torch.randn(shape, generator=source)
        rows, columns = (overlap(shape[i], inner[i]) for i in (1, 2))
        around[:, rows[0], columns[0]] = noise[:, rows[1], columns[1]]
        noise = around
    return noise, generator(SEED + delta) if delta else source


def overlap(outer, inner):
    """Where in the outer and from where in the inner row: centred, both rounded down."""
    start = (outer - inner) // 2
    length = inner if start >= 0 else inner + 2 * start
    to, origin = max(start, 0), max(-start, 0)
    return slice(to, to + length), slice(origin, origin + length)


def seeds(out):
    tensors = {}
    for name, case in CASES.items():
        noise, after = first_noise(*case)
        tensors[f"{name}.first"] = noise
        tensors[f"{name}.next"] = torch.randn(16, generator=after)
    save(out / "seeds.safetensors", tensors)
