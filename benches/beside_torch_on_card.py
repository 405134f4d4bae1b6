#!/usr/bin/env python3
"""Times Calotype beside plain torch on a graphics card, in turn, and prints the ratios as a table in Markdown.

    python benches/beside_torch_on_card.py CALOTYPE [--folder FOLDER] [--sizes 512,1024] [--rounds 3] [--steps 30]
        [--compile [MODE]] [--device cuda]

CALOTYPE is built with `--features cuda`. FOLDER is a diffusers folder of Stable Diffusion 1.5; where it is absent it is
made, 2 GB of random weights in f16. Only torch is needed: the peer's networks stand here, with diffusers' names. Both
compute in bf16, guided (batch of 2), by Euler's method. The peer has scaled_dot_product_attention, cuDNN's own search, its
latents on the card, and ends with bytes on the host; it runs with channels last and with channels first. --compile adds
torch.compile, in reduce-overhead: that replays CUDA graphs, as ours does, and launching is what eager torch loses most by
in a batch of 2; max-autotune adds a search of minutes. Each run is a process of its own and warms up first. A ratio is
taken within a round; the median of the rounds is printed, with the least and the largest. --device cpu tries the code.
"""
import argparse
import datetime
import functools
import json
import math
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

PROMPT, GUIDANCE, PROFILED = "a photo of a cat", 7.0, 5
ROWS = {"step": ("guided U-Net step", 1e-3, "{:.2f} ms"), "beside": ("both prompts and decoding", 1e-3, "{:.1f} ms"),
        "picture": ("picture", 1e-3, "{:.0f} ms"), "first decode": ("first decoding of a process", 1e-3, "{:.0f} ms"),
        "first picture": ("first picture, weights on the card", 1e-3, "{:.0f} ms"),
        "memory": ("most memory of the card", 2**30, "{:.2f} GiB"), "tensors": ("most memory in tensors", 2**30, "{:.2f} GiB"),
        "kernels": ("kernels in a step", 1, "{:.0f}"), "launches": ("launches in a step", 1, "{:.0f}")}  # fmt: skip
EAGER = {"channels last": torch.channels_last, "channels first": torch.contiguous_format}
# The published configurations of stable-diffusion-v1-5, without what is diffusers' and transformers' default.
UNET = {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "cross_attention_dim": 768,
        "attention_head_dim": 8, "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "sample_size": 64,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}  # fmt: skip
VAE = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4, "scaling_factor": 0.18215,
       "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}  # fmt: skip
TEXT = {"vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "quick_gelu", "bos_token_id": 49406, "eos_token_id": 49407}  # fmt: skip
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
conv = functools.partial(nn.Conv2d, kernel_size=3, padding=1)


def tree(**parts):
    return nn.ModuleDict({name: nn.ModuleList(part) if isinstance(part, list) else part for name, part in parts.items()})


def attend(heads, *qkv, is_causal=False):
    # [B, N, C] -> [B, heads, N, C / heads], and back
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in qkv)
    return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal).transpose(1, 2).flatten(2)


def layer(stage, i, x, time, context):
    x = stage["resnets"][i](x, time)
    return stage["attentions"][i](x, context) if len(stage["attentions"]) else x


def grown(stage, x):
    return stage["upsamplers"][0]["conv"](F.interpolate(x, scale_factor=2.0)) if "upsamplers" in stage else x


class Resnet(nn.Module):
    def __init__(self, inputs, outputs, eps=1e-6, time_width=None):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(32, inputs, eps), nn.GroupNorm(32, outputs, eps)
        self.conv1, self.conv2 = conv(inputs, outputs), conv(outputs, outputs)
        self.time_emb_proj = nn.Linear(time_width, outputs) if time_width else None
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, time=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if time is not None:
            h = h + self.time_emb_proj(time)[:, :, None, None]
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, width, heads, context_width=None, bias=False):
        super().__init__()
        self.heads, self.to_q = heads, nn.Linear(width, width, bias=bias)
        self.to_k, self.to_v = (nn.Linear(context_width or width, width, bias=bias) for _ in range(2))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x, context=None):
        context = x if context is None else context
        return self.to_out[0](attend(self.heads, self.to_q(x), self.to_k(context), self.to_v(context)))


