#!/usr/bin/python3
"""Our reduction kernels beside numpy, torch, OpenBLAS and plain C, interleaved: every round runs every contestant.

Usage: reduce_peers.py OURS [rounds=5], where OURS is the command that takes `reduce OP DTYPE SOURCES ELEMENTS THREADS` and prints
the JSON of `longhaul bench reduce`. Needs Debian: gcc libopenblas0 python3-numpy python3-torch. One thread. GB/s counts 12 bytes per
element and pairwise addition, 4 (N + 1) for a one-pass sum of N.
"""
import ctypes, json, os, statistics, subprocess, sys, tempfile, time
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
try:
    import torch
    torch.set_num_threads(1)
except ImportError:
    torch = None
OURS = sys.argv[1].split()
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
C = r"""
#include <stdint.h>
__attribute__((noinline)) void add2(float*restrict a,const float*restrict b,long n){for(long i=0;i<n;i++)a[i]+=b[i];}
void sum8(float*restrict o,const float*restrict a,const float*restrict b,const float*restrict c,const float*restrict d,
 const float*restrict e,const float*restrict f,const float*restrict g,const float*restrict h,long n)
 {for(long i=0;i<n;i++)o[i]=a[i]+b[i]+c[i]+d[i]+e[i]+f[i]+g[i]+h[i];}
void dq(float*restrict o,const int8_t*restrict q,const float*restrict s,long n)
 {for(long j=0;j<n/256;j++){float c=s[j];for(int i=0;i<256;i++)o[j*256+i]=c*(float)q[j*256+i];}}
void dqadd(float*restrict o,const int8_t*restrict q,const float*restrict s,long n)
 {for(long j=0;j<n/256;j++){float c=s[j];for(int i=0;i<256;i++)o[j*256+i]+=c*(float)q[j*256+i];}}
void add2r(float*a,const float*b,long n,long r){while(r--){add2(a,b,n);__asm__ volatile("":::"memory");}}
void blasr(void(*f)(int,float,const float*,int,float*,int),float*a,const float*b,long n,long r){while(r--)f((int)n,1.0f,b,1,a,1);}
void copy(float*restrict o,const float*restrict a,long n){for(long i=0;i<n;i++)o[i]=a[i]+0.0f;}
"""
work = tempfile.mkdtemp()
open(f"{work}/p.c", "w").write(C)
subprocess.check_call(["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", f"{work}/p.so", f"{work}/p.c"])
lib = ctypes.CDLL(f"{work}/p.so")
blas = None
for name in ("libopenblas.so.0", "libblas.so.3"):
    try:
        blas = ctypes.CDLL(name)
        break
    except OSError:
        pass


def timed(f):
    f()
    f()
    t = time.perf_counter()
    f()
    repeats = int(0.012 / max(time.perf_counter() - t, 1e-9)) + 1
    t = time.perf_counter()
    for _ in range(repeats):
        f()
    return (time.perf_counter() - t) / repeats


def repeated(f):
    """For contestants which repeat inside C: f(r) runs r times, so that small sizes do not measure the call from Python."""
    f(2)
    t = time.perf_counter()
    f(10)
    repeats = int(0.012 / max((time.perf_counter() - t) / 10, 1e-9)) + 1
    t = time.perf_counter()
    f(repeats)
    return (time.perf_counter() - t) / repeats


def ours(*arguments):
    out = subprocess.check_output(OURS + ["reduce", *map(str, arguments)])
    return json.loads(out)["seconds_median"]


def pointer(a):
    return ctypes.c_void_p(a.ctypes.data)


def show(title, contestants, bytes_moved):
    results = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, f in contestants.items():
            results[name].append(f())
    medians = {name: statistics.median(times) for name, times in results.items()}
    best = min(v for k, v in medians.items() if not k.startswith(("ours", "copy")))
    print(f"{title}: " + ", ".join(f"{k} {bytes_moved / v / 1e9:.1f}" for k, v in medians.items())
          + f" GB/s; ours / best peer {best / medians['ours']:.2f}", flush=True)


for n in (4096, 65536, 1 << 20, 1 << 22, 1 << 24, 1 << 25):
    a, b = np.zeros(n, np.float32), np.full(n, 1e-9, np.float32)
    peers = {"ours": lambda: ours("sum", "fp32", 2, n, 1),
             "C": lambda: repeated(lambda r: lib.add2r(pointer(a), pointer(b), ctypes.c_long(n), ctypes.c_long(r))),
             "numpy": lambda: timed(lambda: np.add(a, b, out=a))}
    if torch:
        x, y = torch.from_numpy(a), torch.from_numpy(b)
        peers["torch"] = lambda: timed(lambda: x.add_(y))
    if blas:
        peers["OpenBLAS"] = lambda: repeated(lambda r: lib.blasr(
            ctypes.cast(blas.cblas_saxpy, ctypes.c_void_p), pointer(a), pointer(b), ctypes.c_long(n), ctypes.c_long(r)))
    show(f"2 x fp32 in place, {n * 4 // 1024} KiB", peers, 12 * n)

for n in (1 << 22, 1 << 24):
    sources = [np.full(n, 1e-9, np.float32) for _ in range(8)]
    out = np.zeros(n, np.float32)

    def pairwise():
        np.add(sources[0], sources[1], out=out)
        for s in sources[2:]:
            np.add(out, s, out=out)

    def pairwise_c():
        lib.copy(pointer(out), pointer(sources[0]), ctypes.c_long(n))
        for s in sources[1:]:
            lib.add2(pointer(out), pointer(s), ctypes.c_long(n))

    one = lambda: lib.sum8(pointer(out), *map(pointer, sources), ctypes.c_long(n))
    show(f"8 x fp32, {n * 4 >> 20} MiB", {
        "ours": lambda: ours("sum", "fp32", 8, n, 1), "numpy pairwise": lambda: timed(pairwise),
        "C pairwise": lambda: timed(pairwise_c), "C one pass": lambda: timed(one),
        "copy": lambda: timed(lambda: lib.copy(pointer(out), pointer(sources[0]), ctypes.c_long(n))) * 36 / 8}, 36 * n)
    codes = [np.random.randint(-127, 128, n).astype(np.int8) for _ in range(8)]
    scales = np.full(n // 256, 1e-9, np.float32)
    buffer = np.zeros(n, np.float32)

    def decode_then_add():
        for index, q in enumerate(codes):
            lib.dq(pointer(buffer if index else out), pointer(q), pointer(scales), ctypes.c_long(n))
            if index:
                lib.add2(pointer(out), pointer(buffer), ctypes.c_long(n))

    def decode_add():
        lib.dq(pointer(out), pointer(codes[0]), pointer(scales), ctypes.c_long(n))
        for q in codes[1:]:
            lib.dqadd(pointer(out), pointer(q), pointer(scales), ctypes.c_long(n))

    show(f"8 x int8 to fp32, {n * 4 >> 20} MiB", {
        "ours": lambda: ours("sum", "int8", 8, n, 1), "C decode then add": lambda: timed(decode_then_add),
        "C decode-add": lambda: timed(decode_add)}, 12 * n)
