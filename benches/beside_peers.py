#!/usr/bin/env python3
"""Times the parts of a model here and in the programs that one would use instead, in turn, and prints the ratios.

    cargo bench --bench parts --no-run            # says where the program is
    python -m venv peers && peers/bin/pip install torch diffusers transformers safetensors openvino
    peers/bin/python benches/beside_peers.py PROGRAM MODEL_FOLDER [--rounds N] [--parts unet,vae,clip,picture]
        [--pairs bf16,f32,int8:bf16]

MODEL_FOLDER is a diffusers folder of Stable Diffusion 1.5 in f32, whose weights may be random. Each run is a process of its
own with two threads (THREADS=n): one run to warm up, then the median of three. A round runs each program once; the ratio is
taken within the round, and the median over the rounds is printed, with the least and the largest. A picture is both prompts,
30 guided steps and decoding, once, after a warm-up of each part. int8:bf16 is our int8 beside the others' bf16.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

THREADS = int(os.environ.get("THREADS", "2"))
STEPS = 30


def peer(folder, name, part):
    """Runs in a process of its own: prints the median of three runs in seconds, or the time of one picture."""
    if part == "picture":
        clip, unet, vae = (piece(folder, name, each) for each in ("clip", "unet", "vae"))
        for run in (clip, unet, vae):
            run()
        start = time.perf_counter()
        clip()
        for _ in range(STEPS):
            unet()
        vae()
        return print(json.dumps(time.perf_counter() - start))
    run = piece(folder, name, part)
    run()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(statistics.median(seconds)))


def piece(folder, name, part):
    """One part of the model, ready to run."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    program, precision = name.split("-")
    dtype = torch.bfloat16 if (program, precision) == ("torch", "bf16") else torch.float32
    generator = torch.Generator().manual_seed(1)

    def noise(*shape):
        return torch.randn(*shape, generator=generator).to(dtype)

    if part == "unet":
        from diffusers import UNet2DConditionModel
        model = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype).eval()
        call = lambda *a: model(*a, return_dict=False)[0]
        arguments = (noise(2, 4, 64, 64), torch.tensor([500]), noise(2, 77, 768))
    elif part == "vae":
        from diffusers import AutoencoderKL
        model = AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=dtype).eval()
        call = lambda z: model.decode(z, return_dict=False)[0]
        arguments = (noise(1, 4, 64, 64),)
    else:
        from transformers import CLIPTextModel
        model = CLIPTextModel.from_pretrained(f"{folder}/text_encoder", torch_dtype=dtype).eval()
        call = lambda ids: model(ids).last_hidden_state
        arguments = (torch.randint(0, 49407, (2, 77), generator=generator),)
    if program == "torch":
        if part != "clip":
            model.to(memory_format=torch.channels_last)
        return lambda: call(*arguments)
    return openvino_run(model, call, arguments, precision)


def openvino_run(model, call, arguments, precision):
    import openvino
    import torch

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *inputs):
            return call(*inputs)

    converted = openvino.convert_model(Wrapped(), example_input=arguments, input=[list(a.shape) for a in arguments])
    compiled = openvino.Core().compile_model(converted, "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": THREADS,
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1})
    request, inputs = compiled.create_infer_request(), [a.numpy() for a in arguments]
    return lambda: request.infer(inputs)


def ours(program, folder, precision, part):
    environment = dict(os.environ, PARTS_MODEL=folder, PRECISION=precision, PARTS=part,
                       RUNS="1" if part == "picture" else "3",
                       RAYON_NUM_THREADS=str(THREADS))
    out = subprocess.run([program, "--bench"], env=environment, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"median ([0-9.]+) s", out).group(1))


def main():
    if sys.argv[1:2] == ["--peer"]:
        return peer(*sys.argv[2:5])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default="unet,vae,clip")
    parser.add_argument("--pairs", default="bf16,f32")
    parser.add_argument("--peers", default="openvino,torch")
    options = parser.parse_args()
    for part in options.parts.split(","):
        for pair in options.pairs.split(","):
            precision, theirs = pair.split(":") if ":" in pair else (pair, pair)
            times, ratios = {}, {}
            for _ in range(options.rounds):
                own = ours(options.program, options.folder, precision, part)
                times.setdefault("ours", []).append(own)
                for name in options.peers.split(","):
                    command = [sys.executable, __file__, "--peer", options.folder, f"{name}-{theirs}", part]
                    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                    seconds = json.loads(found.strip().splitlines()[-1])
                    times.setdefault(name, []).append(seconds)
                    ratios.setdefault(name, []).append(own / seconds)
            print(f"{part} {precision}: " + ", ".join(f"{n} {statistics.median(t):.3f} s" for n, t in times.items()))
            for name, found in ratios.items():
                print(f"    ratio to {name}: {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})", flush=True)


if __name__ == "__main__":
    main()
