#!/usr/bin/env python3
"""Tokens to experts and back on loopback: Longhaul beside OpenMPI's MPI_Alltoallv, interleaved.

Needs: the release build of longhaul; Debian openmpi-bin libopenmpi-dev gcc.
Usage: dispatch_peers.py [--cycles 5] [--same-host tcp|memory] [--longhaul .build/release/longhaul] [--repeats 31]

4,096 tokens x 512 floats on every rank, each to 2 of 8 experts that are spread over the ranks. The MPI
program does what `longhaul bench dispatch` does: pack, MPI_Alltoallv, weight and sum each token's experts,
MPI_Alltoallv back, add up; `once` sends a token once to each rank as we do (the same bytes), `choice` once for
each expert. `bare` is the time inside the two calls alone. Medians over the repeats, slowest rank; what is
printed is the median of the cycles and the ratio MPI / longhaul cycle by cycle.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

MPI = r"""
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum { T = 4096, H = 512, E = 8, K = 2, WORDS = 2 * K, ROW = H + WORDS };
static unsigned state;
static unsigned draw(void) { state ^= state << 13; state ^= state >> 17; return state ^= state << 5; }
static int order(const void *a, const void *b) {
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}
int main(int count, char **words) {
    MPI_Init(&count, &words);
    int rank, size, repeats = atoi(words[1]), once = !strcmp(words[2], "once");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    state = 12345 + 777 * rank;
    int *expert = malloc(T * K * sizeof(int));
    for (int t = 0; t < T; t++) {
        int a = draw() % E, b;
        do b = draw() % E; while (b == a);
        expert[2 * t] = a;
        expert[2 * t + 1] = b;
    }
    /* rows[q]: token and which of its choices go with it */
    int *token[16], *choice[16], sc[16] = {0}, rc[16], sd[16], rd[16];
    for (int q = 0; q < size; q++) token[q] = malloc(2 * T * sizeof(int)), choice[q] = malloc(2 * T * sizeof(int));
    for (int t = 0; t < T; t++)
        for (int j = 0; j < K; j++) {
            int q = expert[2 * t + j] * size / E, n = sc[q];
            if (once && n && token[q][n - 1] == t) { choice[q][n - 1] = 3; continue; }
            token[q][n] = t;
            choice[q][n] = 1 << j;
            sc[q]++;
        }
    MPI_Alltoall(sc, 1, MPI_INT, rc, 1, MPI_INT, MPI_COMM_WORLD);
    long sent = 0, received = 0;
    for (int q = 0; q < size; q++) { sd[q] = sent; sent += sc[q]; rd[q] = received; received += rc[q]; }
    float *x = aligned_alloc(64, T * H * 4L), *y = aligned_alloc(64, T * H * 4L);
    float *out = aligned_alloc(64, sent * ROW * 4L + 64), *in = aligned_alloc(64, received * ROW * 4L + 64);
    float *sums = aligned_alloc(64, received * H * 4L + 64), *back = aligned_alloc(64, sent * H * 4L + 64);
    for (long i = 0; i < T * (long)H; i++) x[i] = (i + rank) % 61 - 30;
    memset(out, 0, sent * ROW * 4L); memset(in, 0, received * ROW * 4L);
    memset(sums, 0, received * H * 4L); memset(back, 0, sent * H * 4L);
    MPI_Datatype there, here;
    MPI_Type_contiguous(ROW, MPI_FLOAT, &there); MPI_Type_commit(&there);
    MPI_Type_contiguous(H, MPI_FLOAT, &here); MPI_Type_commit(&here);
    double *all = calloc(repeats, sizeof *all), *bare = calloc(repeats, sizeof *bare);
    for (int i = -4; i < repeats; i++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double began = MPI_Wtime();
        for (int q = 0; q < size; q++)
            for (int n = 0; n < sc[q]; n++) {
                float *row = out + (sd[q] + n) * (long)ROW;
                memcpy(row, x + token[q][n] * (long)H, H * 4);
                for (int j = 0; j < K; j++) {
                    row[H + j] = choice[q][n] >> j & 1 ? expert[2 * token[q][n] + j] : -1;
                    row[H + K + j] = 1.0f / (2 << j);
                }
            }
        double a = MPI_Wtime();
        MPI_Alltoallv(out, sc, sd, there, in, rc, rd, there, MPI_COMM_WORLD);
        double b = MPI_Wtime();
        for (long r = 0; r < received; r++) {
            const float *row = in + r * ROW;
            float *sum = sums + r * H;
            int first = 1;
            for (int j = 0; j < K; j++) {
                if (row[H + j] < 0) continue;
                float factor = row[H + K + j] * (row[H + j] + 1);
                if (first) for (int c = 0; c < H; c++) sum[c] = row[c] * factor;
                else for (int c = 0; c < H; c++) sum[c] += row[c] * factor;
                first = 0;
            }
        }
        double c = MPI_Wtime();
        MPI_Alltoallv(sums, rc, rd, here, back, sc, sd, here, MPI_COMM_WORLD);
        double d = MPI_Wtime();
        memset(y, 0, T * H * 4L);
        for (int q = 0; q < size; q++)
            for (int n = 0; n < sc[q]; n++) {
                const float *from = back + (sd[q] + n) * (long)H;
                float *to = y + token[q][n] * (long)H;
                for (int k = 0; k < H; k++) to[k] += from[k];
            }
        double e = MPI_Wtime(), mine[2] = {e - began, b - a + d - c}, worst[2];
        MPI_Allreduce(mine, worst, 2, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        if (i >= 0) all[i] = worst[0], bare[i] = worst[1];
    }
    for (int t = 0; t < T; t += 7) {
        float factor = 0.5f * (expert[2 * t] + 1) + 0.25f * (expert[2 * t + 1] + 1);
        float d = y[t * (long)H + 5] - factor * x[t * (long)H + 5];
        if (d > 1e-3 || d < -1e-3) { fprintf(stderr, "bad sum\n"); MPI_Abort(MPI_COMM_WORLD, 1); }
    }
    long away = (sent - sc[rank]) * (ROW + H) * 4L, total;
    MPI_Reduce(&away, &total, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    qsort(all, repeats, sizeof *all, order);
    qsort(bare, repeats, sizeof *bare, order);
    if (!rank) printf("%.9f %.9f %ld\n", all[repeats / 2], bare[repeats / 2], total);
    MPI_Finalize();
}
"""


# How ranks and workers of one machine reach each other, by --same-host: like with like.
MPI_WAYS = {
    "tcp": ["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"],
    "memory": ["--mca", "btl", "vader,self"],
}


def run_mpi(way, binary, workers, repeats, mode):
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca", "pml", "ob1",
               "--mca", "oob_tcp_if_include", "lo", *MPI_WAYS[way], "-np", str(workers), binary, str(repeats), mode]
    out = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    whole, bare, total = out.split()[:3]
    return float(whole), float(bare), int(total)


def run_longhaul(way, binary, workers, repeats, wire):
    out = subprocess.run(
        [binary, "bench", "dispatch", "--same-host", way, "--workers", str(workers), "--tokens", "4096", "--width", "512",
         "--top-k", "2", "--wire", wire, "--repeats", str(repeats), "--plain", "--json"],
        capture_output=True, text=True, timeout=180, check=True).stdout
    result = json.loads(out)
    return result["seconds_median"], result["cpu_seconds"], int(result["bytes"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--same-host", choices=list(MPI_WAYS), default="tcp")
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    parser.add_argument("--wires", default="fp32,bf16,int8")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, "d.c"), os.path.join(folder, "d")
        with open(source, "w") as file:
            file.write(MPI)
        subprocess.run(["mpicc", "-O3", "-march=native", "-o", binary, source], check=True)
        print("# ms, both ways; MB: payload that leaves all workers, both ways; ratio: MPI / longhaul by cycle")
        for workers in (2, 4):
            rows = {}
            for _ in range(options.cycles):
                for mode in ("once", "choice"):
                    rows.setdefault("openmpi " + mode, []).append(
                        run_mpi(options.same_host, binary, workers, options.repeats, mode))
                for wire in options.wires.split(","):
                    rows.setdefault("longhaul " + wire, []).append(
                        run_longhaul(options.same_host, options.longhaul, workers, options.repeats, wire))
            for name, found in rows.items():
                row = f"W={workers} {name:16} {statistics.median(f[0] for f in found) * 1e3:7.2f} ms"
                row += f" {found[0][2] / 1e6:7.2f} MB"
                if name.startswith("openmpi"):
                    row += f"  bare {statistics.median(f[1] for f in found) * 1e3:6.2f} ms"
                else:
                    row += f"  CPU/worker {statistics.median(f[1] for f in found) * 1e3:6.2f} ms"
                    for mode, at in (("once", 0), ("choice", 0), ("once", 1)):
                        label = "bare" if at else mode
                        row += f"  {label} " + " ".join(
                            f"{peer[at] / ours[0]:.2f}"
                            for peer, ours in zip(rows["openmpi " + mode], found))
                print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
