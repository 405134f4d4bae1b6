"""LoRAs and their relatives for tiny-eps, one file a type and a dialect, and what the model computes with each.

Where diffusers and peft can load a file, they do; else the delta is written down from the papers' formulas with einsum.
"""

import copy
import json

import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from tiny_models import randn

MODEL = "tiny-eps"
BLOCK = "mid_block.attentions.0.transformer_blocks.0"
TEXT = "encoder.layers.0"
WORDS = "a red cat"


class Case:
    """A file in the making: draws its tensors, and knows the delta of each weight."""

    def __init__(self, pipe, seed):
        self.pipe, self.seed, self.tensors, self.deltas, self.maps = pipe, seed, {}, {}, {}

    def draw(self, name, *shape, size=0.3):
        self.seed += 1
        # As files keep them.
        self.tensors[name] = (size * randn(self.seed, *shape)).half()
        return self.tensors[name].float()

    def put(self, name, value):
        self.tensors[name] = torch.tensor(value)
        return float(value)

    def model(self, weight):
        side, module = weight.split(":")
        net = self.pipe.unet if side == "unet" else self.pipe.text_encoder
        return net.get_parameter(module)

    def delta(self, weight, delta):
        self.deltas[weight] = delta.reshape(self.model(weight).shape)

    def outputs(self, inputs, strength=1.0):
        """U-Net and text with W + strength * delta, or with what `maps` makes of W."""
        pipe = changed(self.pipe, {
            **{k: (lambda w, d=d: w + strength * d) for k, d in self.deltas.items()},
            **{k: (lambda w, f=f: w + strength * (f(w) - w)) for k, f in self.maps.items()},
        })
        return run(pipe, inputs)


def changed(pipe, maps):
    parts = {"unet": copy.deepcopy(pipe.unet), "text": copy.deepcopy(pipe.text_encoder)}
    for weight, change in maps.items():
        side, module = weight.split(":")
        parameter = parts[side].get_parameter(module)
        parameter.data = change(parameter.data)
    return parts


def run(parts, inputs):
    out = {"unet": parts["unet"](inputs["sample"], 501, encoder_hidden_states=inputs["context"]).sample}
    out["text"] = parts["text"](inputs["ids"][None])[0][:, :12]
    return out


def lora(case, key, weight, rank, shape, alpha=None):
    out, *rest = shape
    down, up = case.draw(f"{key}.lora_down.weight", rank, *rest), case.draw(f"{key}.lora_up.weight", out, rank, *[1] * (len(rest) - 1))
    scale = 1.0 if alpha is None else case.put(f"{key}.alpha", alpha) / rank
    case.delta(weight, scale * up.reshape(out, rank) @ down.reshape(rank, -1))


def kohya(case):
    """diffusers' names with underscores; text as well; alpha as [] and as [1]."""
    # One alpha for all: diffusers 0.42 loses that of to_out and takes the most frequent in its place.
    for name in ("attn1.to_q", "attn1.to_out.0", "attn2.to_k", "ff.net.0.proj", "ff.net.2"):
        key = "lora_unet_" + f"{BLOCK}.{name}".replace(".", "_")
        weight = f"unet:{BLOCK}.{name}.weight"
        lora(case, key, weight, 2, case.model(weight).shape, 1.5)
    case.tensors["lora_unet_" + f"{BLOCK}.attn1.to_q".replace(".", "_") + ".alpha"] = torch.tensor([1.5])
    for name in ("self_attn.q_proj", "self_attn.out_proj", "mlp.fc1"):
        weight = f"text:{TEXT}.{name}.weight"
        lora(case, "lora_te_text_model_" + f"{TEXT}.{name}".replace(".", "_"), weight, 2, case.model(weight).shape, 1.0)


