"""The two tiny models: built with random weights, saved as real diffusers folders, loaded back.

Both are Stable Diffusion in every respect but size, and differ from each other wherever real
checkpoints do: layout of the files, dtype, tokenizer layout, head rule, projections, prediction type.
"""

import json
import math
import shutil
from collections import Counter

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"

CORPUS = """a photo of a red cat sitting on the mat, a painting of the blue sky with white clouds
portrait of a woman with long hair, highly detailed, digital painting, concept art, sharp focus
a small house on a green hill, sunset, warm light, landscape, oil on canvas, masterpiece, best quality
lowres, bad anatomy, bad hands, text, error, missing fingers, worst quality, blurry, watermark
the king's dog didn't run, we're here, they've gone, I'm sure you'll see, she'd better stay
mountains and rivers under the stars, cinematic lighting, 8k, trending, intricate, elegant, smooth"""


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes, in CLIP's order: "!" first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def bpe(text, merge_count):
    """Byte-level BPE as CLIP learned it: (vocab, merges), ties broken by spelling so runs agree."""
    alphabet = byte_alphabet()
    words = Counter(text.lower().replace(",", " ,").split())
    words = {(*word[:-1], word[-1] + "</w>"): count for word, count in words.items()}
    merges = []
    while len(merges) < merge_count:
        pairs = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = {merged(word, best): count for word, count in words.items()}
    entries = alphabet + [c + "</w>" for c in alphabet] + ["".join(pair) for pair in merges] + [BOS, EOS]
    return {entry: i for i, entry in enumerate(entries)}, merges


def merged(word, pair):
    out, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            out, i = [*out, "".join(pair)], i + 2
        else:
            out, i = [*out, word[i]], i + 1
    return tuple(out)


def randomize(module, seed):
    """Fan-in scaled normal weights; norms and biases off 1 and 0, so that a forgotten one shows."""
    g = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        draw = torch.randn(p.shape, generator=g)
        if name.endswith("bias"):
            p.data = 0.1 * draw
        elif p.ndim == 1:  # the weight of a norm
            p.data = 1 + 0.2 * draw
        elif "embedding.weight" in name:  # token and position tables
            p.data = 0.6 * draw
        else:
            p.data = draw / math.sqrt(p[0].numel())
    return module


def calibrate(model, layer, run, target):
    """Scales `layer` so that what `run` returns has the standard deviation `target`."""
    with torch.no_grad():
        factor = target / run().std()
        layer.weight *= factor
        layer.bias *= factor
    return model


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lively(text, unet, vae, seed):
    """Gives all three random weights that make text, noise and pictures vary visibly."""
    randomize(text, seed)
    randomize(unet, seed + 1)
    with torch.no_grad():  # context and time must matter: strengthen what they add
        for name, p in unet.named_parameters():
            if "attn2.to_out.0.weight" in name or "attn2.to_q" in name or "time_emb_proj" in name:
                p *= 2.0
    context = 1.0 * randn(1, 2, 77, unet.config.cross_attention_dim)
    calibrate(unet, unet.conv_out, lambda: unet(randn(2, 2, 4, 16, 16), 501, context).sample, 1.0)
    randomize(vae, seed + 2)
    calibrate(vae, vae.decoder.conv_out, lambda: vae.decode(randn(3, 1, 4, 16, 16)).sample, 0.4)
    image = randn(4, 1, 3, 64, 64).clamp(-1, 1)
    calibrate(vae, vae.quant_conv, lambda: vae.encode(image).latent_dist.mean, 2.0)
    with torch.no_grad():  # log-variances near -2, so that sampling the posterior shows but does not drown
        vae.quant_conv.weight[4:] *= 0.3
        vae.quant_conv.bias[4:] -= 2.0
    return text, unet, vae


def text_config(**changes):
    return CLIPTextConfig(max_position_embeddings=77, **changes)


