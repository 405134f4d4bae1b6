"""A LoRA in kohya's names for all three networks of tiny-xl, and the picture that diffusers draws with it: its deltas are
added by LoRA's formula (Hu et al. 2021, arXiv:2106.09685). diffusers' own loader agrees on the U-Net; with transformers 5 it
passes the text encoders over, whose modules have lost the name that it looks for.

    python golden_xl_adapter.py      # writes fixtures/adapters/xl-kohya.safetensors, fixtures/golden/xl_adapter.safetensors
"""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file

from golden_families import make
from golden_models import save
from tiny_models import randn

FIXTURES = Path(__file__).parent.parent / "fixtures"
BLOCK = "mid_block.attentions.0.transformer_blocks.0"
CASE = "tiny-xl.negative"
STRENGTH = 0.75


def main():
    torch.set_grad_enabled(False)
    pipe = StableDiffusionXLPipeline.from_pretrained(FIXTURES / "tiny-xl", torch_dtype=torch.float32, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    tensors, deltas, seed = {}, [], 7000
    for prefix, net, modules in (
        ("lora_te1_", pipe.text_encoder, ("encoder.layers.0.self_attn.q_proj", "encoder.layers.0.mlp.fc1")),
        ("lora_te2_", pipe.text_encoder_2, ("encoder.layers.1.self_attn.v_proj", "encoder.layers.0.mlp.fc2")),
        ("lora_unet_", pipe.unet, (f"{BLOCK}.attn1.to_q", f"{BLOCK}.attn2.to_v", f"{BLOCK}.ff.net.2")),
    ):
        for module in modules:
            found = [weight for name, weight in net.named_parameters() if name.endswith(f"{module}.weight")]
            (out, inputs), seed = found[0].shape, seed + 2
            text = "" if prefix == "lora_unet_" else "text_model."
            key = prefix + f"{text}{module}".replace(".", "_")
            down, up = (0.3 * randn(seed, 2, inputs)).half(), (0.3 * randn(seed + 1, out, 2)).half()
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
            deltas.append((found[0], STRENGTH * 1.0 / 2 * up.float() @ down.float(), prefix))
    folder = FIXTURES / "adapters"
    save_file(tensors, folder / "xl-kohya.safetensors", {"ss_output_name": "xl-kohya"})
    wanted = next(row for row in json.loads((FIXTURES / "golden/families.json").read_text()) if row["key"] == CASE)
    plain, _ = make(pipe, wanted)
    for weight, delta, prefix in deltas:
        if prefix == "lora_unet_":
            weight.data += delta
    unet_only, _ = make(pipe, wanted)
    theirs = StableDiffusionXLPipeline.from_pretrained(FIXTURES / "tiny-xl", torch_dtype=torch.float32, add_watermarker=False)
    theirs.set_progress_bar_config(disable=True)
    unet_keys = {key: value for key, value in tensors.items() if key.startswith("lora_unet_")}
    theirs.load_lora_weights(unet_keys)
    theirs.set_adapters(theirs.get_active_adapters(), STRENGTH)
    error = (make(theirs, wanted)[0] - unet_only).abs().max() / unet_only.abs().max()
    print(f"diffusers' loader on the U-Net: {error:.1e}")
    assert error < 1e-5
    for weight, delta, prefix in deltas:
        if prefix != "lora_unet_":
            weight.data += delta
    latents, pixels = make(pipe, wanted)
    print("it changes the latents by", ((latents - plain).abs().max() / plain.abs().max()).item())
    save(FIXTURES / "golden/xl_adapter.safetensors", {"latents": latents, "picture": pixels})


if __name__ == "__main__":
    main()
