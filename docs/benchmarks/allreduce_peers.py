#!/usr/bin/env python3
"""All-reduce on loopback, fp32: Longhaul beside OpenMPI (TCP) and Gloo, interleaved.

Needs: the release build of longhaul; Debian openmpi-bin libopenmpi-dev gcc; python3 with torch.
Usage: allreduce_peers.py [--cycles 3] [--same-host tcp|memory] [--longhaul .build/release/longhaul] [--python /usr/bin/python3]

Every cycle measures each program once at every size; what is printed is the median of the cycles'
medians, the smallest of their minima, and the ratio to the best peer, cycle by cycle.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

MIB = [0.0625, 1, 16, 64]
# Enough that the first exchanges, which warm caches and windows, do not decide.
REPEATS = {0.0625: 1001, 1: 501, 16: 101, 64: 21}

MPI = r"""
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
static int order(const void *a, const void *b) {
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}
int main(int count, char **words) {
    MPI_Init(&count, &words);
    int rank, repeats = atoi(words[2]);
    long n = atol(words[1]);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    float *values = calloc(n, sizeof *values);
    double *times = calloc(repeats, sizeof *times);
    for (int i = -3; i < repeats; i++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double began = MPI_Wtime();
        MPI_Allreduce(MPI_IN_PLACE, values, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        if (i >= 0) times[i] = MPI_Wtime() - began;
    }
    qsort(times, repeats, sizeof *times, order);
    if (rank == 0) printf("%.9f %.9f\n", times[repeats / 2], times[0]);
    MPI_Finalize();
}
"""

GLOO = r"""
import os, sys, time, torch, torch.distributed as dist
rank, world, n, repeats, port = map(int, sys.argv[1:6])
torch.set_num_threads(1)
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
dist.init_process_group("gloo", rank=rank, world_size=world)
values, times = torch.zeros(n), []
for i in range(-3, repeats):
    dist.barrier()
    began = time.perf_counter()
    dist.all_reduce(values)
    if i >= 0: times.append(time.perf_counter() - began)
times.sort()
if rank == 0: print(times[len(times) // 2], times[0])
dist.destroy_process_group()
"""


# How ranks and workers of one machine reach each other, by --same-host: like with like.
MPI_WAYS = {
    "tcp": ["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"],
    "memory": ["--mca", "btl", "vader,self"],
}


def run_mpi(way, binary, workers, mib):
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca", "pml", "ob1",
               "--mca", "oob_tcp_if_include", "lo", *MPI_WAYS[way], "-np", str(workers), binary,
               str(int(mib * 2**18)), str(REPEATS[mib])]
    out = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return tuple(map(float, out.split()[:2]))


def run_gloo(python, script, workers, mib, port):
    ranks = [subprocess.Popen(
        [python, script, str(rank), str(workers), str(int(mib * 2**18)), str(REPEATS[mib]),
         str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for rank in range(workers)]
    out = [rank.communicate(timeout=180)[0] for rank in ranks]
    return tuple(map(float, out[0].split()[:2]))


def run_longhaul(way, binary, workers, mib, wire="fp32", flags=("--plain",)):
    out = subprocess.run(
        [binary, "bench", "allreduce", "--same-host", way, "--workers", str(workers), "--elements",
         str(int(mib * 2**18)), "--repeats", str(REPEATS[mib]), "--wire", wire, "--json", *flags],
        capture_output=True, text=True, timeout=180, check=True).stdout
    result = json.loads(out)
    return result["seconds_median"], result["seconds_min"], result["cpu_seconds"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--same-host", choices=list(MPI_WAYS), default="tcp")
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--sizes", default="0.0625,1,16,64", help="MiB")
    options = parser.parse_args()
    sizes = [size for size in MIB if str(size) in options.sizes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        source, binary, script = (os.path.join(folder, name) for name in ("m.c", "m", "g.py"))
        with open(source, "w") as file:
            file.write(MPI)
        with open(script, "w") as file:
            file.write(GLOO)
        subprocess.run(["mpicc", "-O3", "-o", binary, source], check=True)
        port = 29600
        print("# ms: median of medians [smallest]; ratio: best peer / longhaul, per cycle")
        for workers in (2, 4):
            for mib in sizes:
                times = {"openmpi": [], "gloo": [], "longhaul": [], "int8": []}
                ratios, ratios8, cpu = [], [], []
                for _ in range(options.cycles):
                    port += 1
                    times["openmpi"].append(run_mpi(options.same_host, binary, workers, mib))
                    ours = run_longhaul(options.same_host, options.longhaul, workers, mib)
                    times["longhaul"].append(ours[:2])
                    cpu.append(ours[2])
                    times["gloo"].append(
                        run_gloo(options.python, script, workers, mib, port))
                    best = min(times["openmpi"][-1][0], times["gloo"][-1][0])
                    ratios.append(best / ours[0])
                    if workers == 4 and mib == 64:
                        packed = run_longhaul(options.same_host, options.longhaul, workers, mib, "int8")
                        times["int8"].append(packed[:2])
                        ratios8.append(best / packed[0])
                row = f"W={workers} {mib:7.4f} MiB"
                for name, found in times.items():
                    if found:
                        middle = statistics.median(t[0] for t in found) * 1e3
                        row += f"  {name} {middle:.3f} [{min(t[1] for t in found) * 1e3:.3f}]"
                row += f"  CPU/worker {statistics.median(cpu) * 1e3:.2f}"
                row += "  ratio " + " ".join(f"{ratio:.2f}" for ratio in ratios)
                if ratios8:
                    row += "  int8 ratio " + " ".join(f"{ratio:.2f}" for ratio in ratios8)
                print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
