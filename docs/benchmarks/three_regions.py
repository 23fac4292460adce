#!/usr/bin/env python3
"""Three regions of speeds 1 : 0.6 : 0.35 over unlike links: E1 when all take as many steps, and when they do not.

Needs: the release build of longhaul. Usage: three_regions.py [--dir runs/three-regions] [--repetitions 3]
[--variants equal,nominal,streaming,equal-claim,measured] [--quota 0.146] [--longhaul .build/release/longhaul]

Devices and links of Cluster/unlike-devices.yaml, with steps of 300 ms (500, 857) instead of 150 and H = 20. Equal: 20 steps each,
all wait for the slowest. Nominal: 20, 12 and 7 steps. Streaming: nominal, one fragment per layer. Measured: Lanzhou claims
Shanghai's speed and its trainer thread gets `--quota` of a core (a cgroup of version 1; root), so that its steps take as
long as a slow device's; a larger model and 16 sequences make that a step of work and not of waiting. Equal-claim: the
same, equal steps. Regions alone run at the same time, interleaved; E1 is of the whole run for blocking rounds and E1
steady for streaming. Some 0.4 of two cores. Can be continued.
"""
import argparse
import os
import re
import sys
import threading
import time

import runs

CLUSTER = """\
name: {name}
steps: {steps}
coordinator: shanghai
reference: {{step: 300 ms, batch: 4}}
devices:
  fast: {{speed: 1}}
  middle: {{speed: 0.6}}
{slow}regions:
  shanghai:
    workers: [{{name: shanghai-1, batch: 4, device: fast}}, {{name: shanghai-2, batch: 4, device: fast}}]
  jinan:
    workers: [{{name: jinan-1, batch: 4, device: middle}}, {{name: jinan-2, batch: 4, device: middle}}]
  lanzhou:
    workers: [{{name: lanzhou-1, {lanzhou}}}]
links:
  - {{between: [shanghai, jinan], distance: 1500 km, one_way: 15 ms, rate: 50 Mbit/s}}
  - {{between: [shanghai, lanzhou], distance: 2200 km, one_way: 22 ms, rate: 20 Mbit/s}}
  - {{between: [jinan, lanzhou], distance: 1500 km, one_way: 16 ms, rate: 20 Mbit/s}}
schedule: {{inner: every-step, sync_every: 20, {schedule}}}
wire: {{inside: fp32, between: int8}}
model: {{{model}, heads: 4, context: 128}}
data: {{path: gcide}}
"""
REGIONS = ["shanghai", "jinan", "lanzhou"]
SMALL, LARGE = "width: 64, layers: 2", "width: 128, layers: 4"
SLOW, FAST = "batch: 4, device: slow", "batch: 16, step: 300 ms"
# schedule, model, what Lanzhou says it is, steps
VARIANTS = {
    "equal": ("outer: diloco, local_steps: equal", SMALL, SLOW, 60),
    "nominal": ("outer: diloco, local_steps: nominal", SMALL, SLOW, 120),
    "streaming": ("outer: streaming, fragment_layers: 1, overlap: 2, blend: 0.5, local_steps: nominal", SMALL, SLOW, 120),
    "equal-claim": ("outer: diloco, local_steps: equal", LARGE, FAST, 60),
    "measured": ("outer: diloco, local_steps: measured", LARGE, FAST, 240),
}
GROUP = f"/sys/fs/cgroup/cpu/longhaul-{os.getpid()}"
CLAIMS = ["equal-claim", "measured"]


def rate(name, run):
    return run["pool"]["steady_tokens_per_second" if name == "streaming" else "tokens_per_second"]


def file(options, name):
    schedule, model, lanzhou, steps = VARIANTS[name]
    return runs.write(os.path.join(options.dir, name + ".yaml"), CLUSTER.format(
        name=name, steps=steps, schedule=schedule, model=model, lanzhou=lanzhou,
        slow="" if name in CLAIMS else "  slow: {speed: 0.35}\n"))


def trainer_thread(process):
    """The thread, other than the first, that has used most processor time."""
    def used(thread):
        with open(f"/proc/{process}/task/{thread}/stat") as source:
            fields = source.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])
    return max((thread for thread in os.listdir(f"/proc/{process}/task") if thread != str(process)), key=used)


