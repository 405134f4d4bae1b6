"""Checkpoints in one file under their original names, from diffusers folders.

    single_files.py                what the tests need: tests/fixtures/single-file
    single_files.py FOLDER FILE    a diffusers folder of SD 1.x, 2.x or XL as one file (f16, f32: as stored)

The names are made from the numbers of the blocks, one, two, three, as the original code built them; the product
looks for what is there instead.
"""

import json
import re
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "single-file"

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def unet_modules(config):
    """(diffusers prefix, original prefix, renaming of what follows) of every block."""
    levels = len(config["block_out_channels"])
    n = config["layers_per_block"]
    out = [
        ("conv_in", "input_blocks.0.0", {}),
        ("time_embedding.linear_1", "time_embed.0", {}),
        ("time_embedding.linear_2", "time_embed.2", {}),
        ("add_embedding.linear_1", "label_emb.0.0", {}),
        ("add_embedding.linear_2", "label_emb.0.2", {}),
        ("conv_norm_out", "out.0", {}),
        ("conv_out", "out.2", {}),
        ("mid_block.resnets.0", "middle_block.0", RESNET),
        ("mid_block.attentions.0", "middle_block.1", {}),
        ("mid_block.resnets.1", "middle_block.2", RESNET),
    ]
    number = 0
    for level in range(levels):
        for i in range(n):
            number += 1
            out.append((f"down_blocks.{level}.resnets.{i}", f"input_blocks.{number}.0", RESNET))
            out.append((f"down_blocks.{level}.attentions.{i}", f"input_blocks.{number}.1", {}))
        if level < levels - 1:
            number += 1
            out.append((f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{number}.0.op", {}))
    number = -1
    for level in range(levels):
        for i in range(n + 1):
            number += 1
            out.append((f"up_blocks.{level}.resnets.{i}", f"output_blocks.{number}.0", RESNET))
            out.append((f"up_blocks.{level}.attentions.{i}", f"output_blocks.{number}.1", {}))
        slot = 2 if config["up_block_types"][level].startswith("CrossAttn") else 1
        out.append((f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{number}.{slot}.conv", {}))
    return out


def vae_modules(config):
    levels, n = len(config["block_out_channels"]), config["layers_per_block"]
    shortcut = {"conv_shortcut": "nin_shortcut"}
    out = [(name, name, {}) for name in ("quant_conv", "post_quant_conv")]
    for side in ("encoder", "decoder"):
        out += [(f"{side}.{conv}", f"{side}.{conv}", {}) for conv in ("conv_in", "conv_out")]
        out.append((f"{side}.conv_norm_out", f"{side}.norm_out", {}))
        out.append((f"{side}.mid_block.resnets.0", f"{side}.mid.block_1", shortcut))
        out.append((f"{side}.mid_block.attentions.0", f"{side}.mid.attn_1", VAE_ATTENTION))
        out.append((f"{side}.mid_block.resnets.1", f"{side}.mid.block_2", shortcut))
    for level in range(levels):
        for i in range(n):
            out.append((f"encoder.down_blocks.{level}.resnets.{i}", f"encoder.down.{level}.block.{i}", shortcut))
        out.append((f"encoder.down_blocks.{level}.downsamplers.0.conv", f"encoder.down.{level}.downsample.conv", {}))
        up = levels - level - 1
        for i in range(n + 1):
            out.append((f"decoder.up_blocks.{level}.resnets.{i}", f"decoder.up.{up}.block.{i}", shortcut))
        out.append((f"decoder.up_blocks.{level}.upsamplers.0.conv", f"decoder.up.{up}.upsample.conv", {}))
    return out


def by_modules(modules, prefix):
    def rename(name):
        for theirs, original, inside in modules:
            if name.startswith(theirs + "."):
                rest = name[len(theirs) + 1 :]
                for a, b in inside.items():
                    if rest.startswith(a + "."):
                        rest = b + rest[len(a) :]
                return f"{prefix}{original}.{rest}"
        raise KeyError(name)

    return rename


def clip_name(name, prefix="cond_stage_model.transformer.text_model."):
    return prefix + name.removeprefix("text_model.")


def open_clip_name(name, prefix="cond_stage_model.model."):
    """A number after # is the third of the rows that the tensor makes, #T a matrix the other way round."""
    name = name.removeprefix("text_model.")
    plain = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
        "text_projection.weight": "text_projection#T",
    }
    if name in plain:
        return prefix + plain[name]
    layer, rest = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)", name).groups()
    block = f"{prefix}transformer.resblocks.{layer}."
    if fused := re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", rest):
        return f"{block}attn.in_proj_{fused[2]}#{'qkv'.index(fused[1])}"
    module, leaf = rest.rsplit(".", 1)
    return f"{block}{OPEN_CLIP[module]}.{leaf}"


def renamers(unet, vae, towers):
    """`towers`: whether each text encoder is OpenCLIP's, by its folder."""
    out = {
        "unet": by_modules(unet_modules(unet), "model.diffusion_model."),
        "vae": by_modules(vae_modules(vae), "first_stage_model."),
    }
    is_xl = unet.get("addition_embed_type") is not None
    for index, (part, is_open_clip) in enumerate(towers.items()):
        rename, inner = (open_clip_name, "model.") if is_open_clip else (clip_name, "transformer.text_model.")
        stage = f"conditioner.embedders.{index}." if is_xl else "cond_stage_model."
        out[part] = lambda name, rename=rename, prefix=stage + inner: rename(name, prefix)
    return out


def scheduler(prediction):
    # Stable Diffusion 1.5's and 2.1's own, which name no spacing.
    config = {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": prediction,
    }
    DDIMScheduler.from_config(config)
    return config


def towers_of(family, context):
    """Text encoders by their folders: (class, is OpenCLIP's, its configuration)."""
    common = {"vocab_size": 49408, "intermediate_size": 128, "num_hidden_layers": 2}
    if not family.startswith("xl"):
        is_second = family == "sd2"
        act = "gelu" if is_second else "quick_gelu"
        config = {**common, "intermediate_size": 256, "hidden_size": context, "num_attention_heads": 2}
        return {"text_encoder": (CLIPTextModel, is_second, {**config, "hidden_act": act})}
    clip = {**common, "hidden_size": 64, "num_attention_heads": 1, "hidden_act": "quick_gelu"}
    big = {**common, "hidden_size": 128, "num_attention_heads": 2, "hidden_act": "gelu", "projection_dim": 96}
    towers = {"text_encoder": (CLIPTextModel, False, clip)} if family != "xl-refiner" else {}
    return towers | {"text_encoder_2": (CLIPTextModelWithProjection, True, big)}


def tiny(name, widths, attends, n, linear, heads, prediction="epsilon", **unet_options):
    is_xl = name.startswith("xl")
    context = {True: 192, False: 128}[is_xl] if name != "xl-refiner" else 128
    if is_xl:
        numbers = 5 if name == "xl-refiner" else 6
        unet_options |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 96 + numbers * 256,
        }
    unet = UNet2DConditionModel(
        sample_size=128 if is_xl else 64 if prediction == "epsilon" else 96,
        block_out_channels=widths,
        down_block_types=["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        up_block_types=["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        layers_per_block=n,
        cross_attention_dim=context,
        attention_head_dim=heads,
        use_linear_projection=linear,
        **unet_options,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 64, 64),
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        layers_per_block=n,
        scaling_factor=0.13025 if is_xl else 0.18215,
    )
    towers = towers_of(name, context)
    rename = renamers(unet.config, vae.config, {part: is_open for part, (_, is_open, _) in towers.items()})
    texts = [(part, cls(CLIPTextConfig(**config))) for part, (cls, _, config) in towers.items()]
    folder = FIXTURES / name
    lines = []
    for part, model in [("unet", unet), ("vae", vae), *texts]:
        (folder / part).mkdir(parents=True, exist_ok=True)
        if part in towers:
            model.config.architectures = [type(model).__name__]
            model.config.save_pretrained(folder / part)
        else:
            model.save_config(folder / part)
        for theirs, tensor in model.state_dict().items():
            if not theirs.endswith("position_ids"):
                shape = "x".join(map(str, tensor.shape))
                lines.append("\t".join([part, theirs, rename[part](theirs), shape]))
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler(prediction), indent=2) + "\n")
    (folder / "names.tsv").write_text("\n".join(lines) + "\n")