def locon(case):
    """CompVis' names; 3x3 and 1x1 convolutions, with and without a core."""
    for key, module in (
        ("input_blocks_0_0", "conv_in"),
        ("input_blocks_3_0_skip_connection", "down_blocks.1.resnets.0.conv_shortcut"),
        ("input_blocks_2_0_op", "down_blocks.0.downsamplers.0.conv"),
        ("output_blocks_1_1_conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks_3_0_in_layers_2", "up_blocks.1.resnets.1.conv1"),
        ("middle_block_0_emb_layers_1", "mid_block.resnets.0.time_emb_proj"),
        ("out_2", "conv_out"),
    ):
        lora(case, f"lora_unet_{key}", f"unet:{module}.weight", 2, case.model(f"unet:{module}.weight").shape, 1.0)
    key, weight = "lora_unet_middle_block_2_out_layers_3", "unet:mid_block.resnets.1.conv2.weight"
    out, inputs, height, width = case.model(weight).shape
    down, up = case.draw(f"{key}.lora_down.weight", 3, inputs, 1, 1), case.draw(f"{key}.lora_up.weight", out, 4, 1, 1)
    mid = case.draw(f"{key}.lora_mid.weight", 4, 3, height, width)
    scale = case.put(f"{key}.alpha", 2.0) / 3
    case.delta(weight, scale * torch.einsum("mnkl,om,ni->oikl", mid, up[..., 0, 0], down[..., 0, 0]))
    # A 1x1 convolution kept as a linear map, which diffusers does not load.
    weight = "unet:mid_block.attentions.0.proj_in.weight"
    lora(case, "lora_unet_mid_block_attentions_0_proj_in", weight, 2, case.model(weight).shape[:2], 2.0)


def loha(case):
    key, weight = "lora_unet_" + f"{BLOCK}.ff.net.0.proj".replace(".", "_"), f"unet:{BLOCK}.ff.net.0.proj.weight"
    out, inputs = case.model(weight).shape
    w = [case.draw(f"{key}.hada_w{i}_{s}", *shape) for i in (1, 2) for s, shape in (("a", (out, 3)), ("b", (3, inputs)))]
    scale = case.put(f"{key}.alpha", 2.0) / 3
    case.delta(weight, scale * (w[0] @ w[1]) * (w[2] @ w[3]))
    key, weight = "lora_unet_conv_in", "unet:conv_in.weight"
    out, inputs, height, width = case.model(weight).shape
    halves = []
    for i in (1, 2):
        t = case.draw(f"{key}.hada_t{i}", 3, 3, height, width)
        a, b = case.draw(f"{key}.hada_w{i}_a", 3, out), case.draw(f"{key}.hada_w{i}_b", 3, inputs)
        halves.append(torch.einsum("ijkl,io,jc->ockl", t, a, b))
    case.delta(weight, halves[0] * halves[1])


def kron(first, second):
    """torch.kron with the kernel's sides on the second factor alone."""
    return torch.kron(first.reshape(*first.shape, *[1] * (second.dim() - 2)), second.contiguous())


def lokr(case):
    key, weight = "lycoris_" + f"{BLOCK}.attn1.to_q".replace(".", "_"), f"unet:{BLOCK}.attn1.to_q.weight"
    first = case.draw(f"{key}.lokr_w1", 4, 4)
    second = case.draw(f"{key}.lokr_w2_a", 4, 2) @ case.draw(f"{key}.lokr_w2_b", 2, 4)
    case.delta(weight, case.put(f"{key}.alpha", 1.0) / 2 * kron(first, second))
    # Both whole: alpha is not looked at.
    key, weight = "lycoris_" + f"{BLOCK}.ff.net.2".replace(".", "_"), f"unet:{BLOCK}.ff.net.2.weight"
    first, second = case.draw(f"{key}.lokr_w1", 2, 8), case.draw(f"{key}.lokr_w2", 8, 8)
    case.put(f"{key}.alpha", 64.0)
    case.delta(weight, kron(first, second))
    # A convolution with a core, and the first factor in halves.
    key, weight = "lycoris_mid_block_resnets_0_conv1", "unet:mid_block.resnets.0.conv1.weight"
    first = case.draw(f"{key}.lokr_w1_a", 4, 2) @ case.draw(f"{key}.lokr_w1_b", 2, 2)
    t = case.draw(f"{key}.lokr_t2", 3, 3, 3, 3)
    a, b = case.draw(f"{key}.lokr_w2_a", 3, 4), case.draw(f"{key}.lokr_w2_b", 3, 8)
    case.delta(weight, case.put(f"{key}.alpha", 1.0) / 3 * kron(first, torch.einsum("ijkl,ip,jr->prkl", t, a, b)))
    # A convolution whose second factor is whole.
    key, weight = "lycoris_conv_out", "unet:conv_out.weight"
    first = case.draw(f"{key}.lokr_w1_a", 2, 1) @ case.draw(f"{key}.lokr_w1_b", 1, 2)
    case.delta(weight, case.put(f"{key}.alpha", 2.0) / 1 * kron(first, case.draw(f"{key}.lokr_w2", 2, 4, 3, 3)))


