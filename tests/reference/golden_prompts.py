"""Goldens of the prompt language's arithmetic: weighted hidden states, clip skip. The pieces are given by hand."""

import torch
from safetensors.torch import save_file

PLAIN = [("a red cat, sitting on a mat", 1.0)]
WEIGHTED = [("a ", 1.0), ("red", 1.3), (" cat, ", 1.0), ("sitting", 1 / 1.1), (" on a ", 1.0), ("mat", -0.5)]
# a [(red:1.4):blue:2] cat
SCHEDULED = [[("a ", 1.0), ("red", 1.4), (" cat", 1.0)], [("a blue cat", 1.0)]]
# Of 77: keeps the file small, while the mean is that of all rows.
ROWS = 12


def chunk(pipe, pieces):
    """Token ids [1, 77] and weights [1, 77] of pieces that fit one chunk."""
    tokenizer = pipe.tokenizer
    ids, weights = [tokenizer.bos_token_id], [1.0]
    for text, weight in pieces:
        own = tokenizer(text, add_special_tokens=False).input_ids
        ids += own
        weights += [weight] * len(own)
    ids.append(tokenizer.eos_token_id)
    ids += [tokenizer.pad_token_id] * (77 - len(ids))
    weights += [1.0] * (77 - len(weights))
    return torch.tensor([ids]), torch.tensor([weights])


def final_norm(encoder):
    return getattr(encoder, "text_model", encoder).final_layer_norm


def states(pipe, ids, clip_skip=1):
    encoder = pipe.text_encoder
    hidden = encoder(ids, output_hidden_states=True).hidden_states[-clip_skip]
    return final_norm(encoder)(hidden)


def original(z, weights):
    """What the web UI calls Original: the mean of the whole batch stays. The mean is taken in f64: it lies near zero, and
    in f32 torch's own rounding shows as 2e-5 in the quotient (tiny-v)."""
    weighted = z * weights[..., None]
    return weighted * (z.double().mean() / weighted.double().mean()).float()


def prompts(out, pipes):
    tensors = {}
    for name, pipe in pipes.items():
        ids, weights = chunk(pipe, WEIGHTED)
        z = states(pipe, ids)
        empty = states(pipe, chunk(pipe, [])[0])
        both = [chunk(pipe, pieces) for pieces in SCHEDULED]
        batch = states(pipe, torch.cat([ids for ids, _ in both]))
        scheduled = original(batch, torch.cat([weights for _, weights in both]))
        results = {
            "plain.skip2": states(pipe, chunk(pipe, PLAIN)[0], 2),
            "original": original(z, weights),
            "original.skip2": original(states(pipe, ids, 2), weights),
            "no-norm": z * weights[..., None],
            "comfyui": (z - empty) * weights[..., None] + empty,
            "scheduled.0": scheduled[:1],
            "scheduled.1": scheduled[1:],
        }
        tensors |= {f"{name}.{key}": value[:, :ROWS].contiguous() for key, value in results.items()}
    save_file(tensors, out / "prompts.safetensors")
