#!/usr/bin/env python3
"""256 MiB of parameters per worker over 1 Gbit/s: is the transfer hidden behind steps, and what does a worker hold?

Needs: the release build of longhaul, 6 GB of memory (two workers) or 12 GB (--workers 2), and 10 GB of disk.
Usage: overlap.py [--dir runs/overlap] [--workers 1] [--step 2] [--steps 48] [--between fp32] [--schedules streaming,diloco]
[--seeds 11,12,13] [--alone] [--longhaul .build/release/longhaul]

Two regions of --workers each, 30 ms round trip. 66,994,560 fp32 parameters (width 832, 8 layers; 255.6 MiB) that really train,
on 32 bytes a step; a step ends at --step seconds. Streaming sends a layer every step and applies it a step later;
diloco sends all at once and waits. Prints what the trainers were blocked for beside the time the bytes took on the
link, peak memory (VmHWM) beside what docs/algorithms.md says a worker holds at most, and writes trace.json of each run, made
from its record: steps of every worker, its time shares and the link's rate (open it with Perfetto). `--alone` runs the
regions by themselves too, both at the same time, for E1. Can be continued.
"""
import argparse
import os
import subprocess
import sys

import runs

CLUSTER = """\
name: overlap-{name}
steps: {steps}
coordinator: shanghai
regions:
  shanghai:
    workers: [{{name: shanghai, batch: 1, step: {step} s, count: {workers}}}]
  jinan:
    workers: [{{name: jinan, batch: 1, step: {step} s, count: {workers}}}]
links:
  - {{between: [shanghai, jinan], one_way: 15 ms, rate: 1 Gbit/s}}
schedule: {{inner: every-step, sync_every: 8, {schedule}}}
wire: {{inside: fp32, between: {between}}}
model: {{width: 832, layers: 8, heads: 13, context: 32}}
training: {{checkpoint_every: 0, evaluation_samples: 4}}
data: {{path: gcide}}
"""
SCHEDULES = {
    "streaming": "outer: streaming, fragment_layers: 1, overlap: 1, blend: 0.5",
    "diloco": "outer: diloco",
}
RATE = 1e9
BLOCKED = ["encode_seconds", "wait_seconds", "transfer_seconds", "decode_seconds", "apply_seconds"]


def trace(longhaul, directory):
    """Steps of every worker, its time shares and the link's rate, from the run's record."""
    subprocess.run([longhaul, "report", directory, "--trace", os.path.join(directory, "trace.json")],
                   check=True, stdout=subprocess.DEVNULL)


def budget(name, run, between):
    """Bytes a worker holds at most: docs/algorithms.md, Memory. Without text, code and activations."""
    vector = 4 * run["setup"]["parameter_count"]
    encoded = vector * {"fp32": 32, "bf16": 16, "int8": 8.125}[between] / 32
    return {"seven vectors of the trainer": 7 * vector,
            "what leaves at once": vector / (8 if name == "streaming" else 1),
            "256 buffers of contributions": 64 << 20,
            "encoded outer means, this round's and the last's": 2 * encoded,
            "gradient means inside a region": 2 * vector if len(run["workers"]) > 2 else 0,
            "lane windows": 2 * RATE / 8 * 0.03}


def show(name, pairs, alone, options):
    print(f"{name}, {len(pairs)} repetitions of {options.steps} steps")
    if alone:
        rates = [sum(run["pool"]["steady_tokens_per_second"] for run in regions) for regions in alone]
        e1 = [run["pool"]["steady_tokens_per_second"] / rate for (_, run), rate in zip(pairs, rates)]
        steady = [sum(run["pool"]["steady_compute_utilisation"] for run in regions) / len(regions) for regions in alone]
        print(f"  E1 steady {runs.shown(e1)}; CU steady of the regions alone {runs.shown(steady)}")
    steady = [run["pool"]["steady_compute_utilisation"] for _, run in pairs]
    whole = [run["pool"]["compute_utilisation"] for _, run in pairs]
    print(f"  CU {runs.shown(whole)}, steady {runs.shown(steady)}; "
          f"cores taken {runs.shown([run['pool']['core_share'] for _, run in pairs])}")
    sent = [run["pool"]["bytes_between_regions_relay"] / 2 for _, run in pairs]
    print(f"  {runs.shown([size / 1e6 for size in sent], 0)} MB each way: "
          f"{runs.shown([size * 8 / RATE for size in sent], 2)} s of the link")
    for part in BLOCKED:
        spent = [sum(worker["budget"][part] for worker in run["workers"]) / len(run["workers"]) for _, run in pairs]
        print(f"  {part:18} {runs.shown(spent, 2)} of a trainer")
    peaks = [process["peak_bytes"] / 1e9 for _, run in pairs for process in run["peak_memory"]
             if process["process"].startswith(("shanghai", "jinan"))]
    print(f"  peak memory of a worker {min(peaks):.2f} to {max(peaks):.2f} GB; at most, as docs/algorithms.md has it:")
    parts = budget(name, pairs[0][1], options.between)
    for part, size in parts.items():
        print(f"    {size / 1e9:6.3f} GB  {part}")
    print(f"    {sum(parts.values()) / 1e9:6.3f} GB  together")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", default="runs/overlap")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--step", type=float, default=2)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--between", default="fp32", choices=["fp32", "bf16", "int8"])
    parser.add_argument("--schedules", default="streaming,diloco")
    parser.add_argument("--seeds", default="11,12,13")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    options = parser.parse_args()
    names = options.schedules.split(",")
    results = {name: [] for name in names}
    alone = []
    for seed in options.seeds.split(","):
        for name in names:
            file = runs.write(os.path.join(options.dir, name + ".yaml"), CLUSTER.format(
                name=name, steps=options.steps, step=options.step, workers=options.workers,
                schedule=SCHEDULES[name], between=options.between))
            directory = os.path.join(options.dir, f"{name}-{seed}")
            run = runs.up(options.longhaul, file, directory, "--seed", seed)
            trace(options.longhaul, directory)
            results[name].append((directory, run))
            print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
        if options.alone:
            alone.append(runs.up_together(options.longhaul, [
                (file, os.path.join(options.dir, f"{region}-{seed}"), ["--seed", seed, "--only-region", region])
                for region in ["shanghai", "jinan"]]))
    for name, pairs in results.items():
        show(name, pairs, alone, options)


if __name__ == "__main__":
    sys.exit(main())
