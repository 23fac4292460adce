#!/usr/bin/env python3
"""All-reduce over an emulated WAN that kernel TCP really crosses: Longhaul beside Gloo and iperf3.

Needs root; the release build of longhaul; Debian iperf3; python3 with torch (Debian python3-torch); for CUBIC beside
another default, sysctl -w net.ipv4.tcp_allowed_congestion_control='reno cubic bbr'.
Usage: wan_peers.py [--rate 500] [--rtt 30] [--mib 64] [--repeats 20] [--cases clean:bbr,loss:bbr,loss:cubic]

Two regions of two workers, one link of --rate Mbit/s and --rtt ms; "loss" loses 0.01 % of the packets,
each for itself. Longhaul runs with CURVE and two all-reduces in flight, told the link's rate; Gloo with two in flight too, in
the clear, and its ring crosses the link once each way. Share: payload of one direction per second over
rate x 1448 / 1500. Gloo's bytes are those of its ring, 2 (W - 1) / W of the vector; Longhaul's are counted.
The first exchanges do not count.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

CLUSTER = """\
name: wan
steps: 1
seed: 1
emulate: packet
coordinator: west
regions:
  west: {{workers: [{{name: west-1, batch: 1, step: 1 ms}}, {{name: west-2, batch: 1, step: 1 ms}}]}}
  east: {{workers: [{{name: east-1, batch: 1, step: 1 ms}}, {{name: east-2, batch: 1, step: 1 ms}}]}}
links:
  - {{between: [west, east], one_way: {one_way} ms, rate: {rate} Mbit/s{loss}}}
schedule: {{inner: every-step, outer: every-step}}
wire: {{inside: fp32, between: fp32}}
model: {{width: 128, layers: 2, heads: 4, context: 128}}
data: {{path: gcide}}
"""

GLOO = r"""
import os, sys, time, torch, torch.distributed as dist
rank, n, repeats, master = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
os.environ.update(MASTER_ADDR=master, MASTER_PORT="29500", GLOO_SOCKET_IFNAME="longhaul0")
dist.init_process_group("gloo", rank=rank, world_size=4)
vectors = [torch.zeros(n), torch.zeros(n)]
works, ends, began = [None, None], [], 0
for i in range(repeats + 4):
    slot = i % 2
    if works[slot]:
        works[slot].wait()
        ends.append(time.perf_counter())
    works[slot] = dist.all_reduce(vectors[slot], async_op=True)
for work in (works[i % 2], works[1 - i % 2]):
    work.wait()
ends = ends[1:]
if rank == 0: print((ends[-1] - ends[0]) / (len(ends) - 1), flush=True)
dist.barrier()
"""

RANKS = r"""
import os, subprocess, sys
script, python, n, repeats = sys.argv[1:5]
places = ["west", "west", "east", "east"]
ranks = [subprocess.Popen(
    os.environ["LONGHAUL_ENTER_" + place].split()
    + [python, script, str(rank), n, repeats, os.environ["LONGHAUL_ADDRESS_west"]],
    stderr=subprocess.DEVNULL) for rank, place in enumerate(places)]
sys.exit(max(abs(rank.wait()) for rank in ranks))
"""

IPERF = ("$LONGHAUL_ENTER_east iperf3 -s -1 >/dev/null & sleep 0.5; "
         "$LONGHAUL_ENTER_west iperf3 -c $LONGHAUL_ADDRESS_east --bidir -J -O 2 -t 10 -P {flows}; wait")


def over_link(options, file, congestion, command):
    return subprocess.run(
        [options.longhaul, "link", "up", file, "--congestion", congestion, "--", *command],
        capture_output=True, text=True, timeout=280, check=True).stdout


def longhaul(options, file, congestion):
    out = subprocess.run(
        [options.longhaul, "bench", "allreduce", "--cluster", file, "--elements",
         str(options.mib * 2**18), "--repeats", str(options.repeats), "--in-flight", "2",
         "--congestion", congestion, "--json"],
        capture_output=True, text=True, timeout=280, check=True).stdout
    result = json.loads(out)
    # Too short a run has no two marks in between.
    shares = " / ".join(f"{share:.3f}" for share in result.get("payload_rate_share", {}).values())
    return (f"share {shares or 'not measured'}, {result['seconds_back_to_back']:.2f} s an all-reduce "
            f"(median {result['seconds_median']:.2f} s with two in flight), "
            f"{result['cpu_seconds']:.2f} CPU s each, "
            f"{result['bytes_between_regions'] / 1e6:.1f} MB both ways")


def gloo(options, file, congestion, folder, payload_rate):
    script, ranks = os.path.join(folder, "g.py"), os.path.join(folder, "r.py")
    for path, text in ((script, GLOO), (ranks, RANKS)):
        with open(path, "w") as target:
            target.write(text)
    out = over_link(options, file, congestion,
                    [options.python, ranks, script, options.python, str(options.mib * 2**18),
                     str(options.repeats)])
    seconds = float(out.split()[0])
    share = 1.5 * options.mib * 2**20 / seconds / payload_rate
    return f"share {share:.3f}, {seconds:.2f} s an all-reduce"


def iperf(options, file, congestion, flows, payload_rate):
    result = json.loads(over_link(
        options, file, congestion, ["sh", "-c", IPERF.format(flows=flows)]))["end"]
    shares = [result[key]["bits_per_second"] / 8 / payload_rate
              for key in ("sum_received", "sum_received_bidir_reverse")]
    return "share " + " / ".join(f"{share:.3f}" for share in shares)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=500, help="Mbit/s")
    parser.add_argument("--rtt", type=float, default=30, help="ms")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--cases", default="clean:bbr,clean:cubic,loss:bbr,loss:cubic")
    parser.add_argument("--programs", default="longhaul,gloo,iperf1,iperf8")
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    parser.add_argument("--python", default="/usr/bin/python3")
    options = parser.parse_args()
    payload_rate = options.rate * 1e6 / 8 * 1448 / 1500
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases.split(","):
            link, congestion = case.split(":")
            file = os.path.join(folder, f"{link}.yaml")
            with open(file, "w") as target:
                target.write(CLUSTER.format(
                    one_way=options.rtt / 2, rate=options.rate,
                    loss=", loss: 0.01 %" if link == "loss" else ""))
            runs = {
                "longhaul": lambda: longhaul(options, file, congestion),
                "gloo": lambda: gloo(options, file, congestion, folder, payload_rate),
                "iperf1": lambda: iperf(options, file, congestion, 1, payload_rate),
                "iperf8": lambda: iperf(options, file, congestion, 8, payload_rate),
            }
            for name in options.programs.split(","):
                try:
                    said = runs[name]()
                except subprocess.SubprocessError as error:
                    said = f"failed: {error}"
                print(f"{options.rate} Mbit/s {options.rtt:g} ms {link} {congestion} {name}: {said}",
                      flush=True)


if __name__ == "__main__":
    sys.exit(main())