def full(case):
    for key, module in (("lora_unet_conv_in", "conv_in"), ("lora_unet_middle_block_0_in_layers_2", "mid_block.resnets.0.conv1")):
        case.delta(f"unet:{module}.weight", case.draw(f"{key}.diff", *case.model(f"unet:{module}.weight").shape, size=0.05))
        case.delta(f"unet:{module}.bias", case.draw(f"{key}.diff_b", *case.model(f"unet:{module}.bias").shape))
    key, module = "lora_unet_mid_block_resnets_0_norm1", "mid_block.resnets.0.norm1"
    case.delta(f"unet:{module}.weight", case.draw(f"{key}.w_norm", 16))
    case.delta(f"unet:{module}.bias", case.draw(f"{key}.b_norm", 16))
    # IA3: rows, and inputs.
    for name, on_input in (("attn1.to_k", False), ("ff.net.2", True)):
        key, weight = "lora_unet_" + f"{BLOCK}.{name}".replace(".", "_"), f"unet:{BLOCK}.{name}.weight"
        w = case.model(weight)
        factors = case.draw(f"{key}.weight", w.shape[1] if on_input else w.shape[0])
        case.tensors[f"{key}.on_input"] = torch.tensor(on_input).to(torch.uint8)
        case.delta(weight, w * (factors[None] if on_input else factors[:, None]))


def dora(case):
    """One of a convolution's rows, one of inputs."""
    for key, weight, rows in (
        ("lora_unet_mid_block_resnets_0_conv2", "unet:mid_block.resnets.0.conv2.weight", True),
        ("lora_unet_" + f"{BLOCK}.attn2.to_v".replace(".", "_"), f"unet:{BLOCK}.attn2.to_v.weight", False),
        ("lora_unet_mid_block_resnets_1_conv2", "unet:mid_block.resnets.1.conv2.weight", False),
    ):
        w = case.model(weight)
        lora(case, key, weight, 2, w.shape, 1.0)
        delta = case.deltas.pop(weight)
        shape = [1] * w.dim()
        shape[0 if rows else 1] = w.shape[0 if rows else 1]
        lengths = 1 + case.draw(f"{key}.dora_scale", *shape).abs()
        case.tensors[f"{key}.dora_scale"] = lengths
        axes = [i for i in range(w.dim()) if i != (0 if rows else 1)]
        case.maps[weight] = lambda w, d=delta, m=lengths, axes=axes: m * (w + d) / (w + d).square().sum(dim=axes, keepdim=True).sqrt()


CASES = {"kohya": kohya, "locon": locon, "loha": loha, "lokr": lokr, "full": full, "dora": dora}


