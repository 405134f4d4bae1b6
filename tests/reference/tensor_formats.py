"""Files of tensors in the formats of others: tests/fixtures/tensor-formats.

    python tensor_formats.py

PyTorch's own writer (zip, the format before it, newer pickle protocols), gguf's, safetensors'. What each tensor holds
stands in expected.safetensors as f32, under "FILE/NAME".
"""

import collections
import os
import pathlib

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "tensor-formats"


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def state_dict():
    shared = randn(1, 6, 4)
    return collections.OrderedDict(
        a=randn(2, 3, 5),
        half=randn(3, 7).half(),
        brain=randn(4, 2, 2, 3).bfloat16(),
        double=randn(5, 4).double(),
        transposed=randn(6, 3, 4).T,
        upper=shared[:3],
        lower=shared[3:],
        column=shared[:, 1],
        parameter=torch.nn.Parameter(randn(7, 2, 3)),
        scalar=torch.tensor(0.5),
        position_ids=torch.arange(5)[None],
    )


class Evil:
    def __reduce__(self):
        return os.system, ("echo run",)


def pickles(expected):
    plain = state_dict()
    trained = {"epoch": 3, "global_step": 875000, "pytorch-lightning_version": "1.4.2", "lr": 1e-4, "state_dict": plain,
               "optimizer_states": [{"state": {0: {"step": 12, "exp_avg": randn(9, 2)}}}], "seen": {1, 2}}  # fmt: skip
    torch.save(plain, OUT / "plain.pt")
    torch.save(trained, OUT / "trained.ckpt", pickle_protocol=4)
    torch.save(trained, OUT / "old.ckpt", _use_new_zipfile_serialization=False)
    words = {"string_to_token": {"*": 265}, "string_to_param": {"*": randn(10, 2, 8)}, "name": "word", "step": 4}
    torch.save(words, OUT / "embedding.pt")
    vae = OUT.parent / "tiny-eps" / "vae"
    torch.save(load_file(vae / "diffusion_pytorch_model.safetensors"), OUT / "tiny-eps-vae.bin")
    torch.save({"state_dict": {"a": randn(2, 3, 5)}, "callbacks": Evil()}, OUT / "evil.ckpt")
    for file in ("plain.pt", "trained.ckpt", "old.ckpt"):
        for name, tensor in plain.items():
            if tensor.is_floating_point():
                expected[f"{file}/{name}"] = tensor.detach().float().contiguous()
    expected["embedding.pt/*"] = words["string_to_param"]["*"]


def kinds():
    """What a list tells of them: Stable Diffusion 1 as trained, an embedding, an upscaler. Few numbers, the real widths."""
    half = {
        "model.diffusion_model.input_blocks.0.0.weight": (2, 9, 3, 3),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (1, 768),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (2, 768),
        "first_stage_model.decoder.conv_in.weight": (2, 4, 3, 3),
        "first_stage_model.decoder.up.0.block.0.conv1.weight": (2, 2, 3, 3),
    }  # fmt: skip
    model = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in half.items()}
    model["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    trained = {"epoch": 1, "global_step": 10, "state_dict": model}
    torch.save(trained, OUT / "kind-inpainting.ckpt")
    torch.save(trained, OUT / "kind-inpainting-old.ckpt", _use_new_zipfile_serialization=False)
    words = torch.nn.Parameter(torch.zeros(2, 768, dtype=torch.float16))
    embedding = {"string_to_token": {"*": 265}, "string_to_param": torch.nn.ParameterDict({"*": words}).state_dict()}
    torch.save({**embedding, "name": "word", "step": 4, "sd_checkpoint": None}, OUT / "kind-embedding.pt")
    torch.save({"params_ema": {"conv_first.weight": torch.zeros(2, 3, 3, 3)}}, OUT / "kind-upscaler.pth")


def blocks(kind, rows):
    """Random blocks whose scales are ordinary f16 numbers."""
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(int(kind))
    raw = rng.integers(0, 256, (rows, size), dtype=np.uint8)
    scales = {Q.Q2_K: (80, 82), Q.Q3_K: (108,), Q.Q4_K: (0, 2), Q.Q5_K: (0, 2), Q.Q6_K: (208,)}[kind]
    for place in scales:
        raw[:, place : place + 2] = rng.normal(0, 0.1, (rows, 1)).astype(np.float16).view(np.uint8)
    return raw


def quantised(expected):
    writer = gguf.GGUFWriter(OUT / "quants.gguf", "sd1")
    writer.add_string("general.name", "quants")
    for kind in (Q.F32, Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0):
        values = np.random.default_rng(int(kind)).normal(0, 1, (3, 64)).astype(np.float32)
        data = gguf.quants.quantize(values, kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        back = gguf.quants.dequantize(data, kind).reshape(3, 64)
        expected[f"quants.gguf/{kind.name}"] = torch.from_numpy(back.astype(np.float32).copy())
    for kind in (Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K):
        data = blocks(kind, 2)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        expected[f"quants.gguf/{kind.name}"] = torch.from_numpy(gguf.quants.dequantize(data, kind).reshape(2, 256).copy())
    # ComfyUI-GGUF: a convolution whose rows are no whole blocks is stored in rows of 256.
    values = np.random.default_rng(99).normal(0, 1, (2, 256)).astype(np.float32)
    data = gguf.quants.quantize(values, Q.Q8_0)
    writer.add_array("comfy.gguf.orig_shape.conv", [8, 64, 1, 1])
    writer.add_tensor("conv", data, raw_dtype=Q.Q8_0)
    expected["quants.gguf/conv"] = torch.from_numpy(gguf.quants.dequantize(data, Q.Q8_0).reshape(8, 64, 1, 1).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def eight_bits(expected):
    values = randn(20, 4, 16) * 3
    tensors = {"e4m3": values.to(torch.float8_e4m3fn), "e5m2": values.to(torch.float8_e5m2)}
    save_file(tensors, OUT / "f8.safetensors")
    for name, tensor in tensors.items():
        expected[f"f8.safetensors/{name}"] = tensor.float()


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    expected = {}
    pickles(expected)
    kinds()
    quantised(expected)
    eight_bits(expected)
    save_file({name: tensor.clone() for name, tensor in expected.items()}, OUT / "expected.safetensors")
    print(*(f"{path.stat().st_size:7} {path.name}" for path in sorted(OUT.iterdir())), sep="\n")
