"""Chunks of the Longhaul protocol, version 1: payload bytes to values (sections 7.5 and 7.6).

Written from Protocols/longhaul-1.md alone, in plain Python 3.11 with its own LZ4 block decoder; Zstandard frames need Debian's
python3-zstandard. Slow on purpose: every rule of the text is one line here.

    values = decode(payload, transform=4, stage=2, elements=300)    # -> binary32 bit patterns, or ChunkError
"""

import struct

CHUNK_ELEMENTS_MOST = 196_608
BLOCK = 256
GROUP = 4_096
FP32, BF16, FP16, INT8, INT4, E3M0, TOPK = range(7)
STORED, LZ4, ZSTD, LZ4_PLANES, ZSTD_PLANES, RICE = range(6)
WIDTH = {FP32: 4, BF16: 2, FP16: 2}
POISONED_SCALE = 0x7FC00000
POISONED_LEVEL = 0x7FC0


class ChunkError(ValueError):
    """A payload no sender writes; the message says which rule it breaks."""


def require(condition, what):
    if not condition:
        raise ChunkError(what)


def ceil(a, b):
    return -(-a // b)


def allows(transform, stage):
    """Which stages are defined after which transforms."""
    if stage in (LZ4_PLANES, ZSTD_PLANES):
        return transform in WIDTH
    return stage != RICE or transform == TOPK


def kept(elements):
    return ceil(elements, 64)


def body_bytes(transform, elements):
    scales = 4 * ceil(elements, BLOCK)
    if transform == TOPK:
        return 4 * ceil(elements, GROUP) + 2 * kept(elements)
    if transform in WIDTH:
        return WIDTH[transform] * elements
    return scales + (elements if transform == INT8 else ceil(elements, 2))


def decode(payload, transform, stage, elements):
    """The bit patterns of the `elements` binary32 values which the payload stands for."""
    require(transform in range(7) and stage in range(6), "unknown transform or stage")
    require(0 < elements <= CHUNK_ELEMENTS_MOST, "a chunk holds 1 to 196,608 values")
    require(allows(transform, stage), "this stage is not defined after this transform")
    size = body_bytes(transform, elements)
    if stage == STORED:
        body = bytes(payload)
    else:
        require(0 < len(payload) < size, "a compressed payload is shorter than its body")
        body = unpack(bytes(payload), transform, stage, elements, size)
    require(len(body) == size, f"a body of {len(body)} bytes instead of {size}")
    return values_of(body, transform, elements)


def unpack(payload, transform, stage, elements, size):
    if stage == LZ4:
        return lz4_block(payload, size)
    if stage == ZSTD:
        return zstd_frame(payload, size)
    if stage == RICE:
        return rice(payload, elements)
    return planes(payload, WIDTH[transform], stage, elements)


# --- section 7.5: values

def values_of(body, transform, elements):
    if transform == FP32:
        return list(struct.unpack(f"<{elements}I", body))
    if transform == BF16:
        return [half << 16 for half in struct.unpack(f"<{elements}H", body)]
    if transform == FP16:
        return [binary16(half) for half in struct.unpack(f"<{elements}H", body)]
    if transform == TOPK:
        return sparse(body, elements)
    return scaled(body, transform, elements)


def binary16(half):
    sign, exponent, fraction = (half >> 15) << 31, half >> 10 & 31, half & 1023
    if exponent == 31:
        return sign | 0x7F800000 | fraction << 13
    value = fraction * 2.0 ** -24 if exponent == 0 else (1024 + fraction) * 2.0 ** (exponent - 25)
    return sign | bits_of(value)


def bits_of(value):
    """A double, rounded once to binary32, as bits."""
    try:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        return 0xFF800000 if value < 0 else 0x7F800000


def float_of(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def product(scale_bits, code):
    """code x scale: exact as a double, so rounded once. A NaN keeps its pattern."""
    return scale_bits if scale_bits == POISONED_SCALE else bits_of(float_of(scale_bits) * code)


def scaled(body, transform, elements):
    blocks = ceil(elements, BLOCK)
    scales, codes = struct.unpack(f"<{blocks}I", body[:4 * blocks]), body[4 * blocks:]
    result = []
    for index, scale in enumerate(scales):
        require(scale < 0x7F800000 or scale == POISONED_SCALE, "a scale is negative, infinite or another NaN")
        count = min(BLOCK, elements - index * BLOCK)
        if transform == INT8:
            part = codes[index * BLOCK:index * BLOCK + count]
            result += [product(scale, float(code - 256 if code > 127 else code)) for code in part]
            continue
        half = ceil(count, 2)
        part = codes[index * BLOCK // 2:index * BLOCK // 2 + half]
        nibbles = [byte & 15 for byte in part] + [byte >> 4 for byte in part]
        require(not any(nibbles[count:]), "the unused half byte is not zero")
        for code in nibbles[:count]:
            require(code != (0 if transform == INT4 else 8), "a code no sender writes")
            result.append(product(scale, int4(code) if transform == INT4 else e3m0(code)))
    return result


def int4(code):
    return float(code - 8)


def e3m0(code):
    magnitude = 2.0 ** ((code & 7) - 7) if code & 7 else 0.0
    return -magnitude if code & 8 else magnitude


def sparse(body, elements):
    groups = ceil(elements, GROUP)
    levels = struct.unpack(f"<{2 * groups}H", body[:4 * groups])
    entries = struct.unpack(f"<{kept(elements)}H", body[4 * groups:])
    result, at = [0] * elements, 0
    for group in range(groups):
        low, high = levels[2 * group:2 * group + 2]
        require(low <= high <= 0x7F80 or low == high == POISONED_LEVEL, "levels out of order")
        count, last = min(GROUP, elements - group * GROUP), -1
        for entry in entries[at:at + kept(count)]:
            position = entry & 0xFFF
            require(entry >> 14 == 0, "unused bits of an entry are set")
            require(last < position < count, "positions do not ascend inside their group")
            level = high if entry & 1 << 12 else low
            result[group * GROUP + position] = (level | (entry & 1 << 13) << 2) << 16
            last = position
        at += kept(count)
    return result


# --- section 7.6: stages

def lz4_block(data, limit):
    """One LZ4 block: sequences of literals and a match; the last has literals only."""
    out, at = bytearray(), 0

    def byte():
        nonlocal at
        require(at < len(data), "an LZ4 block ends early")
        at += 1
        return data[at - 1]

    def length(nibble):
        total = nibble
        while nibble == 15 or nibble == 255:
            nibble = byte()
            total += nibble
        return total

    while True:
        token = byte()
        literals = length(token >> 4)
        require(at + literals <= len(data), "LZ4 literals end early")
        out += data[at:at + literals]
        at += literals
        require(len(out) <= limit, "an LZ4 block holds more than the body")
        if at == len(data):
            return bytes(out)
        offset = byte() | byte() << 8
        require(0 < offset <= len(out), "an LZ4 match starts before the block")
        match = length(token & 15) + 4
        require(len(out) + match <= limit, "an LZ4 block holds more than the body")
        for _ in range(match):
            out.append(out[-offset])


def zstd_frame(data, size):
    """One Zstandard frame which states its content size, and nothing after it."""
    import zstandard  # Debian: python3-zstandard
    try:
        stated = zstandard.get_frame_parameters(data).content_size
        require(stated == size, "a Zstandard frame states another size")
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        out = decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise ChunkError(f"a malformed Zstandard frame: {error}") from error
    require(len(out) == size, "a Zstandard frame ends early")
    require(not decompressor.unused_data, "bytes follow the Zstandard frame")
    return out


def planes(data, width, stage, elements):
    columns, at = [], 0
    for plane in range(width):
        bit_planes = plane == 0 and stage == LZ4_PLANES
        size = BLOCK * ceil(elements, BLOCK) if bit_planes else elements
        require(at + 4 <= len(data), "a plane's header is missing")
        header, = struct.unpack("<I", data[at:at + 4])
        stored, at = header & 0x7FFFFFFF, at + 4
        require(at + stored <= len(data), "a plane ends early")
        column, at = data[at:at + stored], at + stored
        if header >> 31:
            require(0 < stored < size, "a compressed plane is shorter than the plane")
            column = lz4_block(column, size) if stage == LZ4_PLANES else zstd_frame(column, size)
        require(len(column) == size, "a plane has the wrong size")
        columns.append(exponents(column, elements) if bit_planes else column)
    require(at == len(data), "bytes follow the planes")
    mask, top = (1 << 8 * width) - 1, 8 * width - 1
    body = bytearray()
    for parts in zip(*columns):
        value = int.from_bytes(parts, "big")
        body += (value >> 1 | (value & 1) << top & mask).to_bytes(width, "little")
    return bytes(body)


def exponents(bit_planes, elements):
    """Eight bit planes of Gray codes back to bytes."""
    padded = len(bit_planes)
    size, result = padded // 8, bytearray(padded)
    for index in range(padded):
        group, row, column = index // 256, index % 256 // 32, index % 32
        gray = sum((bit_planes[bit * size + group * 32 + column] >> row & 1) << bit for bit in range(8))
        binary = gray ^ gray >> 1
        binary ^= binary >> 2
        result[index] = binary ^ binary >> 4
    require(not any(result[elements:]), "the exponents' padding is not zero")
    return bytes(result[:elements])


def rice(data, elements):
    levels = 4 * ceil(elements, GROUP)
    require(len(data) > 1 + levels, "a Rice stream ends early")
    parameter, stream = data[0], data[1 + levels:]
    require(parameter <= 11, "a Rice parameter above 11")
    at = 0

    def bit():
        nonlocal at
        require(at < 8 * len(stream), "a Rice stream ends early")
        at += 1
        return stream[(at - 1) // 8] >> (at - 1) % 8 & 1

    entries = []
    for group in range(ceil(elements, GROUP)):
        count, following = min(GROUP, elements - group * GROUP), 0
        for _ in range(kept(count)):
            quotient = 0
            while bit():
                quotient += 1
            gap = quotient << parameter | sum(bit() << i for i in range(parameter))
            position = following + gap
            require(position < count, "a Rice gap leaves its group")
            entries.append(position | bit() << 12 | bit() << 13)
            following = position + 1
    require(ceil(at, 8) == len(stream), "bytes follow the Rice stream")
    require(at % 8 == 0 or stream[-1] >> at % 8 == 0, "unused bits of a Rice stream are set")
    return data[1:1 + levels] + struct.pack(f"<{len(entries)}H", *entries)
