#!/usr/bin/python3
"""Two replicas of a small byte-level transformer over an emulated link, DiLoCo: what a codec costs in loss, and a real outer gradient.

    docs/benchmarks/outer_training.py losses [--rounds 50] [--seeds 5]    # Markdown table: loss per transform, error feedback on and off
    docs/benchmarks/outer_training.py gradient OUT.f32                    # the mean outer gradient of the third round

Needs a built `longhaul` beside its coordinator and worker (--longhaul), and Debian's dict-gcide for text. Runs live in a temporary
directory. The outer gradient is the difference of the models which two runs of equal seed leave after two and three rounds, with an
outer step that adds the mean as it is (learning rate 1, momentum 0); that both went the same way up to there is checked by
comparing their training losses, which are printed to the last bit.
"""
import argparse
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

FILE = """\
name: outer-training
steps: {steps}
seed: {seed}
coordinator: shanghai
regions:
  shanghai:
    workers:
      - {{name: shanghai-1, batch: {batch}}}
  jinan:
    workers:
      - {{name: jinan-1, batch: {batch}}}
links:
  - between: [shanghai, jinan]
    one_way: 1 ms
    rate: 1 Gbit/s
schedule:
  inner: none
  outer: diloco
  sync_every: {every}
  outer_lr: {rate}
  outer_momentum: {momentum}
wire:
  inside: fp32
  between: {transform}
  error_feedback: {feedback}
training:
  warmup_steps: 20
  final_share: 1
  evaluation_samples: 512
model:
  width: {width}
  layers: 2
  heads: 4
  context: {context}
data:
  path: gcide
"""


def run(longhaul, folder, name, **settings):
    """One run's run.json and its model file."""
    path = Path(folder) / name
    path.with_suffix(".yaml").write_text(FILE.format(**settings), encoding="utf-8")
    result = subprocess.run(
        [longhaul, "up", path.with_suffix(".yaml"), "--dir", path, "--json"], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{name}: exit code {result.returncode}\n{result.stderr[-2000:]}")
    return json.loads((path / "run.json").read_text(encoding="utf-8")), path / "model.safetensors"


def tensors(path):
    """All values of a safetensors file in the order of their offsets."""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    ranges = sorted(tensor["data_offsets"] for tensor in header.values())
    return np.concatenate([np.frombuffer(data[8 + size + a:8 + size + b], "<f4") for a, b in ranges])


def losses(arguments, folder):
    """Training is chaotic: a rounding error early on is another run later. So several seeds, and differences of equal seeds."""
    base = dict(steps=arguments.rounds * 6, every=6, rate=0.7, momentum=0.9, batch=4, width=64, context=64)
    print(f"{arguments.rounds} outer rounds of 6 steps, seeds 1 to {arguments.seeds}\n\n"
          "| transform | error feedback | validation loss, mean | against fp32, mean of pairs | its standard error |\n|---|---|---|---|---|")
    reference = None
    for transform in ("fp32", "bf16", "fp16", "int8", "int4", "e3m0", "topk"):
        for feedback in ("on", "off") if transform != "fp32" else ("on",):
            results = []
            for seed in range(1, arguments.seeds + 1):
                record, _ = run(arguments.longhaul, folder, f"{transform}-{feedback}-{seed}", seed=seed, transform=transform,
                                feedback=feedback, **base)
                results.append(record["loss"]["final_validation_loss"])
            reference = reference or results
            pairs = [100 * (one / other - 1) for one, other in zip(results, reference)]
            error = np.std(pairs, ddof=1) / len(pairs) ** 0.5 if len(pairs) > 1 else float("nan")
            print(f"| {transform} | {feedback} | {np.mean(results):.4f} | {np.mean(pairs):+.2f} % | {error:.2f} |", flush=True)


def gradient(arguments, folder):
    base = dict(seed=arguments.seed, every=30, rate=1, momentum=0, batch=8, width=128, context=128, transform="fp32", feedback="on")
    records, models = zip(*(
        run(arguments.longhaul, folder, f"steps-{steps}", steps=steps, **base) for steps in (60, 90)))
    first, second = ([[point["loss"] for point in worker["points"]] for worker in record["loss"]["training"]]
                     for record in records)
    for one, other in zip(first, second):
        if one[:60] != other[:60]:
            sys.exit("the two runs went different ways: their difference is no outer gradient")
    values = tensors(models[0]) - tensors(models[1])
    values.astype("<f4").tofile(arguments.out)
    print(f"{len(values):,} values, norm {np.linalg.norm(values):.4g}, largest {np.abs(values).max():.4g}, "
          f"{(values == 0).mean():.1%} zeros: {arguments.out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    parser.add_argument("--seed", type=int, default=7)
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("losses")
    part.add_argument("--rounds", type=int, default=50)
    part.add_argument("--seeds", type=int, default=5)
    parts.add_parser("gradient").add_argument("out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        losses(arguments, folder) if arguments.part == "losses" else gradient(arguments, folder)


if __name__ == "__main__":
    main()
