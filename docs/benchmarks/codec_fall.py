#!/usr/bin/env python3
"""A link that falls from 200 to 20 Mbit/s in mid-run: what an encoding that follows it keeps.

Needs: the release build of longhaul. Usage: codec_fall.py [--dir runs/codec-fall] [--seeds 11,12,13]
[--longhaul .build/release/longhaul]

Runs codec-fall.yaml three times per seed: `between: auto`; `between: fp32`, which cannot follow; and `auto` on a link
that stays. Speed is nominal step / mean step, over the steps before, just after and long after the fall; a whole run
takes 80 s. Some 0.5 of two cores. Can be continued.
"""
import argparse
import os
import sys

import runs

STEP = 0.3
FALL = 36
# Seconds of training: after the first steps, until the fall, for ten seconds after it, then to the end.
SPANS = [("before", 8, FALL), ("during", FALL, FALL + 10), ("after", FALL + 10, 1e9)]
VARIANTS = ["auto falls", "fp32 falls", "auto steady"]


def files(folder):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "codec-fall.yaml")) as source:
        auto = source.read()
    schedule = f"    schedule:\n      - {{at: {FALL} s, rate: 20 Mbit/s}}\n"
    fixed, steady = auto.replace("between: auto", "between: fp32"), auto.replace(schedule, "")
    if auto in (fixed, steady):
        raise SystemExit("codec-fall.yaml is not the file this script knows")
    return {name: runs.write(os.path.join(folder, name.replace(" ", "-") + ".yaml"), text)
            for name, text in zip(VARIANTS, [auto, fixed, steady])}


def speeds(directory):
    """Nominal step / mean step of one worker in each span; the region's other steps with it."""
    ends = [time for time, step in runs.events(directory, "stepped") if step["worker"] == 0]
    start = ends[0] - STEP
    result = {}
    for name, low, high in SPANS:
        inside = [time for time in ends if low <= time - start < high]
        result[name] = STEP * (len(inside) - 1) / (inside[-1] - inside[0])
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", default="runs/codec-fall")
    parser.add_argument("--seeds", default="11,12,13")
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    options = parser.parse_args()
    seeds = options.seeds.split(",")
    clusters = files(options.dir)
    results = {name: [] for name in VARIANTS}
    for seed in seeds:
        for name in VARIANTS:
            directory = os.path.join(options.dir, f"{name.replace(' ', '-')}-{seed}")
            run = runs.up(options.longhaul, clusters[name], directory, "--seed", seed, "--adapt", "on")
            results[name].append((run, speeds(directory)))
            print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
    for name, found in results.items():
        print(f"{name}, seeds {options.seeds}")
        for span, _, _ in SPANS:
            print(f"  speed {span:8} {runs.shown([speed[span] for _, speed in found])}")
        print(f"  CU             {runs.shown([run['pool']['compute_utilisation'] for run, _ in found])}")
        print(f"  cores taken    {runs.shown([run['pool']['core_share'] for run, _ in found])}")
        outer = [[link["encoded_bytes"] / 1e6 for link in run["links"] if link["from"] != link["to"]]
                 for run, _ in found]
        print("  MB each way    " + "; ".join(" ".join(f"{size:.1f}" for size in sizes) for sizes in outer))
        losses = [run["loss"]["final_validation_loss"] for run, _ in found]
        print("  losses         " + " ".join(f"{loss:.6f}" for loss in losses))


if __name__ == "__main__":
    sys.exit(main())