class Transformer(nn.Module):
    def __init__(self, width, heads, context_width):
        super().__init__()
        self.norm = nn.GroupNorm(32, width, 1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        inner = [tree(proj=nn.Linear(width, 8 * width)), nn.Identity(), nn.Linear(4 * width, width)]
        self.transformer_blocks = nn.ModuleList([tree(
            norm1=nn.LayerNorm(width), attn1=Attention(width, heads), norm2=nn.LayerNorm(width),
            attn2=Attention(width, heads, context_width), norm3=nn.LayerNorm(width), ff=tree(net=inner))])  # fmt: skip

    def forward(self, x, context):
        block = self.transformer_blocks[0]
        # [B, C, H, W] -> [B, H * W, C], and back; no copies where channels are last
        tokens = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)
        tokens = tokens + block["attn1"](block["norm1"](tokens))
        tokens = tokens + block["attn2"](block["norm2"](tokens), context)
        widen, _, narrow = block["ff"]["net"]
        inner, gate = widen["proj"](block["norm3"](tokens)).chunk(2, -1)
        tokens = tokens + narrow(inner * F.gelu(gate))
        return x + self.proj_out(tokens.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2))


class UNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths, layers, last = config["block_out_channels"], config["layers_per_block"], len(config["block_out_channels"]) - 1
        first, below, time_width = widths[0], widths[-1], 4 * widths[0]
        resnet = lambda inputs, outputs: Resnet(inputs, outputs, 1e-5, time_width)
        transformer = lambda width: Transformer(width, config["attention_head_dim"], config["cross_attention_dim"])
        self.conv_in, self.conv_out = conv(4, first), conv(first, 4)
        self.time_embedding = tree(linear_1=nn.Linear(first, time_width), linear_2=nn.Linear(time_width, time_width))
        skips, self.down_blocks, self.up_blocks = [first], nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            resnets = [resnet(skips[-1] if i == 0 else width, width) for i in range(layers)]
            resampler = {"downsamplers": [tree(conv=conv(width, width, stride=2))]} if level < last else {}
            attentions = [transformer(width) for _ in resnets if level < last]
            self.down_blocks.append(tree(resnets=resnets, attentions=attentions, **resampler))
            skips += [width] * (layers + (level < last))
        self.mid_block = tree(resnets=[resnet(below, below) for _ in range(2)], attentions=[transformer(below)])
        for level, width in reversed(list(enumerate(widths))):
            resnets = [resnet((below if i == 0 else width) + skips.pop(), width) for i in range(layers + 1)]
            attentions = [transformer(width) for _ in resnets if level < last]
            resampler = {"upsamplers": [tree(conv=conv(width, width))]} if level else {}
            self.up_blocks.append(tree(resnets=resnets, attentions=attentions, **resampler))
            below = width
        self.conv_norm_out = nn.GroupNorm(32, first, 1e-5)

    def forward(self, x, timestep, context):
        half = self.conv_in.out_channels // 2
        angles = timestep * torch.exp(torch.arange(half, device=x.device) * (-math.log(10000) / half))
        time = self.time_embedding["linear_1"](torch.cat([angles.cos(), angles.sin()])[None].to(x.dtype))
        # All resnets begin with a SiLU of it.
        time = F.silu(self.time_embedding["linear_2"](F.silu(time)))
        x = self.conv_in(x)
        skips = [x]
        for stage in self.down_blocks:
            for i in range(len(stage["resnets"])):
                x = layer(stage, i, x, time, context)
                skips.append(x)
            if "downsamplers" in stage:
                x = stage["downsamplers"][0]["conv"](x)
                skips.append(x)
        x = self.mid_block["resnets"][1](layer(self.mid_block, 0, x, time, context), time)
        for stage in self.up_blocks:
            for i in range(len(stage["resnets"])):
                x = layer(stage, i, torch.cat([x, skips.pop()], 1), time, context)
            x = grown(stage, x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Coder(nn.Module):
    """One half of the VAE. The encoder is there for its weights alone, without which our program opens no model."""

    def __init__(self, inputs, outputs, widths, layers, direction):
        super().__init__()
        resample = lambda width: nn.Conv2d(width, width, 3, 2) if direction == "down" else conv(width, width)
        deepest = widths[-1] if direction == "down" else widths[0]
        stages = nn.ModuleList()
        for before, width in zip([widths[0], *widths], widths):
            resnets = [Resnet(before if i == 0 else width, width) for i in range(layers)]
            resampler = {f"{direction}samplers": [tree(conv=resample(width))]} if len(stages) < len(widths) - 1 else {}
            stages.append(tree(resnets=resnets, **resampler))
        setattr(self, f"{direction}_blocks", stages)
        attention = Attention(deepest, 1, bias=True)
        attention.group_norm = nn.GroupNorm(32, deepest, 1e-6)
        self.mid_block = tree(resnets=[Resnet(deepest, deepest) for _ in range(2)], attentions=[attention])
        self.conv_in, self.conv_out = conv(inputs, widths[0]), conv(widths[-1], outputs)
        self.conv_norm_out = nn.GroupNorm(32, widths[-1], 1e-6)

    def forward(self, x):
        (first, second), (attention,) = self.mid_block["resnets"], self.mid_block["attentions"]
        x = first(self.conv_in(x))
        # [B, C, H, W] -> [B, H * W, C], and back
        tokens = attention(attention.group_norm(x).flatten(2).transpose(1, 2))
        x = second(x + tokens.transpose(1, 2).unflatten(2, x.shape[2:]))
        for stage in self.up_blocks:
            for resnet in stage["resnets"]:
                x = resnet(x)
            x = grown(stage, x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Vae(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths, layers, latent = config["block_out_channels"], config["layers_per_block"], config["latent_channels"]
        self.encoder = Coder(3, 2 * latent, widths, layers, "down")
        self.decoder = Coder(latent, 3, widths[::-1], layers + 1, "up")
        self.quant_conv, self.post_quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1), nn.Conv2d(latent, latent, 1)
        self.scale = config["scaling_factor"]

    def forward(self, latents):
        return self.decoder(self.post_quant_conv(latents / self.scale))


class Text(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.embeddings = tree(token_embedding=nn.Embedding(config["vocab_size"], width),
                               position_embedding=nn.Embedding(77, width))  # fmt: skip
        self.encoder = tree(layers=[tree(
            layer_norm1=nn.LayerNorm(width), layer_norm2=nn.LayerNorm(width),
            self_attn=tree(**{f"{name}_proj": nn.Linear(width, width) for name in ("q", "k", "v", "out")}),
            mlp=tree(fc1=nn.Linear(width, config["intermediate_size"]), fc2=nn.Linear(config["intermediate_size"], width)),
        ) for _ in range(config["num_hidden_layers"])])  # fmt: skip
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.embeddings["token_embedding"](ids) + self.embeddings["position_embedding"].weight
        for layer in self.encoder["layers"]:
            normed, maps = layer["layer_norm1"](x), layer["self_attn"]
            qkv = (maps[f"{name}_proj"](normed) for name in "qkv")
            x = x + maps["out_proj"](attend(self.heads, *qkv, is_causal=True))
            h = layer["mlp"]["fc1"](layer["layer_norm2"](x))
            # quick_gelu
            x = x + layer["mlp"]["fc2"](h * torch.sigmoid(1.702 * h))
        return self.final_layer_norm(x)


STEM = "diffusion_pytorch_model.safetensors"
PARTS = {"unet": (UNet, STEM), "vae": (Vae, STEM), "text_encoder": (Text, "model.safetensors")}


def make(folder, unet=UNET, vae=VAE, text=TEXT):
    """A folder of random weights. It has no tokenizer: with CLIP's number of entries ours takes its built-in vocabulary."""
    generator = torch.Generator().manual_seed(0)
    for (part, (network, file_name)), config in zip(PARTS.items(), (unet, vae, text)):
        with torch.device("meta"):
            shapes = {name: empty.shape for name, empty in network(config).state_dict().items()}
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "config.json").write_text(json.dumps(config))
        header, end = {}, 0
        for name, shape in shapes.items():
            begin, end = end, end + 2 * shape.numel()
            header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
        header = json.dumps(header).encode()
        header += b" " * (-len(header) % 8)
        with open(folder / part / file_name, "wb") as out:
            out.write(struct.pack("<Q", len(header)) + header)
            for name, shape in shapes.items():
                values = torch.rand(shape, generator=generator) * 2 - 1
                # Over the root of the inputs, as torch's layers begin, so that f16 holds every layer's output.
                spread = 0.03 if "_embedding.weight" in name else shape[1:].numel() ** -0.5
                values = values * spread if len(shape) > 1 else values * 0.05 + float("norm" in name and "weight" in name)
                out.write(values.half().numpy().tobytes())
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(NOISE))
    # The last, for main looks whether it is there.
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')


def load(folder, part, device):
    network, file_name = PARTS[part]
    with torch.device("meta"):
        model = network(json.loads((folder / part / "config.json").read_text()))
    path = folder / part / file_name
    content = torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8)
    start = 8 + struct.unpack("<Q", content[:8].numpy().tobytes())[0]
    types, weights = {"F16": torch.float16, "F32": torch.float32}, {}
    for name, entry in json.loads(content[8:start].numpy().tobytes()).items():
        if name != "__metadata__" and not name.endswith("position_ids"):
            begin, end = entry["data_offsets"]
            values = content[start + begin : start + end].clone().view(types[entry["dtype"]]).reshape(entry["shape"])
            # transformers writes text encoders with this prefix and without.
            weights[name.removeprefix("text_model.")] = values.to(device, torch.bfloat16)
    model.load_state_dict(weights, strict=True, assign=True)
    return model.eval().requires_grad_(False)


