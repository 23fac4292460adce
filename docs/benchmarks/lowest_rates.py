#!/usr/bin/env python3
"""The lowest link rate at which a pool of two regions loses at most 5 or 1 %, by schedule and encoding.

Needs: the release build of longhaul. Usage: lowest_rates.py [--dir runs/lowest-rates] [--longhaul .build/release/longhaul]
[--schedules streaming,decoupled,diloco,every-step] [--codecs fp32,bf16,int8,int4,topk]
[--real streaming/int8,diloco/bf16,decoupled/int4] [--repetitions 2]

The cluster is that of headline.py: two unlike regions of two, 30 ms round trip, 441,216 parameters in 8 layers, steps of
1 s, H = 24. The simulator (`longhaul simulate`, sizes only) looks for each pair's lowest rate by halving, by E1 steady
for streaming and decoupled, by E1 of the whole run for schedules that block. `decoupled` loses no time at any
rate: it merges less often. A rate counts for it only if each closed round has H steps of both regions. `--real` runs the
pairs named at both rates over real processes, two points at a time, regions alone interleaved. Everything found is kept.

*Fill* is what makes a rate of this small model say something about a large one: bits of the model in its encoding /
(rate x time between rounds).
"""
import argparse
import json
import os
import sys

import runs

THRESHOLDS = [0.95, 0.99]
STEP_SECONDS, SYNC_EVERY, STEPS, SEED = 1, 24, 72, "11"
CLUSTER = """\
name: {name}
steps: {steps}
coordinator: shanghai
regions:
  shanghai:
    workers: [{{name: shanghai-1, batch: 3, step: 1 s}}, {{name: shanghai-2, batch: 2, step: 1 s}}]
  jinan:
    workers: [{{name: jinan-1, batch: 2, step: 1 s}}, {{name: jinan-2, batch: 1, step: 1 s}}]
links:
  - {{between: [shanghai, jinan], one_way: 15 ms, rate: {rate} bit/s}}
schedule: {{inner: every-step, {schedule}}}
wire: {{inside: fp32, between: {codec}}}
model: {{width: 64, layers: 8, heads: 4, context: 128}}
data: {{path: gcide}}
"""
# The figure of a run's pool that E1 is made from.
RATE = {"streaming": "steady_tokens_per_second", "decoupled": "steady_tokens_per_second",
        "diloco": "tokens_per_second", "every-step": "tokens_per_second"}
SCHEDULES = {
    "streaming": "outer: streaming, sync_every: 24, fragment_layers: 1, overlap: 2, blend: 0.5",
    "decoupled": "outer: decoupled, sync_every: 24",
    "diloco": "outer: diloco, sync_every: 24",
    "every-step": "outer: every-step",
}
# A region alone, for the simulator: `up` has --only-region.
ALONE = """\
name: alone
steps: 72
coordinator: here
regions:
  here:
    workers: [{{name: one, batch: {0}, step: 1 s}}, {{name: two, batch: {1}, step: 1 s}}]
schedule: {{outer: every-step}}
model: {{width: 64, layers: 8, heads: 4, context: 128}}
data: {{path: gcide}}
"""


class Search:
    """Simulated points of all pairs, kept in a file."""

    def __init__(self, options):
        self.options = options
        self.path = os.path.join(options.dir, "simulated.json")
        self.points = {}
        if os.path.exists(self.path):
            with open(self.path) as source:
                self.points = json.load(source)
        self.alone = [self.simulate(f"alone-{batches[0]}", ALONE.format(*batches))
                      for batches in [(3, 2), (2, 1)]]

    def simulate(self, name, text):
        if name not in self.points:
            file = runs.write(os.path.join(self.options.dir, "simulated.yaml"), text)
            report = runs.simulate(self.options.longhaul, file, "--seed", SEED)
            bits = [link["bits_per_value"] for link in report["links"]
                    if link["from"] != link["to"] and link.get("bits_per_value")]
            self.points[name] = {
                # Absent where a link is so slow that a worker ends no second step.
                **{rate: report["pool"].get(rate, 0) for rate in RATE.values()}, "keeps_up": keeps_up(report),
                "parameters": report["setup"]["parameter_count"], "bits": max(bits, default=None)}
            runs.write(self.path, json.dumps(self.points, indent=1))
        return self.points[name]

    def point(self, schedule, codec, rate):
        """E1 at a rate, and how full the link is."""
        found = self.simulate(f"{schedule}/{codec}/{rate}", cluster(schedule, codec, rate))
        between = STEP_SECONDS * (1 if schedule == "every-step" else SYNC_EVERY)
        fill = found["parameters"] * (found["bits"] or 0) / (rate * between)
        rate = RATE[schedule]
        return found[rate] / sum(region[rate] for region in self.alone), fill, found["keeps_up"]

    def lowest(self, schedule, codec, wanted):
        """By halving on a logarithmic scale, to one per cent; None if 1 Tbit/s is not enough."""
        def is_enough(rate):
            e1, _, keeps = self.point(schedule, codec, rate)
            return e1 >= wanted and (keeps or schedule != "decoupled")

        low, high = 5e3, 1e12
        if not is_enough(int(high)):
            return None
        while high / low > 1.01:
            middle = int((low * high) ** 0.5)
            if is_enough(middle):
                high = middle
            else:
                low = middle
        return int(high)


