"""Makes everything under tests/fixtures from the reference implementations. See README.md.

    python make_fixtures.py [models parts samplers k_samplers matrix prompts wildcards pictures families adapters taesd]
"""

import argparse
import logging
import os
import pathlib
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
from diffusers.utils import logging as diffusers_logging  # noqa: E402

import golden_models  # noqa: E402
import golden_random_texts  # noqa: E402
import golden_seeds  # noqa: E402
import tiny_models  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
GOLDEN = FIXTURES / "golden"
SETS = ("models", "parts", "samplers", "k_samplers", "matrix", "prompts", "wildcards", "pictures", "families", "adapters",
        "taesd")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"any of {SETS}; all if none is named")
    parser.add_argument("--starter", type=pathlib.Path, default=HERE.parents[1] / "assets" / "starter-model" / "tokenizer")
    args = parser.parse_args()
    sets = args.sets or SETS
    if not set(sets) <= set(SETS):
        parser.error(f"the sets are {SETS}")
    quiet()
    torch.set_num_threads(1)  # one thread: sums are added in one order
    GOLDEN.mkdir(parents=True, exist_ok=True)
    if "models" in sets:
        tiny_models.build_all(FIXTURES)
    with torch.no_grad():
        make(sets, args.starter)
    report()


def make(sets, starter):
    pipes = {name: tiny_models.load(FIXTURES / name) for name in golden_models.MODELS}
    configs = {name: pipe.scheduler.config for name, pipe in pipes.items()}
    if "parts" in sets:
        golden_models.noise(GOLDEN)
        golden_seeds.seeds(GOLDEN)
        golden_models.tokens(GOLDEN, FIXTURES, starter)
        golden_random_texts.random_texts(GOLDEN, HERE.parents[1] / "assets")
        golden_models.text(GOLDEN, pipes)
        golden_models.unet(GOLDEN, pipes)
        golden_models.vae(GOLDEN, pipes)
    if "samplers" in sets:
        import golden_samplers

        golden_samplers.schedules(GOLDEN)
        golden_samplers.trajectories(GOLDEN, configs)
        golden_samplers.k_diffusion_results(GOLDEN)
    if "k_samplers" in sets:
        import golden_k_samplers

        golden_k_samplers.k_sampler_results(GOLDEN, configs)
    if "matrix" in sets:
        import golden_matrix

        golden_matrix.matrix(GOLDEN)
        golden_matrix.unet_matrix(GOLDEN, pipes["tiny-eps"])
        golden_matrix.diffusers_extras(GOLDEN, configs)
    if "prompts" in sets:
        import golden_prompts

        golden_prompts.prompts(GOLDEN, pipes)
    if "wildcards" in sets:
        import golden_wildcards

        golden_wildcards.wildcards(GOLDEN)
    if "families" in sets:
        import golden_families

        golden_families.families(FIXTURES, GOLDEN)
    if "pictures" in sets:
        import golden_pictures

        golden_pictures.pictures(GOLDEN, pipes)
    if "adapters" in sets:
        import golden_adapters

        golden_adapters.adapters(GOLDEN, FIXTURES / "adapters", pipes, FIXTURES / golden_adapters.MODEL)
    if "taesd" in sets:
        import golden_taesd

        golden_taesd.taesd(FIXTURES / "taesd", GOLDEN)


def quiet():
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()


def report():
    files = sorted(path for path in FIXTURES.rglob("*") if path.is_file())
    for path in files:
        print(f"{path.stat().st_size:8}  {path.relative_to(FIXTURES)}")
    print(f"{sum(path.stat().st_size for path in files):8}  in all")


if __name__ == "__main__":
    main()
