#!/usr/bin/python3
"""Writes a text of two topics: Webster's dictionary, then Python sources.

    docs/benchmarks/two_topics.py OUTPUT [MEGABYTES_OF_EACH]

The first half of the training part is English (Debian's dict-gcide), the second half the standard
library's sources, in the order of their paths. The validation part, the last 2 % (64 KiB to 1 MiB:
Corpus.swift), takes turns between the two every 4 KiB, with text that is in no training part. So
`text: {from: 0, to: 0.5}` and `{from: 0.5, to: 1}` are two regions of one topic each.
"""

import gzip
import sys
from pathlib import Path

PIECE = 4 << 10


def webster(count):
    with gzip.open("/usr/share/dictd/gcide.dict.dz", "rb") as file:
        return file.read(count)


def sources(count):
    text = bytearray()
    for path in sorted(Path("/usr/lib/python3.11").rglob("*.py")):
        text += path.read_bytes()
        if len(text) >= count:
            return bytes(text[:count])
    sys.exit(f"only {len(text)} bytes of Python sources here, not {count}")


def main():
    output, *rest = sys.argv[1:]
    each = int(float(rest[0]) * 1e6) if rest else 4_000_000
    # With b = 2 each / 0.98 bytes in all the last 2 % are the validation part.
    held = min(max(round(2 * each / 49), 64 << 10), 1 << 20)
    half = held // 2
    topics = [webster(each + half), sources(each + half)]
    validation = bytearray()
    for start in range(0, half, PIECE):
        for topic in topics:
            validation += topic[each + start:each + min(start + PIECE, half)]
    text = topics[0][:each] + topics[1][:each] + validation
    Path(output).write_bytes(text)
    print(f"{output}: {len(text)} bytes, {each} of each topic and {len(validation)} held back")


main()
