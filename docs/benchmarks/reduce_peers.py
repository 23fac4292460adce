#!/usr/bin/python3
"""Our reduction kernels and quantisers beside numpy, torch, OpenBLAS, OpenMPI, pi-quant and plain C, interleaved: every round
runs every contestant once, and medians over the rounds are compared.

    docs/benchmarks/reduce_peers.py [--longhaul .build/release/longhaul] [--rounds 5] [--only sum2|sum8|fused|quant]

Needs Debian: gcc libopenblas0 openmpi-bin libopenmpi-dev python3-numpy python3-torch; for pi-quant:
`pip install --no-deps --target DIR pypiquant cffi pycparser` outside the repository and PYTHONPATH=DIR. What is missing is left out.
One thread. Every contestant's arrays lie in huge pages at multiples of 2 MiB, staggered as ours are. GB/s counts 12 bytes per element
for two sources in place, 4 (N + 1) for a sum of N, and the fp32 side (4 bytes) for quantisers.
"""
import argparse
import ctypes
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                  OMPI_MCA_plm_rsh_agent="/bin/true", OMPI_MCA_btl="self")
import numpy as np
try:
    import torch
    torch.set_num_threads(1)
except ImportError:
    torch = None

C = r"""
#include <stdint.h>
#define NI __attribute__((noinline))
NI void add2(float*restrict a,const float*restrict b,long n){for(long i=0;i<n;i++)a[i]+=b[i];}
void sum8(float*restrict o,const float*restrict a,const float*restrict b,const float*restrict c,const float*restrict d,
 const float*restrict e,const float*restrict f,const float*restrict g,const float*restrict h,long n)
 {for(long i=0;i<n;i++)o[i]=a[i]+b[i]+c[i]+d[i]+e[i]+f[i]+g[i]+h[i];}
NI void dq(float*restrict o,const int8_t*restrict q,const float*restrict s,long n)
 {for(long j=0;j<n/256;j++){float c=s[j];for(int i=0;i<256;i++)o[j*256+i]=c*(float)q[j*256+i];}}
void dqadd(float*restrict o,const int8_t*restrict q,const float*restrict s,long n)
 {for(long j=0;j<n/256;j++){float c=s[j];for(int i=0;i<256;i++)o[j*256+i]+=c*(float)q[j*256+i];}}
NI void copy(float*restrict o,const float*restrict a,long n){for(long i=0;i<n;i++)o[i]=a[i]+0.0f;}
void add2r(float*a,const float*b,long n,long r){while(r--){add2(a,b,n);__asm__ volatile("":::"memory");}}
void blasr(void(*f)(int,float,const float*,int,float*,int),float*a,const float*b,long n,long r){while(r--)f((int)n,1.0f,b,1,a,1);}
"""
QUANTISERS = r"""
#include <stdint.h>
#include <math.h>
void dq(float*restrict o,const int8_t*restrict q,const float*restrict s,long n)
 {for(long j=0;j<n/256;j++){float c=s[j];for(int i=0;i<256;i++)o[j*256+i]=c*(float)q[j*256+i];}}
void q8(int8_t*restrict q,float*restrict s,const float*restrict a,long n){for(long j=0;j<n/256;j++){const float*p=a+j*256;float m=0;
 for(int i=0;i<256;i++){float f=fabsf(p[i]);m=f>m?f:m;}s[j]=m/127;float r=m>0?127/m:0;
 for(int i=0;i<256;i++)q[j*256+i]=(int8_t)(int)rintf(p[i]*r);}}
void q4(uint8_t*restrict q,float*restrict s,const float*restrict a,long n){for(long j=0;j<n/256;j++){const float*p=a+j*256;float m=0;
 for(int i=0;i<256;i++){float f=fabsf(p[i]);m=f>m?f:m;}s[j]=m/7;float r=m>0?7/m:0;uint8_t t[256];
 for(int i=0;i<256;i++)t[i]=(uint8_t)((int)rintf(p[i]*r)+8);for(int i=0;i<128;i++)q[j*128+i]=t[i]|t[i+128]<<4;}}
void dq4(float*restrict o,const uint8_t*restrict q,const float*restrict s,long n){for(long j=0;j<n/256;j++){float c=s[j];
 for(int i=0;i<128;i++)o[j*256+i]=c*(float)((q[j*128+i]&15)-8);for(int i=0;i<128;i++)o[j*256+128+i]=c*(float)((q[j*128+i]>>4)-8);}}
"""
MPI = r"""
#include <mpi.h>
int start(void){int f;MPI_Initialized(&f);return f?0:MPI_Init(0,0);}
void stop(void){MPI_Finalize();}
void reducer(float*a,const float*b,long n,long r){while(r--)MPI_Reduce_local(b,a,(int)n,MPI_FLOAT,MPI_SUM);}
"""


