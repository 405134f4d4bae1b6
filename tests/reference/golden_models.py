"""Goldens of the parts: noise, tokens, text encoder, U-Net and VAE."""

import json

import torch
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import save_file
from tokenizers import Tokenizer

from texts import TEXTS
from tiny_models import load_tokenizer, randn

MODELS = ("tiny-eps", "tiny-v")

# One generator a seed; the shapes are drawn from it in this order. 16 and more use the vectorised path
# (whose remainder redraws the last 16 values), fewer the scalar one, which caches one value of a pair.
NOISE_SHAPES = [[1, 4, 4, 4], [17], [5], [3], [16], [1], [100], [1, 4, 9, 7], [2], [15], [31], [1, 4, 4, 6]]
NOISE_SEEDS = [0, 1, 42, 2**32 + 5, 2**63]

CAT = "a red cat, sitting on a mat"
LONG = "a portrait of a woman with long hair, highly detailed, sharp focus, in the style of the old masters, "


def save(path, tensors):
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)


def noise(out):
    draws = {}
    for seed in NOISE_SEEDS:
        generator = torch.Generator().manual_seed(seed)
        for i, shape in enumerate(NOISE_SHAPES):
            draws[f"seed{seed}.{i}"] = torch.randn(shape, generator=generator)
    save(out / "noise.safetensors", draws)
    # Seeds as text: 2**63 does not fit the numbers of every JSON reader.
    facts = {"seeds": [str(seed) for seed in NOISE_SEEDS], "shapes_in_order": NOISE_SHAPES}
    (out / "noise.json").write_text(json.dumps(facts) + "\n")


def tokens(out, fixtures, starter):
    tokenizers = {name: load_tokenizer(fixtures / name / "tokenizer") for name in MODELS}
    tokenizers["starter"] = starter_tokenizer(starter)
    assert len(set(TEXTS)) == len(TEXTS) >= 150
    rows = []
    for text in TEXTS:
        ids = {name: t(text, add_special_tokens=False).input_ids for name, t in tokenizers.items()}
        rows.append(json.dumps({"text": text} | ids, separators=(",", ":")))
    (out / "tokens.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


def starter_tokenizer(folder):
    """Both of its layouts, tokenizer.json and vocab.json + merges.txt, must give the same ids."""
    tokenizer, fast = load_tokenizer(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert ids == fast.encode(text, add_special_tokens=False).ids, repr(text)
    return tokenizer


def prompt_of_75_tokens(tokenizer):
    """LONG's words until exactly 75 tokens are full, as BOS and EOS make 77."""
    text = ""
    for word in (LONG * 20).split(" "):
        longer = (text + " " + word).strip()
        count = len(tokenizer(longer, add_special_tokens=False).input_ids)
        if count > 75:
            break
        text = longer
    count = len(tokenizer(text, add_special_tokens=False).input_ids)
    return text + " !" * (75 - count)


def text(out, pipes):
    tensors, facts = {}, {}
    for name, pipe in pipes.items():
        prompts = ["", CAT, prompt_of_75_tokens(pipe.tokenizer), LONG * 4]
        facts[name] = prompts
        for i, prompt in enumerate(prompts):
            ids = pipe.tokenizer(
                prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
            ).input_ids
            tensors[f"{name}.{i}.ids"] = ids[0]
            if i in (1, 3):
                tensors[f"{name}.{i}.last_hidden_state"] = pipe.text_encoder(ids)[0]
        # Clip skip: the layer before the last, bare and through the final norm, as A1111 and diffusers use it.
        hidden = pipe.text_encoder(tensors[f"{name}.1.ids"][None], output_hidden_states=True).hidden_states[-2]
        tensors[f"{name}.1.skip1_first_12_rows"] = final_norm(pipe.text_encoder)(hidden)[:, :12]
    save(out / "text.safetensors", tensors)
    (out / "text.json").write_text(json.dumps(facts, indent=1) + "\n")


def final_norm(text_encoder):
    return getattr(text_encoder, "text_model", text_encoder).final_layer_norm


def unet(out, pipes):
    tensors = {}
    for name, pipe in pipes.items():
        net, width = pipe.unet, pipe.unet.config.cross_attention_dim
        even = {"sample": randn(11, 2, 4, 16, 16), "timestep": torch.tensor(501.0), "context": randn(12, 2, 13, width)}
        odd = {"sample": randn(13, 1, 4, 9, 14), "timestep": torch.tensor(123.4), "context": randn(14, 1, 11, width)}
        for case, inputs in (("even", even), ("odd", odd)):
            blocks = {}
            hooks = record(net, blocks)
            t = 501 if case == "even" else inputs["timestep"]
            inputs["output"] = net(inputs["sample"], t, encoder_hidden_states=inputs["context"]).sample
            for hook in hooks:
                hook.remove()
            if case == "odd":
                inputs |= blocks
            tensors |= {f"{name}.{case}.{key}": tensor for key, tensor in inputs.items()}
    tensors |= time_embeddings()
    save(out / "unet.safetensors", tensors)


def record(net, blocks):
    """Hooks that copy what each child block hands on (the first value where it returns several)."""

    def keep(key):
        def hook(_module, _args, output):
            blocks[key] = (output[0] if isinstance(output, tuple) else output).clone()

        return hook

    children = {"conv_in": net.conv_in, "time_embedding": net.time_embedding, "mid_block": net.mid_block}
    children |= {f"down_blocks.{i}": block for i, block in enumerate(net.down_blocks)}
    children |= {f"up_blocks.{i}": block for i, block in enumerate(net.up_blocks)}
    return [child.register_forward_hook(keep(key)) for key, child in children.items()]


def time_embeddings():
    timesteps = torch.tensor([0, 1, 123.4, 500.5, 981, 999], dtype=torch.float32)
    tensors = {"time.timesteps": timesteps}
    for flip in (True, False):
        for shift in (0, 1):
            key = f"time.flip_{str(flip).lower()}.shift_{shift}"
            tensors[key] = get_timestep_embedding(timesteps, 32, flip_sin_to_cos=flip, downscale_freq_shift=shift)
    return tensors


def smooth_image(height, width):
    """u8 [H,W,3]: slow waves and an edge, none of it symmetric."""
    y = torch.arange(height, dtype=torch.float32)[:, None] / height
    x = torch.arange(width, dtype=torch.float32)[None, :] / width
    red = torch.sin(5 * x + 3 * y)
    green = torch.cos(7 * y - 2 * x * x)
    blue = torch.where(x + 0.5 * y > 0.8, 0.7, -0.5) + 0.2 * torch.sin(9 * y)
    return (127.5 + 120 * torch.stack([red, green, blue], dim=-1)).round().to(torch.uint8)


def to_model(picture):
    """u8 [H,W,3] -> f32 [1,3,H,W] in [-1,1], in the order of diffusers' VaeImageProcessor: /255, then 2x-1."""
    return 2.0 * (picture.float() / 255.0).permute(2, 0, 1)[None] - 1.0


def vae(out, pipes):
    start_image = smooth_image(64, 64)  # img2img starts from all of it, encoding is tested on its left part
    image = to_model(start_image)[..., :48]
    tensors = {"start_image": start_image}
    for name, pipe in pipes.items():
        posterior = pipe.vae.encode(image).latent_dist
        latents = randn(21, 1, 4, 8, 6)
        tensors |= {f"{name}.mean": posterior.mean, f"{name}.logvar": posterior.logvar, f"{name}.latents": latents}
        tensors[f"{name}.decoded"] = pipe.vae.decode(latents).sample
    save(out / "vae.safetensors", tensors)