def adapters(out, files, pipes, folder):
    pipe = pipes[MODEL]
    files.mkdir(exist_ok=True)
    ids = pipe.tokenizer(WORDS, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids[0]
    inputs = {"sample": randn(71, 1, 4, 8, 8), "context": randn(72, 1, 9, 16), "ids": ids}
    golden = dict(inputs)
    keep = lambda name, found: golden.update({f"{name}.{part}": value for part, value in found.items()})
    keep("plain", run({"unet": pipe.unet, "text": pipe.text_encoder}, inputs))
    made = {}
    for index, (name, build) in enumerate(CASES.items()):
        case = made[name] = Case(pipe, 1000 * (index + 1))
        build(case)
        keep(name, case.outputs(inputs))
        keep(f"{name}.minus", case.outputs(inputs, -0.5))
        save_file(case.tensors, files / f"{name}.safetensors", {"ss_output_name": name})
    check_with_diffusers(folder, files, golden, inputs)
    both = {key: (lambda w, d=0.7 * made["kohya"].deltas.get(key, 0) - 0.4 * made["locon"].deltas.get(key, 0): w + d)
            for key in made["kohya"].deltas | made["locon"].deltas}
    keep("both", run(changed(pipe, both), inputs))
    by_peft(folder, files, inputs, keep)
    embeddings(folder, files, golden)
    golden = {key: value.contiguous() for key, value in golden.items()}
    save_file(golden, out / "adapters.safetensors")


def check_with_diffusers(folder, files, golden, inputs):
    """What diffusers loads of a file gives what the formulas give."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    pipe.load_lora_weights(files, weight_name="kohya.safetensors")
    for part, value in run({"unet": pipe.unet, "text": pipe.text_encoder}, inputs).items():
        error = (value - golden[f"kohya.{part}"]).abs().max() / value.abs().max()
        print(f"diffusers on kohya, {part}: {error:.1e}")
        assert error < 1e-5, (part, error)


def by_peft(folder, files, inputs, keep):
    """Drawn by peft, written by diffusers with its metadata and without, and in the older spelling."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["to_q", "to_k", "to_out.0"], init_lora_weights=False,
                        rank_pattern={f"{BLOCK}.attn1.to_q": 2}, alpha_pattern={f"{BLOCK}.attn1.to_q": 5})
    torch.manual_seed(5)
    pipe.unet.add_adapter(config)
    pipe.text_encoder.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    for net in (pipe.unet, pipe.text_encoder):
        for name, parameter in net.named_parameters():
            if "lora_" in name:
                parameter.data = (0.5 * parameter.data).half().float()
    layers = {side: {k: v.half() for k, v in get_peft_model_state_dict(net).items()}
              for side, net in (("unet", pipe.unet), ("text_encoder", pipe.text_encoder))}
    keep("peft", run({"unet": pipe.unet, "text": pipe.text_encoder}, inputs))
    tensors = {f"{side}.{key}": value for side, found in layers.items() for key, value in found.items()}
    metadata = {f"unet.{k}": v for k, v in (("r", 4), ("lora_alpha", 6), ("rank_pattern", config.rank_pattern), ("alpha_pattern", config.alpha_pattern))}
    metadata |= {"text_encoder.r": 2, "text_encoder.lora_alpha": 3}
    save_file(tensors, files / "peft.safetensors", {"format": "pt", "lora_adapter_metadata": json.dumps(metadata)})
    # The processors' spelling of diffusers before 0.22, which has no alpha.
    old, maps = {}, {}
    for name in ("to_q", "to_out"):
        layer = f"{BLOCK}.attn2.{name}"
        down, up = (0.3 * randn(91, 2, 16)).half(), (0.3 * randn(92, 16, 2)).half()
        path = f"unet.{BLOCK}.attn2.processor.{name}_lora"
        old |= {f"{path}.down.weight": down, f"{path}.up.weight": up}
        weight = f"unet:{layer}{'.0' if name == 'to_out' else ''}.weight"
        maps[weight] = lambda w, d=up.float() @ down.float(): w + d
    save_file(old, files / "processors.safetensors")
    plain = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    keep("processors", run(changed(plain, maps), inputs))


def embeddings(folder, files, golden):
    """Three vectors, as kohya, diffusers and A1111 spell them; what diffusers' own loader makes of a prompt."""
    vectors = (0.6 * randn(81, 3, 16)).half()
    save_file({"emb_params": vectors}, files / "ink-style.safetensors")
    save_file({"<ink>": vectors[:1].flatten().clone()}, files / "one.safetensors")
    save_file({"clip_l": vectors, "clip_g": torch.cat([vectors] * 2, 1)}, files / "xl.safetensors")
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    pipe.load_textual_inversion({"<ink-style>": vectors.float()}, token="<ink-style>")
    prompt = pipe.maybe_convert_prompt("a <ink-style> cat", pipe.tokenizer)
    ids = pipe.tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    golden["embedding.text"] = pipe.text_encoder(ids)[0][:, :12]
