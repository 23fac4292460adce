#!/usr/bin/env python3
"""Two unlike regions 1,500 km apart: what each outer schedule costs, with Longhaul's own measurement.

Needs: the release build of longhaul. Usage: headline.py [--dir runs/headline] [--repetitions 5] [--steps 72]
[--schedules streaming,decoupled,diloco,every-step] [--losses] [--seed 11] [--pace "1 ms"] [--longhaul .build/release/longhaul]

Regions of two workers (3 + 2 and 2 + 1 sequences a step), 30 ms round trip, 450 kbit/s: 441,216 parameters as
int8 every 24 steps of 1 s fill the link to 0.33, as 100 B parameters as bf16 every 100 steps of 4.9 s fill
10 Gbit/s. A round trip is 0.03 of a step here and 0.006 there: latency errs on the hard side. `--losses` trains
instead of timing: steps as fast as the machine goes, 20 outer rounds after a warm start of 240 steps on one site (of seed
11, for all seeds); the pool and one site at equal tokens, --repetitions seeds from --seed on. E3 is counted in steps,
because machines of equal nominal compute take equal steps and the pool's are not held up (E1). `--pace` slows the steps
down where others need the processors; losses stay what they are.

All schedules are measured at the same time (paced workers leave the processors free), each by
`longhaul measure`: regions alone, one site, the pool, the pool unencrypted, interleaved. Can be continued.
"""
import argparse
import json
import os
import subprocess
import sys

import runs

CLUSTER = """\
name: {name}
steps: {steps}
coordinator: shanghai
regions:
  shanghai:
    workers: [{{name: shanghai-1, batch: 3, step: {step}}}, {{name: shanghai-2, batch: 2, step: {step}}}]
  jinan:
    workers: [{{name: jinan-1, batch: 2, step: {step}}}, {{name: jinan-2, batch: 1, step: {step}}}]
links:
  - {{between: [shanghai, jinan], one_way: 15 ms, rate: {rate}}}
schedule: {{inner: every-step, {schedule}}}
wire: {{inside: fp32, between: int8}}
model: {{width: 64, layers: 8, heads: 4, context: 128}}
data: {{path: gcide}}
"""
SCHEDULES = {
    "streaming": "outer: streaming, sync_every: 24, fragment_layers: 1, overlap: 2, blend: 0.5, "
                 "outer_lr: 0.4, outer_momentum: 0.9",
    "diloco": "outer: diloco, sync_every: 24, outer_lr: 0.7, outer_momentum: 0.9",
    "decoupled": "outer: decoupled, sync_every: 24, outer_lr: 0.7, outer_momentum: 0.9",
    "every-step": "outer: every-step",
}
ROWS = ["e1", "e1_steady", "compute_utilisation", "steady_compute_utilisation", "e2", "e3", "loss_ratio",
        "encryption", "waiting", "compression"]


def start(options, name):
    """`longhaul measure` of one schedule, in the background."""
    folder = os.path.join(options.dir, name)
    # A step of every-step blocks for 8 s: fewer of them say as much.
    steps = options.steps if name != "every-step" else options.steps // 3
    file = runs.write(os.path.join(folder, "cluster.yaml"), CLUSTER.format(
        name=name, steps=steps, schedule=SCHEDULES[name], step="1 s", rate="450 kbit/s"))
    repetitions = options.repetitions if name != "every-step" else min(2, options.repetitions)
    command = [options.longhaul, "measure", file, "--repetitions", str(repetitions), "--seed", str(options.seed),
               "--dir", folder, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def show(name, process):
    out, errors = process.communicate()
    if process.returncode:
        print(f"{name}: failed with code {process.returncode}: {errors[-400:]}", flush=True)
        return
    report = json.loads(out)
    print(f"{name}: {report['repetitions']} repetitions"
          + (", contended" if report.get("is_contended") else ""), flush=True)
    for row in ROWS:
        if value := report.get(row):
            spread = value.get("half_width")
            interval = f" +- {spread:.4f}" if spread is not None else ""
            print(f"  {row:28} {value['mean']:.4f}{interval}", flush=True)


def smoothed(directory, steps, window=20):
    """Training loss of all workers by step, mean of the last `window` steps."""
    weights = {0: 3, 1: 2, 2: 2, 3: 1}
    sums = [0.0] * steps
    for _, event in runs.events(directory, "stepped"):
        worker = event["worker"]
        sums[event["step"] - 1] += event["loss"] * weights[worker] / sum(weights.values())
    return [sum(sums[end - window:end]) / window for end in range(window, steps + 1)]


def losses(options, names):
    """Validation losses of pool and one site at equal tokens, their ratio and E3, for each seed."""
    folder = os.path.join(options.dir, "losses")
    files = {name: runs.write(os.path.join(folder, name + ".yaml"), CLUSTER.format(
        name=name, steps=480, schedule=SCHEDULES[name], step=options.pace, rate="1 Gbit/s")) for name in names}
    first = files[names[0]]
    warm = os.path.join(folder, "warm-start")
    runs.up(options.longhaul, first, warm, "--one-site", "--steps", "240", "--seed", "11")
    found = {name: [] for name in names}
    for seed in map(str, range(options.seed, options.seed + options.repetitions)):
        flags = ["--seed", seed, "--start-from", os.path.join(warm, "model.safetensors")]
        site = os.path.join(folder, f"one-site-{seed}")
        reference = runs.up(options.longhaul, first, site, "--one-site", *flags)["loss"]["final_validation_loss"]
        curve = smoothed(site, 480)
        for name in names:
            pool = os.path.join(folder, f"{name}-{seed}")
            loss = runs.up(options.longhaul, files[name], pool, *flags)["loss"]["final_validation_loss"]
            other = smoothed(pool, 480)
            level = max(min(curve), min(other))
            e3 = [next(step for step, value in enumerate(points, 20) if value <= level) for points in (curve, other)]
            found[name].append((loss / reference, e3[0] / e3[1]))
            print(f"{name}, seed {seed}: {loss:.4f} against {reference:.4f}, ratio {loss / reference:.4f}, "
                  f"E3 {e3[0]} / {e3[1]} steps = {e3[0] / e3[1]:.3f} at {level:.3f}", flush=True)
    for name, pairs in found.items():
        ratios, speeds = zip(*pairs)
        print(f"{name}, {len(pairs)} seeds: ratio {runs.shown(ratios, 4)}, E3 {runs.shown(speeds)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", default="runs/headline")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--steps", type=int, default=72, help="a multiple of 24")
    parser.add_argument("--schedules", default="streaming,decoupled,diloco,every-step")
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--seed", type=int, default=11, help="of the first repetition")
    parser.add_argument("--pace", default="1 ms", help="step of --losses")
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    options = parser.parse_args()
    names = options.schedules.split(",")
    if unknown := [name for name in names if name not in SCHEDULES]:
        parser.error(f"no schedule {unknown[0]}: one of {', '.join(SCHEDULES)}")
    if options.losses:
        # One run at a time: unpaced workers want the processors for themselves.
        losses(options, names)
    else:
        running = [(name, start(options, name)) for name in names]
        for name, process in running:
            show(name, process)


if __name__ == "__main__":
    sys.exit(main())