def keeps_up(run):
    """Whether every round has the tokens of H steps of all workers."""
    tokens = {closed["tokens"] for closed in run["rounds"]["latest"]}
    return len(tokens) == 1 and run["rounds"]["committed"] * tokens.pop() >= run["pool"]["tokens"]


def cluster(schedule, codec, rate):
    return CLUSTER.format(name=f"{schedule}-{codec}", steps=STEPS, rate=rate,
                          schedule=SCHEDULES[schedule], codec=codec)


def bit_rate(rate):
    for size, unit in [(1e9, "Gbit/s"), (1e6, "Mbit/s")]:
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate / 1e3:.3g} kbit/s"


def real_points(options, search, pair, rates):
    """Both rates of a pair at the same time, the regions alone before or after them in turn."""
    schedule, codec = pair.split("/")
    folder = os.path.join(options.dir, f"{schedule}-{codec}")
    rates = list(dict.fromkeys(rates))
    files = [runs.write(f"{folder}-{rate}.yaml", cluster(schedule, codec, rate)) for rate in rates]
    results = [[] for _ in rates]
    for repetition in range(1, options.repetitions + 1):
        flags = ["--seed", str(int(SEED) + repetition - 1)]
        alone = [(files[0], f"{folder}-alone-{region}-{repetition}", [*flags, "--only-region", region])
                 for region in ["shanghai", "jinan"]]
        pools = [(file, f"{folder}-{rate}-{repetition}", flags) for file, rate in zip(files, rates)]
        found = {}
        for name, wanted in [("alone", alone), ("pool", pools)][::1 if repetition % 2 else -1]:
            found[name] = runs.up_together(options.longhaul, wanted)
        rate_alone = sum(run["pool"][RATE[schedule]] for run in found["alone"])
        for result, run in zip(results, found["pool"]):
            result.append(run["pool"][RATE[schedule]] / rate_alone)
    for rate, result in zip(rates, results):
        simulated = search.point(schedule, codec, rate)[0]
        mean = runs.interval(result)[0]
        print(f"| {schedule}, {codec} | {bit_rate(rate)} | {simulated:.3f} | {runs.shown(result)} "
              f"({', '.join(f'{value:.3f}' for value in result)}) | {100 * (simulated / mean - 1):+.1f} % |",
              flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", default="runs/lowest-rates")
    parser.add_argument("--schedules", default=",".join(SCHEDULES))
    parser.add_argument("--codecs", default="fp32,bf16,int8,int4,topk")
    parser.add_argument("--real", default="streaming/int8,diloco/bf16,decoupled/int4")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    options = parser.parse_args()
    search = Search(options)
    print("| schedule | encoding | bits/value | E1 >= .95 from | fill | E1 >= .99 from | fill |\n|" + "---|" * 7)
    lowest = {}
    for schedule in options.schedules.split(","):
        for codec in options.codecs.split(","):
            cells = []
            for wanted in THRESHOLDS:
                rate = lowest[schedule, codec, wanted] = search.lowest(schedule, codec, wanted)
                cells += [bit_rate(rate), f"{search.point(schedule, codec, rate)[1]:.2f}"] if rate else ["never", "-"]
            bits = search.simulate(f"{schedule}/{codec}/{int(1e12)}", "")["bits"]
            print(f"| {schedule} | {codec} | {bits:.2f} | " + " | ".join(cells) + " |", flush=True)
    print("\n| real | rate | E1 simulated | E1 real | error |\n|" + "---|" * 5)
    for pair in filter(None, options.real.split(",")):
        rates = [lowest.get((*pair.split("/"), wanted)) for wanted in THRESHOLDS]
        if None in rates:
            raise SystemExit(f"--real {pair}: no rate reaches both thresholds, or the pair was not simulated")
        real_points(options, search, pair, rates)


if __name__ == "__main__":
    sys.exit(main())
