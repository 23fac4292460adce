"""Chunks built by hand, for ../vectors/chunks-by-hand.json: corners of every transform and stage which an encoder seldom or never
reaches, and payloads that break one rule each. `make_vectors.py` writes the file.

The blocks and frames are assembled byte by byte, without a compressor. "values" are binary32 patterns in hexadecimal, stated here
and not taken from a decoder; those behind the last listed are 0. A chunk without "values" must be refused.
"""

import struct

def f32(*values):
    return struct.pack(f"<{len(values)}f", *values)


def u16(*values):
    return struct.pack(f"<{len(values)}H", *values)


def bits(*values):
    return [f"{word:x}" for word in struct.unpack(f"<{len(values)}I", f32(*values))]


def lz4_run(byte, count):
    """One LZ4 block of `count` >= 20 equal bytes: a literal, a match at offset 1, five literals."""
    match = count - 6 - 4
    head, rest = bytes([0x10 | min(match, 15), byte, 1, 0]), b""
    if match >= 15:
        rest = b"\xff" * ((match - 15) // 255) + bytes([(match - 15) % 255])
    return head + rest + b"\x50" + bytes([byte]) * 5


def lz4_literals(data):
    """One LZ4 block without a match."""
    size = len(data)
    if size < 15:
        return bytes([size << 4]) + data
    return b"\xf0" + b"\xff" * ((size - 15) // 255) + bytes([(size - 15) % 255]) + data


def lz4_sequence(literals, offset, match):
    """Literals, then a match which is not the end."""
    token, rest = 0, b""
    size = len(literals)
    token |= min(size, 15) << 4 | min(match - 4, 15)
    if size >= 15:
        rest += b"\xff" * ((size - 15) // 255) + bytes([(size - 15) % 255])
    rest += literals + struct.pack("<H", offset)
    if match - 4 >= 15:
        rest += b"\xff" * ((match - 19) // 255) + bytes([(match - 19) % 255])
    return bytes([token]) + rest


def gray_planes(byte, count, padding=0):
    """Bit planes of `count` equal bytes, padded to a multiple of 256 with `padding`."""
    padded = -(-count // 256) * 256
    data = bytes([byte]) * count + bytes([padding]) * (padded - count)
    result = bytearray(padded)
    for index, value in enumerate(data):
        group, row, column = index // 256, index % 256 // 32, index % 32
        for bit in range(8):
            result[bit * (padded // 8) + group * 32 + column] |= ((value ^ value >> 1) >> bit & 1) << row
    return bytes(result)


def lz4_runs(data):
    """Runs of equal bytes as literal and match, the rest and the last 12 bytes as literals."""
    out, pending, at = b"", b"", 0
    while at < len(data) - 12:
        run = 1
        while at + run < len(data) - 12 and data[at + run] == data[at]:
            run += 1
        pending += data[at:at + 1]
        if run >= 5:
            out += lz4_sequence(pending, 1, run - 1)
            pending = b""
            at += run
        else:
            at += 1
    return out + lz4_literals(pending + data[at:])


def zstd(blocks, stated):
    """A Zstandard frame: single segment, `stated` content size in 4 bytes (none if None), and blocks of (type, size, bytes):
    type 0 raw, 1 one byte repeated."""
    head = b"\x28\xb5\x2f\xfd"
    head += b"\x00\x58" if stated is None else b"\xa0" + struct.pack("<I", stated)
    body = b""
    for index, (kind, size, data) in enumerate(blocks):
        last = index == len(blocks) - 1
        body += (size << 3 | kind << 1 | last).to_bytes(3, "little") + data
    return head + body


def zstd_run(byte, count):
    return zstd([(1, count, bytes([byte]))], count)


def plane(data, compressed=False, size=None):
    return struct.pack("<I", (len(data) if size is None else size) | compressed << 31) + data


def stream(codes):
    """(value, bits) pairs, least significant bit first; unused bits zero."""
    value = at = 0
    for code, size in codes:
        value |= code << at
        at += size
    return value.to_bytes((at + 7) // 8, "little")


def gap(gap, r, flags):
    quotient = gap >> r
    return [((1 << quotient) - 1, quotient + 1), (gap & (1 << r) - 1, r), (flags, 2)]


def nibbles(codes):
    half = (len(codes) + 1) // 2
    high = codes[half:] + [0] * (2 * half - len(codes))
    return bytes(a | b << 4 for a, b in zip(codes, high))


def accepted():
    nan = b"\x00\x00\xc0\x7f"
    yield "bf16: negative zero, the smallest, infinities, a NaN", 1, 0, u16(0x8000, 1, 0x7F80, 0xFF80, 0x7FC1), [
        "80000000", "10000", "7f800000", "ff800000", "7fc10000"]
    yield "fp16: subnormals, the smallest normal, the largest, infinities, a NaN", 2, 0, u16(
        1, 0x83FF, 0x400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00), [
        "33800000", "b87fc000", "38800000", "477fe000", "7f800000", "ff800000", "7fc00000"]
    yield "int8: ends of the range, a scale of zero in the second block", 3, 0, (
        f32(0.5, 0) + bytes([127, 0x81, 1, 0xFF]) + bytes(252) + b"\x00"), bits(63.5, -63.5, 0.5, -0.5, *[0] * 253)
    yield "int8: a product beyond the largest number", 3, 0, b"\xff\xff\x7f\x7f\x02\xfe", ["7f800000", "ff800000"]
    yield "int8: a poisoned block", 3, 0, nan + bytes(3), ["7fc00000"] * 3
    yield "int4: every code", 4, 0, f32(0.25) + nibbles(list(range(1, 16))), bits(*[(c - 8) / 4 for c in range(1, 16)])
    yield "int4: a poisoned block of odd length", 4, 0, nan + nibbles([8, 8, 8]), ["7fc00000"] * 3
    yield "int4: a denormal scale", 4, 0, b"\x03\x00\x00\x00" + nibbles([9, 7]), ["3", "80000003"]
    levels = [(1 if code < 8 else -1) * 2.0 ** ((code & 7) - 7) for code in range(1, 16) if code != 8]
    yield "e3m0: every code", 5, 0, f32(3) + nibbles([0] + [c for c in range(1, 16) if c != 8]), bits(
        0, *[3 * level for level in levels])
    yield "e3m0: a poisoned block", 5, 0, nan + nibbles([0, 0]), ["7fc00000"] * 2
    yield "e3m0: a last block of one value", 5, 0, f32(1, 2) + bytes(128) + b"\x0f", bits(*[0] * 256, -2)
    yield "topk: levels, signs, the last position of a group", 6, 0, (
        u16(0x3F80, 0x4000) + u16(0x0000, 0x3000 | 69)), bits(1, *[0] * 68, -2)
    yield "topk: a poisoned group", 6, 0, u16(0x7FC0, 0x7FC0) + u16(2), ["0", "0", "7fc00000", "0"]
    for transform, name in ((0, "fp32"), (1, "bf16"), (2, "fp16"), (3, "int8"), (5, "e3m0")):
        size = {0: 2048, 1: 1024, 2: 1024, 3: 520, 5: 264}[transform]
        yield f"{name}-lz4: zeros", transform, 1, lz4_run(0, size), ["0"] * 512
        yield f"{name}-zstd: zeros", transform, 2, zstd_run(0, size), ["0"] * 512
    yield "int4-lz4: zeros", 4, 1, lz4_runs(bytes(8) + b"\x88" * 256), ["0"] * 512
    yield "int4-zstd: raw and repeated blocks in one frame", 4, 2, zstd(
        [(0, 8, bytes(8)), (1, 256, b"\x88")], 264), ["0"] * 512
    entries = u16(*range(64))
    yield "topk-lz4: groups alike", 6, 1, lz4_sequence(bytes(8) + entries, 128, 123) + lz4_literals(entries[-5:]), [
        "0"] * 8192
    yield "topk-zstd: a run, then raw entries", 6, 2, zstd(
        [(1, 4 * 8, b"\x00"), (0, 128 * 8, entries * 8)], 1056), ["0"] * 32_768
    for stage, name, run in ((3, "lz4", lz4_run), (4, "zstd", zstd_run)):
        first = lz4_runs(gray_planes(0x7F, 300)) if stage == 3 else zstd_run(0x7F, 300)
        head, zeros = plane(first, True), plane(run(0, 300), True)
        yield f"fp32-planes-{name}: ones", 0, stage, head + zeros * 3, ["3f800000"] * 300
        yield f"fp32-planes-{name}: minus ones, a plane not compressed", 0, stage, (
            head + zeros * 2 + plane(b"\x01" * 300)), ["bf800000"] * 300
        yield f"bf16-planes-{name}: ones", 1, stage, head + zeros, ["3f800000"] * 300
        yield f"fp16-planes-{name}: 1.875, whose bits are 3F80", 2, stage, head + zeros, ["3ff00000"] * 300
    yield "topk-rice: r = 0 and a gap of 40 ones", 6, 5, (
        b"\x00" + u16(0x3F80, 0x4000) + stream(gap(0, 0, 0) + gap(40, 0, 3) + gap(0, 0, 2)
        + gap(0, 0, 0) + gap(0, 0, 0) + gap(0, 0, 0))), bits(1, *[0] * 40, -2, -1, 1, 1, 1, *[0] * 296)
    yield "topk-rice: r = 11, two groups", 6, 5, (
        b"\x0b" + u16(0x3F80, 0x3F80) * 2 + stream(
            [part for _ in range(64) for part in gap(63, 11, 0)] + gap(0, 11, 1))), [
        *["0"] * 63, *(["3f800000", *["0"] * 63] * 63), "3f800000", "3f800000"]


def rejected():
    yield "fp32: a stage that does not exist", 0, 6, bytes(4), 1
    yield "a transform that does not exist", 7, 0, bytes(4), 1
    yield "no values", 0, 0, b"", 0
    yield "more values than a chunk holds", 1, 1, lz4_run(0, 393_218), 196_609
    yield "int8-planes-lz4: no planes in this transform", 3, 3, bytes(4), 64
    yield "int4-rice: no entries in this transform", 4, 5, bytes(4), 64
    for name, transform, tail in (("int8", 3, b"\x00"), ("int4", 4, b"\x08"), ("e3m0", 5, b"\x00")):
        yield f"{name}: an infinite scale", transform, 0, b"\x00\x00\x80\x7f" + tail, 1
        yield f"{name}: another NaN as scale", transform, 0, b"\x01\x00\xc0\x7f" + tail, 1
        yield f"{name}: a scale of negative zero", transform, 0, b"\x00\x00\x00\x80" + tail, 1
    yield "int4: code 0 in a high half", 4, 0, f32(1) + b"\x09", 2
    yield "int4: the unused half byte of an odd block is set", 4, 0, f32(1) + b"\x99\x19", 3
    yield "e3m0: code 8 in a high half", 5, 0, f32(1) + b"\x81", 2
    yield "e3m0: the unused half byte of an odd block is set", 5, 0, f32(1) + b"\x11\x11", 3
    yield "topk: the low level above the high one", 6, 0, u16(0x4000, 0x3F80, 0), 4
    yield "topk: a negative level", 6, 0, u16(0x3F80, 0xBF80, 0), 4
    yield "topk: a NaN as one level", 6, 0, u16(0, 0x7FC0, 0), 4
    yield "topk: another NaN as both", 6, 0, u16(0x7FC1, 0x7FC1, 0), 4
    yield "topk: bit 15 of an entry", 6, 0, u16(0, 0, 0x8000), 4
    yield "topk: a position behind the last", 6, 0, u16(0, 0, 4), 4
    yield "topk: a position twice", 6, 0, u16(0, 0, 3, 3), 70
    yield "topk: positions descend", 6, 0, u16(0, 0, 4, 3), 70
    yield "lz4: longer than the body", 0, 1, lz4_literals(bytes(20)), 5
    yield "lz4: as long as the body", 0, 1, lz4_sequence(bytes(8), 1, 4) + lz4_literals(bytes(8)), 5
    yield "lz4: one byte short", 0, 1, lz4_run(0, 1199), 300
    yield "lz4: one byte over", 0, 1, lz4_run(0, 1201), 300
    yield "lz4: a match before the start", 0, 1, b"\x1f\x00\x02\x00" + lz4_run(0, 1200)[4:], 300
    yield "lz4: a match at offset 0", 0, 1, b"\x1f\x00\x00\x00" + lz4_run(0, 1200)[4:], 300
    yield "lz4: a match at offset 0, near the end", 0, 1, lz4_sequence(bytes(20), 1, 600) + lz4_sequence(
        bytes(20), 0, 550) + lz4_literals(bytes(10)), 300
    yield "lz4: ends in a match", 0, 1, lz4_run(0, 1205)[:-6], 300
    yield "lz4: nothing", 0, 1, b"", 300
    yield "zstd: states another size", 0, 2, zstd([(1, 1200, b"\x00")], 1199), 300
    yield "zstd: ends before the stated size", 0, 2, zstd([(1, 1199, b"\x00")], 1200), 300
    yield "zstd: goes on after the stated size", 0, 2, zstd([(1, 1201, b"\x00")], 1200), 300
    yield "zstd: states no size", 0, 2, zstd([(1, 1200, b"\x00")], None), 300
    yield "zstd: two frames", 0, 2, zstd_run(0, 600) * 2, 300
    yield "zstd: a frame and an empty one", 0, 2, zstd_run(0, 1200) + zstd([(0, 0, b"")], 0), 300
    yield "zstd: a skippable frame", 0, 2, b"\x50\x2a\x4d\x18\x04\x00\x00\x00" + bytes(4), 300
    yield "zstd: a reserved block type", 0, 2, zstd([(3, 1200, b"\x00")], 1200), 300
    head = plane(lz4_runs(gray_planes(0x7F, 300)), True)
    zeros, run = plane(lz4_run(0, 300), True), lz4_run(0, 300)
    bad = plane(lz4_runs(gray_planes(0x7F, 300, 1)), True)
    yield "planes-lz4: the padding of the exponents is not zero", 0, 3, bad + zeros * 3, 300
    yield "planes-lz4: a plane too few", 0, 3, head + zeros * 2, 300
    yield "planes-lz4: a plane too many", 0, 3, head + zeros * 4, 300
    yield "planes-lz4: a byte after the last", 0, 3, head + zeros * 3 + b"\x00", 300
    yield "planes-lz4: a size beyond the end", 0, 3, head + zeros * 2 + plane(run, True, len(run) + 1), 300
    yield "planes-lz4: the largest size", 0, 3, head + zeros * 2 + plane(run, True, 0x7FFFFFFF), 300
    yield "planes-lz4: half a header", 0, 3, head + zeros * 2 + b"\x00\x00", 300
    yield "planes-lz4: an empty compressed plane", 0, 3, head + zeros * 2 + plane(b"", True), 300
    yield "planes-lz4: a plane as long as compressed", 0, 3, head + zeros * 2 + plane(lz4_literals(bytes(297))[:300], True), 300
    yield "planes-lz4: a plain plane one byte short", 0, 3, head + zeros * 2 + plane(bytes(299)), 300
    yield "planes-lz4: a plane of another length", 0, 3, head + zeros * 2 + plane(lz4_run(0, 299), True), 300
    yield "planes-zstd: an LZ4 block in it", 0, 4, plane(zstd_run(0x7F, 300), True) + zeros * 3, 300
    start = u16(0, 0)
    entry = [part for _ in range(4) for part in gap(3, 1, 0)]
    yield "rice: parameter 12", 6, 5, b"\x0c" + start + stream([part for _ in range(2) for part in gap(3, 12, 0)]), 256
    yield "rice: an unused bit is set", 6, 5, b"\x01" + start + stream(entry + [(1, 1)]), 256
    yield "rice: a byte after the stream", 6, 5, b"\x01" + start + stream(entry) + b"\x00", 256
    yield "rice: a bit is missing", 6, 5, b"\x01" + start + stream(entry)[:-1], 256
    yield "rice: a gap leaves the group", 6, 5, b"\x07" + start + stream(gap(255, 7, 0) + gap(0, 7, 0)), 128
    yield "rice: ones without end", 6, 5, b"\x00" + start + b"\xff" * 4, 256
    yield "rice: a position in the next group", 6, 5, (
        b"\x0b" + start * 2 + stream([p for _ in range(63) for p in gap(63, 11, 0)] + gap(64, 11, 0) + gap(0, 11, 0))), 4097


def trimmed(values):
    """Values behind the last one listed are 0."""
    while values and values[-1] == "0":
        values = values[:-1]
    return values


def vectors():
    result = []
    for name, transform, stage, encoded, values in accepted():
        result.append(dict(name=name, transform=transform, stage=stage, elements=len(values),
                           encoded=encoded.hex(), values=trimmed(values)))
    for name, transform, stage, encoded, elements in rejected():
        result.append(dict(name=name, transform=transform, stage=stage, elements=elements, encoded=encoded.hex()))
    return result