def fixtures():
    tiny("sd1", (64, 128), (True, False), 2, False, 8)
    tiny("sd1-inpaint", (64,), (True,), 1, False, 8, in_channels=9)
    tiny("sd2", (64, 128, 128), (True, True, False), 1, True, [1, 2, 2], "v_prediction")
    # XL's own depths, 0 and 2 and 10, made smaller.
    tiny("xl", (64, 64, 128), (False, True, True), 1, True, [1, 1, 2], transformer_layers_per_block=[1, 1, 2])
    # Segmind's SSD-1B: other depths on the way up than down, and half a middle.
    uneven = {"transformer_layers_per_block": [1, [2, 1]], "reverse_transformer_layers_per_block": [[1, 2, 1], 1]}
    tiny("xl-ssd", (64, 64), (False, True), 2, True, [1, 1], mid_block_type="UNetMidBlock2D", **uneven)
    tiny("xl-refiner", (64, 64), (True, False), 1, True, [1, 1])


def convert(folder, file):
    config = lambda part: json.loads((folder / part / "config.json").read_text())
    parts = [part for part in ("text_encoder", "text_encoder_2") if (folder / part).exists()]
    rename = renamers(config("unet"), config("vae"), {part: config(part)["hidden_act"] == "gelu" for part in parts})
    tensors, thirds = {}, {}
    for part, to_original in rename.items():
        (source,) = (folder / part).glob("*.safetensors")
        for name, tensor in load_file(source).items():
            if name.endswith("position_ids"):
                continue
            original, _, third = to_original(name).partition("#")
            if third == "T":
                tensors[original] = tensor.T.contiguous()
            elif third:
                thirds.setdefault(original, {})[int(third)] = tensor
            elif ".mid.attn_1." in original and tensor.ndim == 2:
                tensors[original] = tensor[:, :, None, None].contiguous()
            else:
                tensors[original] = tensor
    for name, parts in thirds.items():
        tensors[name] = torch.cat([parts[i] for i in range(3)])
    save_file(tensors, file)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 1 else fixtures()