class Peer:
    """Stable Diffusion in plain torch, for one size of picture."""

    def __init__(self, folder, device, kind, size_px, steps):
        torch.backends.cudnn.benchmark = True
        self.device, self.steps = torch.device(device), steps
        self.wait = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        # Imports the compiler, which eager torch does without.
        self.mark = (lambda: None) if kind in EAGER else torch.compiler.cudagraph_mark_step_begin
        parts = [load(folder, part, self.device).to(memory_format=EAGER.get(kind, torch.channels_last)) for part in PARTS]
        self.unet, self.vae, self.text = (p if kind in EAGER else torch.compile(p, mode=kind, dynamic=False) for p in parts)
        # Which words, which noise and which levels of it changes no time.
        self.ids, self.noise = torch.full((2, 77), 7), torch.randn(1, 4, size_px // 8, size_px // 8)
        self.sigmas, self.times = torch.linspace(14.6, 0, steps + 1).tolist(), torch.linspace(999, 0, steps).to(self.device)

    def prompts(self):
        self.mark()
        # A graph's output lies where the next one writes.
        return self.text(self.ids.to(self.device)).clone()

    def sample(self, states, steps=None):
        x = self.noise.to(self.device) * self.sigmas[0]
        for timestep, sigma, following in zip(self.times[:steps], self.sigmas, self.sigmas[1:]):
            seen = (x / (sigma**2 + 1) ** 0.5).to(states.dtype)
            self.mark()
            negative, positive = self.unet(torch.cat([seen, seen]), timestep, states).float().chunk(2)
            x = x + (following - sigma) * (negative + GUIDANCE * (positive - negative))
        return x

    def decode(self, x):
        self.mark()
        pixels = (self.vae(x.bfloat16()).float() / 2 + 0.5).clamp(0, 1) * 255
        return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()

    def seconds(self, run, times=3):
        found = []
        for _ in range(times):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            found.append(time.perf_counter() - start)
        return statistics.median(found)

    def measure(self):
        x, picture = self.noise.to(self.device), lambda: self.decode(self.sample(self.prompts()))
        sampling, decoding = (self.seconds(part, 1) for part in (lambda: self.sample(self.prompts()), lambda: self.decode(x)))
        picture()
        states = self.prompts()
        found = {"first decode": decoding, "first picture": sampling + decoding, "picture": self.seconds(picture),
                 "step": self.seconds(lambda: self.sample(states)) / self.steps,
                 "beside": self.seconds(lambda: (self.prompts(), self.decode(x)))}  # fmt: skip
        if self.device.type == "cuda":
            free, whole = torch.cuda.mem_get_info()
            found |= {"memory": whole - free, "tensors": torch.cuda.max_memory_allocated()}
            # Comes last: the profiler slows what runs after it.
            with torch.profiler.profile() as profile:
                self.sample(states, PROFILED)
                self.wait()
            events = [(event.name, event.device_type) for event in profile.events()]
            kernels = sum(on == torch.autograd.DeviceType.CUDA and not name.startswith("Mem") for name, on in events)
            launches = sum("Launch" in name and on == torch.autograd.DeviceType.CPU for name, on in events)
            found |= {"kernels": kernels / PROFILED, "launches": launches / PROFILED}
        return found


def told(*command):
    """What a program says in lines of JSON."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-500:]} {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def card(queries):
    asked = ["nvidia-smi", f"--query-gpu={queries}", "--format=csv,noheader,nounits"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def ours(options, size_px):
    """What Calotype measures of itself, in seconds; with the card's memory, watched while it draws to warm up."""
    model = ["--model", options.folder, "--width", size_px, "--height", size_px, "--device", options.device,
             "--precision", "bf16", "--json"]  # fmt: skip
    drawing = [options.program, "generate", PROMPT, *model, "--guidance", GUIDANCE, "--sampler", "euler", "--schedule",
               "model", "--seed", 1]  # fmt: skip
    found, folder = {}, tempfile.TemporaryDirectory()
    if options.device != "cpu":
        many = map(str, [*drawing, "--steps", 2, "--count", 20, "--output", folder.name])
        with subprocess.Popen(many, stdout=subprocess.DEVNULL) as running:
            while running.poll() is None:
                found["memory"] = max(found.get("memory", 0), int(card("memory.used")) << 20)

    def pictures(steps):
        """The first of a process, and the median of the three after it."""
        events = told(*drawing, "--steps", steps, "--count", 4, "--output", folder.name)
        first, *others = (event["seconds"] for event in events if event["event"] == "finished")
        return first, statistics.median(others)

    (first, whole), (_, shortest) = pictures(options.steps), pictures(1)
    measured = told(options.program, "bench", "--steps", options.steps, *model)[-1]
    # bench decodes once, cold: what a warm picture takes beside its steps is what one of a single step takes, less that.
    return found | {"step": measured["step"], "beside": shortest - measured["step"], "picture": whole,
                    "first picture": first, "first decode": measured["decoding"]}  # fmt: skip


def measured(options, size_px, kinds):
    """A dict for each round of each program; one that fails is told of and left out from then on."""
    found, failed = {name: [] for name in ["ours", *kinds]}, set()
    for name in (name for _ in range(options.rounds) for name in found if name not in failed):
        peer = [sys.executable, __file__, "--peer", options.folder, options.device, name, size_px, options.steps]
        try:
            found[name].append(ours(options, size_px) if name == "ours" else told(*peer)[-1])
        except (RuntimeError, ValueError, LookupError, subprocess.CalledProcessError) as error:
            failed.add(name)
            print(size_px, name, error, file=sys.stderr)
    print(json.dumps({size_px: found}), file=sys.stderr, flush=True)
    return found


def table(found, kinds):
    heads = ["", "", "ours", *kinds, *(f"of {kind}" for kind in kinds)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for size_px, programs in found.items():
        for key, (label, unit, form) in ROWS.items():
            values = {name: [run[key] / unit for run in runs if key in run] for name, runs in programs.items()}
            cells = [form.format(statistics.median(each)) if each else "" for each in values.values()]
            for kind in kinds:
                ratios = [a / b for a, b in zip(values["ours"], values[kind])]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "")
            lines += [f"| {size_px} | {label} | {' | '.join(cells)} |"] if any(cells) else []
    return "\n".join(lines)


def main():
    if sys.argv[1:2] == ["--peer"]:
        folder, device, kind, size_px, steps = sys.argv[2:]
        # Compilers are tried with no_grad, and their code has none of the bookkeeping that inference_mode saves.
        with torch.inference_mode() if kind in EAGER else torch.no_grad():
            return print(json.dumps(Peer(Path(folder), device, kind, int(size_px), int(steps)).measure()))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    for name, default in (("folder", Path(tempfile.gettempdir(), "sd15-random")), ("sizes", "512,1024"), ("rounds", 3),
                          ("steps", 30), ("device", "cuda")):  # fmt: skip
        parser.add_argument(f"--{name}", type=type(default), default=default, help="default: %(default)s")
    parser.add_argument("--compile", nargs="?", const="reduce-overhead", metavar="MODE")
    options = parser.parse_args()
    if not (options.folder / "model_index.json").exists():
        make(options.folder)
    machine = "CPU" if options.device == "cpu" else card("name,driver_version")
    kinds, found = [*EAGER, *([options.compile] if options.compile else [])], {}
    for size in options.sizes.split(","):
        found[size] = measured(options, int(size), kinds)
        # After every size, for a card may be lent for minutes.
        print(f"\n{datetime.date.today():%d %B %Y}, {machine}, torch {torch.__version__}, {options.steps} steps, bf16, "
              f"{options.rounds} rounds:\n\n{table(found, kinds)}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
