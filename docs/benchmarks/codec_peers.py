#!/usr/bin/python3
"""Every chunk codec on files of fp32 values, and blosc2 beside it, one thread, interleaved: every round runs every contestant once.

    docs/benchmarks/codec_peers.py FILE.f32... [--longhaul .build/release/longhaul] [--rounds 5]

For blosc2: `pip install --target DIR blosc2` outside the repository and PYTHONPATH=DIR. GB/s counts the bytes a codec is given: 4 per
value, or 2 where values were rounded to bf16 before. Prints two Markdown tables per file: all codecs, and the lossless ones
beside blosc2's with the ratios of rates.
"""
import argparse
import json
import statistics
import subprocess
import time

import numpy as np
try:
    import blosc2
    blosc2.set_nthreads(1)
except ImportError:
    blosc2 = None


def timed(f, size):
    f()
    t = time.perf_counter()
    f()
    repeats = int(0.012 / (time.perf_counter() - t)) + 1
    samples = []
    for _ in range(5):
        t = time.perf_counter()
        for _ in range(repeats):
            f()
        samples.append(size * repeats / (time.perf_counter() - t) / 1e9)
    return statistics.median(samples)


def peers(values):
    """name -> (raw bytes, element size, codec, filter, level)"""
    words = values.view(np.uint32)
    halves = ((words + 0x7FFF + ((words >> 16) & 1)) >> 16).astype(np.uint16)
    rows = {}
    for kind, data in (("fp32", values), ("bf16", halves)):
        for filter_name, filter_ in (("shuffle", blosc2.Filter.SHUFFLE), ("bitshuffle", blosc2.Filter.BITSHUFFLE)):
            for name, codec, level in (("LZ4", blosc2.Codec.LZ4, 5), ("zstd", blosc2.Codec.ZSTD, 1)):
                rows[f"{kind} {filter_name} + {name}"] = (data.tobytes(), data.itemsize, codec, filter_, level)
    return rows


def measure_peer(raw, size, codec, filter_, level):
    encode = lambda: blosc2.compress2(
        raw, typesize=size, codec=codec, clevel=level, filters=[filter_], filters_meta=[0], nthreads=1)
    packed = encode()
    assert bytes(blosc2.decompress2(packed, nthreads=1)) == raw
    return len(raw) / len(packed), timed(encode, len(raw)), timed(lambda: blosc2.decompress2(packed, nthreads=1), len(raw))


PAIRS = [("fp32-planes-lz4", "fp32", "LZ4"), ("fp32-planes-zstd", "fp32", "zstd"),
         ("bf16-planes-lz4", "bf16", "LZ4"), ("bf16-planes-zstd", "bf16", "zstd")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--longhaul", default=".build/release/longhaul")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for file in arguments.files:
        values = np.fromfile(file, "<f4")
        theirs = peers(values) if blosc2 else {}
        mine, other = {}, {name: [] for name in theirs}
        for _ in range(arguments.rounds):
            # One codec at a time, so that ours and theirs see the same minute of a shared machine.
            out = subprocess.check_output(
                [arguments.longhaul, "bench", "codec", "--input", file, "--list", "--json"], text=True)
            for line in out.splitlines():
                row = json.loads(line)
                mine.setdefault(row["codec"], []).append(row)
            for name, peer in theirs.items():
                other[name].append(measure_peer(*peer))
        print(f"\n{file}: {len(values):,} values\n\n"
              "| codec | bits / value | ratio | encode | decode | relative squared error |\n|---|---|---|---|---|---|")
        median = lambda rows, key: statistics.median(row[key] for row in rows)
        for name, rows in mine.items():
            bits = rows[0]["bits_per_value"]
            print(f"| {name} | {bits:.3f} | {32 / bits:.2f} | {median(rows, 'encode_gigabytes_per_second'):.1f} | "
                  f"{median(rows, 'decode_gigabytes_per_second'):.1f} | {rows[0]['relative_squared_error']:.2g} |")
        if not theirs:
            continue
        best = {name: tuple(statistics.median(column) for column in zip(*rows)) for name, rows in other.items()}
        print(f"\nblosc2 {blosc2.__version__}\n\n| of the same bytes | ratio | encode | decode |\n|---|---|---|---|")
        for ours, kind, stage in PAIRS:
            share = 1 if kind == "fp32" else 2
            rows = mine[ours]
            figures = (32 / rows[0]["bits_per_value"] / share, median(rows, "encode_gigabytes_per_second") / share,
                       median(rows, "decode_gigabytes_per_second") / share)
            print(f"| **{ours}** | {figures[0]:.3f} | {figures[1]:.2f} | {figures[2]:.1f} |")
            for name, peer in best.items():
                if name.startswith(kind) and name.endswith(stage):
                    print(f"| blosc2 {name} | {peer[0]:.3f} ({figures[0] / peer[0]:.2f}) | {peer[1]:.2f} "
                          f"({figures[1] / peer[1]:.2f}) | {peer[2]:.1f} ({figures[2] / peer[2]:.2f}) |")
        print("In brackets: ours / theirs.", flush=True)


if __name__ == "__main__":
    main()