def vae_of(widths, **changes):
    levels = len(widths)
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        sample_size=64,
        **changes,
    )


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_model_index(folder, scheduler):
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1", "requires_safety_checker": False}
    index |= {part: [None, None] for part in ("feature_extractor", "image_encoder", "safety_checker")}
    index["scheduler"] = ["diffusers", scheduler]
    index |= {"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"]}
    index |= {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    write_json(folder / "model_index.json", index)


def build_eps(folder):
    """SD1-like: plain names, f16, one file a part, tokenizer.json alone, keys without `text_model.`."""
    vocab, merges = bpe(CORPUS, 150)
    ids = {"vocab_size": len(vocab), "bos_token_id": vocab[BOS], "eos_token_id": vocab[EOS], "pad_token_id": vocab[EOS]}
    text = CLIPTextModel(
        text_config(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                    projection_dim=16, hidden_act="quick_gelu", **ids)
    )
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2, norm_num_groups=4,
    )
    vae = vae_of((8, 8, 12), layers_per_block=1, norm_num_groups=4, scaling_factor=0.4217)
    lively(text, unet, vae, 100)
    write_model_index(folder, "DDIMScheduler")
    for part, name in ((text, "text_encoder"), (unet, "unet"), (vae, "vae")):
        part.half().save_pretrained(folder / name)
    CLIPTokenizer(vocab, merges, model_max_length=77).save_pretrained(folder / "tokenizer")
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    ).save_pretrained(folder / "scheduler")


def build_v(folder):
    """SD2-like: fp16 variant names, U-Net in shards, old tokenizer layout, `text_model.` keys, bf16 VAE."""
    vocab, merges = bpe(CORPUS + "\na watercolour fox in autumn leaves, gouache, soft pastel colours", 180)
    ids = {"vocab_size": len(vocab), "bos_token_id": vocab[BOS], "eos_token_id": vocab[EOS], "pad_token_id": 0}
    text = CLIPTextModel(
        text_config(hidden_size=24, intermediate_size=48, num_hidden_layers=3, num_attention_heads=3,
                    projection_dim=24, hidden_act="gelu", **ids)
    )
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 8, 12), layers_per_block=2, cross_attention_dim=24,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=[2, 4, 4], transformer_layers_per_block=[1, 2, 1], use_linear_projection=True,
        norm_num_groups=2,
    )
    vae = vae_of((4, 8, 12), layers_per_block=2, norm_num_groups=2, mid_block_add_attention=False, scaling_factor=0.3391)
    lively(text, unet, vae, 200)
    write_model_index(folder, "DDIMScheduler")
    unet.half().save_pretrained(folder / "unet", variant="fp16", max_shard_size="60KB")
    vae.to(torch.bfloat16).save_pretrained(folder / "vae")
    text.half().save_pretrained(folder / "text_encoder", variant="fp16")
    rename_as_transformers_4_did(folder / "text_encoder" / "model.fp16.safetensors")
    write_old_tokenizer(folder / "tokenizer", vocab, merges)
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=True,
        steps_offset=0, timestep_spacing="trailing", prediction_type="v_prediction",
    ).save_pretrained(folder / "scheduler")


def rename_as_transformers_4_did(path):
    """Old checkpoints prefix every key and carry the integer position ids along."""
    tensors = {"text_model." + name: tensor for name, tensor in load_file(path).items()}
    assert not any("text_model.text_model." in name for name in tensors)
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors, path, metadata={"format": "pt"})


def write_old_tokenizer(folder, vocab, merges):
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": BOS, "eos_token": EOS, "pad_token": "!", "unk_token": EOS}
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {"add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77,
         "tokenizer_class": "CLIPTokenizer", **special},
    )


def load_tokenizer(folder):
    """The old layout is read by hand, so that no guess of transformers' comes between."""
    if not (folder / "vocab.json").exists():
        return CLIPTokenizer.from_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    lines = (folder / "merges.txt").read_text().splitlines()[1:]
    tokens = {name: config[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    vocab = json.loads((folder / "vocab.json").read_text())
    return CLIPTokenizer(vocab, [tuple(line.split(" ")) for line in lines], model_max_length=77, **tokens)


def load(folder):
    """A pipeline read from disk and computed in f32: what every golden is made with."""
    sharded = {"variant": "fp16"} if folder.name == "tiny-v" else {}
    f32 = torch.float32
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=f32, **sharded)
    check_text_keys(text, folder)
    return StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=f32),
        text_encoder=text,
        tokenizer=load_tokenizer(folder / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=f32, **sharded),
        scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )


def check_text_keys(text, folder):
    """transformers must have found every tensor, with and without the prefix."""
    stored = load_file(next((folder / "text_encoder").glob("*.safetensors")))
    stored = {name.removeprefix("text_model."): tensor for name, tensor in stored.items()}
    for name, tensor in text.state_dict().items():
        name = name.removeprefix("text_model.")
        if "position_ids" not in name:
            assert torch.equal(stored[name].float(), tensor), name


def build_all(fixtures):
    for name, build in (("tiny-eps", build_eps), ("tiny-v", build_v)):
        shutil.rmtree(fixtures / name, ignore_errors=True)
        (fixtures / name).mkdir(parents=True)
        build(fixtures / name)