def slow_down(directory, quota):
    """Gives the trainer of `lanzhou-1` a share of a core once it trains."""
    os.makedirs(GROUP, exist_ok=True)
    for name, value in [("period", 100_000), ("quota", int(quota * 100_000))]:
        runs.write(f"{GROUP}/cpu.cfs_{name}_us", str(value))
    for _ in range(600):
        time.sleep(0.1)
        try:
            with open(directory + ".log") as log:
                text = log.read()
        except FileNotFoundError:
            continue
        found = re.search(r"lanzhou-1 pid (\d+)", text)
        if found and re.search(r"\bstep \d+/", text):
            runs.write(f"{GROUP}/tasks", trainer_thread(int(found[1])))
            return
    raise SystemExit(f"{directory}: lanzhou-1 did not begin to train within a minute")


def settled(pool):
    """Tokens/s of the last four rounds or fewer, between commits."""
    closed = pool["rounds"]["latest"][-5:]
    return sum(each["tokens"] for each in closed[1:]) / (closed[-1]["seconds"] - closed[0]["seconds"])


def run_pair(options, name, repetition):
    """Regions alone (at the same time) and the pool, the one first in odd repetitions and the other in even ones."""
    path = file(options, name)
    flags = ["--seed", str(10 + repetition), *(["--adapt", "on"] if name == "measured" else [])]
    prefix = os.path.join(options.dir, f"{name}-{repetition}")
    # Regions share this machine as the pool does; what the pool's region trains at most, they do too.
    alone = [(path, f"{prefix}-{region}", [*flags, "--steps", "60", "--only-region", region]) for region in REGIONS]
    found = {}
    turns = [("alone", alone), ("pool", [(path, f"{prefix}-pool", flags)])]
    for part, wanted in turns if repetition % 2 else turns[::-1]:
        slow = [directory for _, directory, _ in wanted if directory.endswith(("-lanzhou", "-pool"))]
        watch = threading.Thread(target=slow_down, args=(slow[0], options.quota))
        if name in CLAIMS and not runs.finished(slow[0]):
            runs.remove(slow[0])
            watch.start()
        found[part] = runs.up_together(options.longhaul, wanted)
        if watch.ident:
            watch.join()
    return found["alone"], found["pool"][0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", default="runs/three-regions")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--variants", default="equal,nominal,streaming")
    parser.add_argument("--quota", type=float, default=0.146)
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    options = parser.parse_args()
    names = options.variants.split(",")
    results = {name: [] for name in names}
    for repetition in range(1, options.repetitions + 1):
        for name in names:
            results[name].append(run_pair(options, name, repetition))
            print(f"{name}, repetition {repetition}: done", file=sys.stderr, flush=True)
    if os.path.isdir(GROUP):
        os.rmdir(GROUP)
    for name, pairs in results.items():
        e1 = [rate(name, pool) / sum(rate(name, region) for region in alone) for alone, pool in pairs]
        print(f"{name}, {len(pairs)} repetitions: E1 {runs.shown(e1)}")
        if name != "streaming":  # a turn's tokens are those of its fragment's steps, which others share
            last = [settled(pool) / sum(rate(name, region) for region in alone) for alone, pool in pairs]
            print(f"  E1 of the last rounds {runs.shown(last)}")
        print(f"  CU of the pool {runs.shown([pool['pool']['compute_utilisation'] for _, pool in pairs])}, "
              f"cores taken {runs.shown([pool['pool']['core_share'] for _, pool in pairs])}, "
              f"loss {runs.shown([pool['loss']['final_validation_loss'] for _, pool in pairs])}")
        for index, region in enumerate(REGIONS):
            alone = [rate(name, regions[index]) for regions, _ in pairs]
            here = [pool["regions"][index]["tokens_per_second"] for _, pool in pairs]
            print(f"  {region:9} alone {runs.shown(alone, 0)}, in the pool {runs.shown(here, 0)} tokens/s, "
                  f"CU {runs.shown([pool['regions'][index]['compute_utilisation'] for _, pool in pairs])}")


if __name__ == "__main__":
    sys.exit(main())