def compiled(folder, name, source, command):
    path = f"{folder}/{name}"
    with open(f"{path}.c", "w", encoding="utf-8") as file:
        file.write(source)
    try:
        subprocess.check_call([*command, "-shared", "-fPIC", "-o", f"{path}.so", f"{path}.c", "-lm"])
    except FileNotFoundError:
        return None
    return ctypes.CDLL(f"{path}.so")


def library(*names):
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    return None


MAPPED = []


def array(count, kind, value=0):
    """An array as BenchmarkArena allocates it: huge pages, a multiple of 2 MiB plus a stagger."""
    size = count * np.dtype(kind).itemsize
    memory = mmap.mmap(-1, size + (1 << 22))
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:
        pass
    base = np.frombuffer(memory, np.uint8).ctypes.data
    start = -base % (1 << 21) + len(MAPPED) % 13 * 320
    MAPPED.append(memory)
    result = np.frombuffer(memory, kind, count, start)
    result[:] = value
    return result


def at(a):
    return ctypes.c_void_p(a.ctypes.data)


def timed(f):
    f()
    f()
    t = time.perf_counter()
    f()
    repeats = int(0.012 / max(time.perf_counter() - t, 1e-9)) + 1
    samples = []
    for _ in range(3):
        t = time.perf_counter()
        for _ in range(repeats):
            f()
        samples.append((time.perf_counter() - t) / repeats)
    return statistics.median(samples)


def repeated(f):
    """For contestants which repeat inside C: f(r) runs r times, so that small sizes do not measure the call from Python."""
    f(2)
    t = time.perf_counter()
    f(10)
    repeats = int(0.012 / max((time.perf_counter() - t) / 10, 1e-9)) + 1
    samples = []
    for _ in range(3):
        t = time.perf_counter()
        f(repeats)
        samples.append((time.perf_counter() - t) / repeats)
    return statistics.median(samples)


