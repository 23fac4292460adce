"""XXH3-64 with seed 0, in plain Python.

Written from the algorithm's description (xxHash specification, XXH3 section); exact for every
length. About 5 MB/s: enough for a client and for test vectors, not for training.
"""

_MASK32 = 0xFFFF_FFFF
_MASK64 = 0xFFFF_FFFF_FFFF_FFFF

_P32_1, _P32_2, _P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_P64_1, _P64_2, _P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P64_4, _P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MIX_1, _MIX_2 = 0x165667919E3779F9, 0x9FB21C651E98DF25

# The default secret, 192 bytes.
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)

_STRIPE = 64
_STRIPES_PER_BLOCK = (len(_SECRET) - _STRIPE) // 8
_BLOCK = _STRIPE * _STRIPES_PER_BLOCK


def _u32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def _u64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def _key(at):
    return _u64(_SECRET, at)


def _fold(a, b):
    """The two halves of a 128-bit product, folded into one."""
    product = a * b
    return (product & _MASK64) ^ (product >> 64)


def _avalanche(h):
    h ^= h >> 37
    h = h * _MIX_1 & _MASK64
    return h ^ (h >> 32)


def _avalanche64(h):
    h ^= h >> 33
    h = h * _P64_2 & _MASK64
    h ^= h >> 29
    h = h * _P64_3 & _MASK64
    return h ^ (h >> 32)


def _rotl(h, bits):
    return (h << bits | h >> (64 - bits)) & _MASK64


def _mix16(data, at, secret_at):
    return _fold(_u64(data, at) ^ _key(secret_at), _u64(data, at + 8) ^ _key(secret_at + 8))


def _up_to_16(data):
    n = len(data)
    if n > 8:
        low = _u64(data, 0) ^ _key(24) ^ _key(32)
        high = _u64(data, n - 8) ^ _key(40) ^ _key(48)
        swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
        return _avalanche(n + swapped + high + _fold(low, high) & _MASK64)
    if n >= 4:
        h = (_u32(data, n - 4) + (_u32(data, 0) << 32)) ^ _key(8) ^ _key(16)
        h ^= _rotl(h, 49) ^ _rotl(h, 24)
        h = h * _MIX_2 & _MASK64
        h ^= (h >> 35) + n
        h = h * _MIX_2 & _MASK64
        return h ^ (h >> 28)
    if n > 0:
        combined = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return _avalanche64(combined ^ _u32(_SECRET, 0) ^ _u32(_SECRET, 4))
    return _avalanche64(_key(56) ^ _key(64))


def _up_to_128(data):
    n = len(data)
    h = n * _P64_1
    for pair in range((n - 1) // 32, -1, -1):
        h += _mix16(data, 16 * pair, 32 * pair)
        h += _mix16(data, n - 16 * (pair + 1), 32 * pair + 16)
    return _avalanche(h & _MASK64)


def _up_to_240(data):
    n = len(data)
    h = n * _P64_1
    for i in range(8):
        h += _mix16(data, 16 * i, 16 * i)
    h = _avalanche(h & _MASK64)
    for i in range(8, n // 16):
        h += _mix16(data, 16 * i, 16 * (i - 8) + 3)
    h += _mix16(data, n - 16, 136 - 17)
    return _avalanche(h & _MASK64)


def _accumulate(acc, data, at, secret_at):
    for lane in range(8):
        value = int.from_bytes(data[at + 8 * lane:at + 8 * lane + 8], "little")
        keyed = value ^ _key(secret_at + 8 * lane)
        acc[lane ^ 1] = acc[lane ^ 1] + value & _MASK64
        acc[lane] = acc[lane] + (keyed & _MASK32) * (keyed >> 32) & _MASK64


def _long(data):
    n = len(data)
    acc = [_P32_3, _P64_1, _P64_2, _P64_3, _P64_4, _P32_2, _P64_5, _P32_1]
    blocks = (n - 1) // _BLOCK
    for block in range(blocks):
        for stripe in range(_STRIPES_PER_BLOCK):
            _accumulate(acc, data, block * _BLOCK + stripe * _STRIPE, 8 * stripe)
        for lane in range(8):
            h = acc[lane]
            h ^= h >> 47
            h ^= _key(len(_SECRET) - _STRIPE + 8 * lane)
            acc[lane] = h * _P32_1 & _MASK64
    for stripe in range((n - 1 - blocks * _BLOCK) // _STRIPE):
        _accumulate(acc, data, blocks * _BLOCK + stripe * _STRIPE, 8 * stripe)
    _accumulate(acc, data, n - _STRIPE, len(_SECRET) - _STRIPE - 7)
    h = n * _P64_1
    for i in range(4):
        h += _fold(acc[2 * i] ^ _key(11 + 16 * i), acc[2 * i + 1] ^ _key(19 + 16 * i))
    return _avalanche(h & _MASK64)


def xxh3_64(data):
    """XXH3-64 (seed 0) of a bytes-like object, as an unsigned integer."""
    data = bytes(data)
    if len(data) <= 16:
        return _up_to_16(data)
    if len(data) <= 128:
        return _up_to_128(data)
    if len(data) <= 240:
        return _up_to_240(data)
    return _long(data)