class Bench:
    def __init__(self, longhaul, rounds):
        self.longhaul, self.rounds = longhaul, rounds
        folder = tempfile.mkdtemp()
        self.c = compiled(folder, "peers", C, ["gcc", "-O3", "-march=native"])
        # -ffast-math: without it gcc vectorises neither maximum nor rounding.
        self.quantisers = compiled(folder, "quantisers", QUANTISERS, ["gcc", "-O3", "-march=native", "-ffast-math"])
        self.blas = library("libopenblas.so.0", "libblas.so.3")
        self.mpi = compiled(folder, "mpi", MPI, ["mpicc", "-O3"])
        if self.mpi:
            self.mpi.start()

    def ours(self, op, dtype, sources, elements, isa=None):
        environment = dict(os.environ, LONGHAUL_ISA=isa) if isa else None
        out = subprocess.check_output([
            self.longhaul, "bench", "reduce", "--op", op, "--dtype", dtype, "--sources", str(sources), "--elements",
            str(elements), "--threads", "1", "--json"], env=environment)
        return json.loads(out)["seconds_median"]

    def show(self, title, contestants, bytes_moved, mine="ours"):
        """Every contestant once a round; beside the medians the median of the rounds' own ratios to the best peer."""
        results = {name: [] for name in contestants}
        for _ in range(self.rounds):
            for name, f in contestants.items():
                results[name].append(f())
        medians = {name: statistics.median(times) for name, times in results.items()}
        peers = [name for name in contestants if not name.startswith(("ours", "copy")) and "given" not in name]
        row = ", ".join(f"{name} {bytes_moved / medians[name] / 1e9:.1f}" for name in contestants)
        ratios = ""
        if peers:
            best = min(peers, key=medians.get)
            paired = statistics.median(t / o for t, o in zip(results[best], results[mine]))
            ratios = f"; ours / {best} {medians[best] / medians[mine]:.2f} (paired {paired:.2f})"
        print(f"{title}: {row} GB/s{ratios}", flush=True)
        return medians

    def sum2(self):
        for n in (1 << 12, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 25):
            a, b = array(n, np.float32), array(n, np.float32, 1e-9)
            size = ctypes.c_long(n)
            rows = {"ours": lambda: self.ours("sum", "fp32", 2, n),
                    "C": lambda: repeated(lambda r: self.c.add2r(at(a), at(b), size, ctypes.c_long(r))),
                    "numpy": lambda: timed(lambda: np.add(a, b, out=a))}
            if torch:
                x, y = torch.from_numpy(a), torch.from_numpy(b)
                rows["torch"] = lambda: timed(lambda: x.add_(y))
            if self.blas:
                saxpy = ctypes.cast(self.blas.cblas_saxpy, ctypes.c_void_p)
                rows["OpenBLAS"] = lambda: repeated(lambda r: self.c.blasr(saxpy, at(a), at(b), size, ctypes.c_long(r)))
            if self.mpi:
                rows["MPI_Reduce_local"] = lambda: repeated(
                    lambda r: self.mpi.reducer(at(a), at(b), size, ctypes.c_long(r)))
            self.show(f"2 x fp32 in place, {n * 4 >> 10} KiB", rows, 12 * n)
            MAPPED.clear()

    def sum8(self):
        for n in (1 << 22, 1 << 24, 1 << 25):
            sources = [array(n, np.float32, 1e-9) for _ in range(8)]
            out, size = array(n, np.float32), ctypes.c_long(n)

            def pairwise():
                np.add(sources[0], sources[1], out=out)
                for s in sources[2:]:
                    np.add(out, s, out=out)

            def pairwise_c():
                self.c.copy(at(out), at(sources[0]), size)
                for s in sources[1:]:
                    self.c.add2(at(out), at(s), size)

            def pairwise_mpi():
                np.copyto(out, sources[0])
                for s in sources[1:]:
                    self.mpi.reducer(at(out), at(s), size, ctypes.c_long(1))

            rows = {"ours": lambda: self.ours("sum", "fp32", 8, n), "numpy pairwise": lambda: timed(pairwise),
                    "C pairwise": lambda: timed(pairwise_c)}
            if self.mpi:
                rows["MPI pairwise"] = lambda: timed(pairwise_mpi)
            rows["copy x 36/8"] = lambda: timed(lambda: self.c.copy(at(out), at(sources[0]), size)) * 36 / 8
            self.show(f"8 x fp32, {n * 4 >> 20} MiB", rows, 36 * n)
            self.show(f"8 x fp32 one pass, {n * 4 >> 20} MiB", {
                "ours": rows["ours"],
                "C one pass": lambda: timed(lambda: self.c.sum8(at(out), *map(at, sources), size))}, 36 * n)
            codes = [array(n, np.int8) for _ in range(8)]
            for q in codes:
                q[:] = np.random.randint(-127, 128, n, np.int8)
            scales, buffer = array(n // 256, np.float32, 1e-9), array(n, np.float32)

            def decode_then_add():
                for index, q in enumerate(codes):
                    self.c.dq(at(buffer if index else out), at(q), at(scales), size)
                    if index:
                        self.c.add2(at(out), at(buffer), size)

            def decode_add():
                self.c.dq(at(out), at(codes[0]), at(scales), size)
                for q in codes[1:]:
                    self.c.dqadd(at(out), at(q), at(scales), size)

            def decode_then_add_numpy():
                for index, q in enumerate(codes):
                    target = (buffer if index else out).reshape(-1, 256)
                    np.multiply(q.reshape(-1, 256), scales[:, None], out=target)
                    if index:
                        np.add(out, buffer, out=out)

            self.show(f"8 x int8 to fp32, {n * 4 >> 20} MiB", {
                "ours": lambda: self.ours("sum", "int8", 8, n), "ours fused to int8": lambda: self.ours("fused", "int8", 8, n),
                "C decode then add": lambda: timed(decode_then_add), "numpy": lambda: timed(decode_then_add_numpy),
                }, 12 * n)
            self.show(f"8 x int8 to fp32, decode-add in one C loop, {n * 4 >> 20} MiB", {
                "ours": lambda: self.ours("sum", "int8", 8, n), "C decode-add": lambda: timed(decode_add)}, 12 * n)
            MAPPED.clear()

    def fused(self):
        """The time each pass needs beside the time its bytes need at the copy loop's rate."""
        n = 1 << 24
        a, b, size = array(n, np.float32, 1e-9), array(n, np.float32), ctypes.c_long(n)
        encoded = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1 + 4 / 256, "int4": 0.5 + 4 / 256, "e3m0": 0.5 + 4 / 256}
        cases = [("fused", d, s) for d in encoded for s in (2, 8)] + [("apply", d, 1) for d in encoded]
        for isa in ("x86-64-v4", "x86-64-v3"):
            for op, dtype, sources in cases:
                moved = n * (encoded[dtype] * (sources + 1) if op == "fused" else encoded[dtype] + 24)
                rows = {"ours": lambda: self.ours(op, dtype, sources, n, isa),
                        "copy": lambda: timed(lambda: self.c.copy(at(b), at(a), size))}
                results = {name: [] for name in rows}
                for _ in range(self.rounds):
                    for name, f in rows.items():
                        results[name].append(f())
                mine = statistics.median(results["ours"])
                rate = 8 * n / statistics.median(results["copy"])
                print(f"{isa} {op} {dtype} x {sources}, 64 MiB: {mine * 1e3:.1f} ms, {moved / mine / 1e9:.1f} GB/s, copy loop "
                      f"{rate / 1e9:.1f} GB/s, time / time of the bytes {mine / (moved / rate):.2f}", flush=True)
        MAPPED.clear()

    def quant(self):
        try:
            import piquant
            context = piquant.Context(1)
        except ImportError:
            piquant = None
        for n in (1 << 18, 1 << 22, 1 << 25):
            a, o = array(n, np.float32), array(n, np.float32)
            a[:] = (np.random.default_rng(1).random(n, np.float32) - .5) * .02
            q, s, size = array(n, np.int8), array(n // 256, np.float32, 1e-4), ctypes.c_long(n)

            def numpy_quantise(top):
                blocks = a.reshape(-1, 256)
                scale = np.abs(blocks).max(1, keepdims=True) / np.float32(top)
                return np.rint(blocks / scale).astype(np.int8), scale

            def numpy_quantise4():
                codes = (numpy_quantise(7)[0] + 8).astype(np.uint8)
                return codes[:, :128] | codes[:, 128:] << 4

            def numpy_dequantise4():
                codes, out = q[:n // 2].view(np.uint8).reshape(-1, 128), o.reshape(-1, 256)
                np.multiply((codes & 15).astype(np.int8) - 8, s[:, None], out=out[:, :128], casting="unsafe")
                np.multiply((codes >> 4).astype(np.int8) - 8, s[:, None], out=out[:, 128:], casting="unsafe")

            def pi(bits, quantise):
                kind = piquant.DataType.UINT8 if bits == 8 else piquant.DataType.UINT4
                if not quantise:
                    return lambda: context.dequantize_ptr(
                        q.ctypes.data, kind, o.ctypes.data, piquant.DataType.F32, n, 1e-4, 128 if bits == 8 else 8,
                        piquant.ReduceOp.SET)

                def run():
                    scale, zero = context.compute_quant_params_ptr_float32(a.ctypes.data, kind, n)
                    context.quantize_ptr(a.ctypes.data, piquant.DataType.F32, q.ctypes.data, kind, n, scale, zero,
                                         piquant.RoundMode.NEAREST)
                return run

            def given(bits):
                kind = piquant.DataType.UINT8 if bits == 8 else piquant.DataType.UINT4
                scale, zero = context.compute_quant_params_ptr_float32(a.ctypes.data, kind, n)
                return lambda: context.quantize_ptr(a.ctypes.data, piquant.DataType.F32, q.ctypes.data, kind, n, scale, zero,
                                                    piquant.RoundMode.NEAREST)

            mib = n * 4 >> 20
            for bits, quantise in ((8, True), (4, True), (8, False), (4, False)):
                op, dtype = ("quantise" if quantise else "dequantise"), f"int{bits}"
                c = {(8, True): lambda: self.quantisers.q8(at(q), at(s), at(a), size),
                     (4, True): lambda: self.quantisers.q4(at(q), at(s), at(a), size),
                     (8, False): lambda: self.quantisers.dq(at(o), at(q), at(s), size),
                     (4, False): lambda: self.quantisers.dq4(at(o), at(q), at(s), size)}[bits, quantise]
                python = {(8, True): lambda: numpy_quantise(127), (4, True): numpy_quantise4,
                          (8, False): lambda: np.multiply(q.reshape(-1, 256), s[:, None], out=o.reshape(-1, 256)),
                          (4, False): numpy_dequantise4}[bits, quantise]
                rows = {"ours": lambda: self.ours(op, dtype, 1, n), "C": lambda: timed(c), "numpy": lambda: timed(python)}
                if piquant:
                    rows["pi-quant"] = lambda: timed(pi(bits, quantise))
                    if quantise:
                        rows["pi-quant, scale given"] = lambda: timed(given(bits))
                medians = self.show(f"{op} {dtype}, {mib} MiB", rows, 4 * n)
                print("    ours / " + ", ".join(
                    f"{name} {medians[name] / medians['ours']:.2f}" for name in rows if name != "ours"), flush=True)
            MAPPED.clear()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["sum2", "sum8", "fused", "quant"])
    arguments = parser.parse_args()
    bench = Bench(arguments.longhaul, arguments.rounds)
    for part in [arguments.only] if arguments.only else ["sum2", "sum8", "fused", "quant"]:
        getattr(bench, part)()
    if bench.mpi:
        bench.mpi.stop()


if __name__ == "__main__":
    main()
