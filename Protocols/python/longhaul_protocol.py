"""Frames of the Longhaul protocol, version 1, in plain Python 3.11.

Written from Protocols/longhaul-1.md alone: it shares no code with the Swift side, so that the two
check each other through Protocols/vectors. Section numbers are the specification's.

    frame = decode(data, "control")          # -> Frame, or FrameError with .name and .offset
    data = encode(frame)                     # the same bytes
"""

import struct
from dataclasses import dataclass, field

from xxh3 import xxh3_64

VERSION = 1
MAGIC = 0x314C484C
HEADER_BYTES = 64
NO_RANK = 0xFFFF
NO_REGION = 0xFFFF

# Section 11.
CONTROL_FRAME_BYTES = 64 * 1024
DATA_PAYLOAD_BYTES = 256 * 1024
DATA_FRAME_BYTES = DATA_PAYLOAD_BYTES + 1024
FRAME_BYTES = {"control": CONTROL_FRAME_BYTES, "data": DATA_FRAME_BYTES}
CHUNK_ELEMENTS = 65_536
CHUNK_ELEMENTS_MOST = 196_608
LANES = 16
EVENT_BYTES = 32 * 1024
CONFIGURATION_BYTES = 48 * 1024
TEXT_BYTES = 1024
ENDPOINT_BYTES = 255
NAME_BYTES = 64
MEMBERS = 1024
FRAGMENTS = 256
RANGES = 256
IN_FLIGHT = 1024
LINKS = 64
DETOURS = 1024
EXPERT_BLOCKS = 1024
PERIODIC_EXPERTS = 8_192
CODECS = 4096

NAME_CHARACTERS = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class FrameError(ValueError):
    """Bytes that are not a frame, or fields that cannot become one (section 9)."""

    def __init__(self, name, offset, what):
        super().__init__(f"{what} ({name} at byte {offset})")
        self.name = name
        self.offset = offset


@dataclass
class Header:
    """What a sender chooses in the first 64 bytes (section 4)."""
    run: int
    incarnation: int
    epoch: int = 0
    rank: int = NO_RANK
    lane: int = 0
    sequence: int = 0
    flags: int = 0


@dataclass
class Frame:
    header: Header
    type: str
    fields: dict = field(default_factory=dict)
    payload: bytes = b""


# ------------------------------------------------------------------------------------------------
# Fields. Each kind reads itself from a Reader and writes itself to a bytearray.

class Reader:
    """The meta part of a frame; offsets count from the start of the frame."""

    def __init__(self, data, start, end):
        self.data, self.position, self.end = data, start, end

    def take(self, count, name):
        if count > self.end - self.position:
            raise FrameError("metaTruncated", self.position,
                             f"{name} needs {count} bytes, {self.end - self.position} are left")
        start = self.position
        self.position += count
        return self.data[start:self.position]


class Integer:
    def __init__(self, code, allowed=None):
        self.codec = struct.Struct("<" + code)
        self.minimum = self.codec.size
        self.allowed = allowed

    def read(self, reader, name):
        start = reader.position
        value, = self.codec.unpack(reader.take(self.codec.size, name))
        self.check(value, name, start)
        return value

    def write(self, value, out, name):
        self.check(value, name, len(out))
        try:
            out += self.codec.pack(value)
        except struct.error as error:
            raise FrameError("outOfRange", len(out), f"{name} is {value}: {error}") from None

    def check(self, value, name, offset):
        if self.allowed and not self.allowed[0] <= value <= self.allowed[1]:
            raise FrameError("outOfRange", offset, f"{name} is {value}, not in {self.allowed}")


class Enum(Integer):
    """An integer of which only some values exist."""

    def __init__(self, code, values):
        super().__init__(code)
        self.values = frozenset(values)

    def check(self, value, name, offset):
        if value not in self.values:
            raise FrameError("invalidEnum", offset, f"{name} has no value {value}")


class Bool(Integer):
    def __init__(self):
        super().__init__("B")

    def read(self, reader, name):
        return bool(super().read(reader, name))

    def write(self, value, out, name):
        super().write(int(value), out, name)

    def check(self, value, name, offset):
        if value not in (0, 1):
            raise FrameError("invalidBool", offset, f"{name} must be 0 or 1, it is {value}")


class Bits(Integer):
    def __init__(self, code, defined):
        super().__init__(code)
        self.defined = defined

    def check(self, value, name, offset):
        if value & ~self.defined:
            raise FrameError("undefinedFlags", offset, f"{name} is {value:#x}")


class Text:
    """str (u16 count) or a blob that holds text (u32 count): UTF-8 without NUL."""

    def __init__(self, limit, prefix="H"):
        self.limit = limit
        self.prefix = struct.Struct("<" + prefix)
        self.minimum = self.prefix.size

    def read(self, reader, name):
        start = reader.position
        count, = self.prefix.unpack(reader.take(self.prefix.size, name))
        if count > self.limit:
            raise FrameError("textTooLong", start, f"{name} has {count} bytes")
        first = reader.position
        raw = reader.take(count, name)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FrameError("invalidUTF8", first + error.start, f"{name}: {error}") from None
        self.check(text, name, start)
        return text

    def write(self, value, out, name):
        raw = value.encode("utf-8")
        if len(raw) > self.limit:
            raise FrameError("textTooLong", len(out), f"{name} has {len(raw)} bytes")
        self.check(value, name, len(out))
        out += self.prefix.pack(len(raw)) + raw

    def check(self, text, name, offset):
        if "\0" in text:
            raise FrameError("nulInText", offset, f"{name} contains a NUL")


class Name(Text):
    """A worker's name."""

    def __init__(self):
        super().__init__(NAME_BYTES)

    def check(self, text, name, offset):
        super().check(text, name, offset)
        if not text or not NAME_CHARACTERS.issuperset(text.encode("utf-8")):
            raise FrameError("invalidName", offset, f"{name} is {text!r}")


class Key32:
    minimum = 32

    def read(self, reader, name):
        return reader.take(32, name).hex()

    def write(self, value, out, name):
        raw = bytes.fromhex(value)
        if len(raw) != 32:
            raise FrameError("outOfRange", len(out), f"{name} has {len(raw)} bytes, not 32")
        out += raw


class Reserved:
    """Zero in this version; no field of its own."""

    def __init__(self, count):
        self.minimum = count

    def read(self, reader, name):
        start = reader.position
        if any(reader.take(self.minimum, name)):
            raise FrameError("reservedNotZero", start, f"{name} must be 0")

    def write(self, value, out, name):
        out += bytes(self.minimum)


class Record:
    """Fields one after another; a dict."""

    def __init__(self, **kinds):
        self.kinds = kinds
        self.minimum = sum(kind.minimum for kind in kinds.values())

    def read(self, reader, name):
        fields = {}
        for key, kind in self.kinds.items():
            value = kind.read(reader, f"{name}.{key}")
            if not isinstance(kind, Reserved):
                fields[key] = value
        return fields

    def write(self, value, out, name):
        known = {key for key, kind in self.kinds.items() if not isinstance(kind, Reserved)}
        if set(value) != known:
            raise ValueError(f"{name} has the fields {sorted(known)}, not {sorted(value)}")
        for key, kind in self.kinds.items():
            kind.write(value.get(key), out, f"{name}.{key}")


class CollectiveKey(Record):
    """12 bytes (section 5.1). Pool scope has no region, region scope must have one."""

    def __init__(self):
        super().__init__(scope=Enum("B", (0, 1)), reserved1=Reserved(1), region=U16,
                         fragment=U16, reserved6=Reserved(2), round=U32)

    def read(self, reader, name):
        scope = self.kinds["scope"].read(reader, f"{name}.scope")
        self.kinds["reserved1"].read(reader, f"{name}.reserved1")
        at = reader.position
        region = U16.read(reader, f"{name}.region")
        self.check(scope, region, name, at)
        fragment = U16.read(reader, f"{name}.fragment")
        self.kinds["reserved6"].read(reader, f"{name}.reserved6")
        return {"scope": scope, "region": region, "fragment": fragment,
                "round": U32.read(reader, f"{name}.round")}

    def write(self, value, out, name):
        self.check(value["scope"], value["region"], name, len(out) + 2)
        super().write(value, out, name)

    @staticmethod
    def check(scope, region, name, offset):
        if (scope == 1) != (region == NO_REGION):
            raise FrameError("outOfRange", offset, f"{name}.region {region} in scope {scope}")


class List:
    """u16 count, then the items."""

    minimum = 2

    def __init__(self, item, limit):
        self.item, self.limit = item, limit

    def read(self, reader, name):
        start = reader.position
        count = U16.read(reader, name)
        if count > self.limit:
            raise FrameError("listTooLong", start, f"{name} has {count} entries")
        needed, left = count * self.item.minimum, reader.end - reader.position
        if needed > left:
            raise FrameError("metaTruncated", reader.position,
                             f"{name} needs {needed} bytes, {left} are left")
        items = []
        for _ in range(count):
            at = reader.position
            items.append(self.item.read(reader, name))
            self.check(items, at, name)
        return items

    def write(self, value, out, name):
        if len(value) > self.limit:
            raise FrameError("listTooLong", len(out), f"{name} has {len(value)} entries")
        U16.write(len(value), out, name)
        for index, item in enumerate(value):
            self.check(value[:index + 1], len(out), name)
            self.item.write(item, out, name)

    def check(self, items, offset, name):
        """Whether the last of `items`, which begins at `offset`, may follow the others."""


class ExpertBlocks(List):
    """Ascending, and no block begins before the end of the one before it."""

    def check(self, items, offset, name):
        if len(items) < 2:
            return
        last, start = items[-2], items[-1]["start"]
        end = last["start"] + last["each"] * last["count"]
        if start < end:
            raise FrameError("outOfRange", offset,
                             f"{name}.start is {start}, the block before ends at {end}")


U8, U16, U32, U64, I64 = (Integer(code) for code in "BHIQq")
RANK = U16
KEY = CollectiveKey()
SENTENCE = Text(TEXT_BYTES)
REGION = Text(NAME_BYTES)
ENDPOINT = Text(ENDPOINT_BYTES)
CODE = Enum("H", range(1, 18))
TRANSFORM = Enum("B", range(7))
STAGE = Enum("B", range(6))
POSITION = Integer("Q", (0, (1 << 62) - 1))

MEMBER = Record(rank=RANK, workerID=U32, region=U16, name=Name(), endpoint=ENDPOINT,
                dataKey=Key32(), incarnation=U64, microBatch=U32, sampleOffset=U32,
                syncEvery=U32, overlap=U16, lastStep=U32, state=Enum("B", (0, 1)),
                stateSource=RANK, ownerWeight=U32)
DETOUR = Record(a=RANK, b=RANK, relay=RANK)
EXPERT_BLOCK = Record(start=POSITION, each=Integer("Q", (1, 1 << 40)),
                      count=Integer("I", (1, 1024)))
EXPERT_PERIOD = Record(exponent=Integer("B", (0, 4)))
EXPERT_OWNER = Record(region=U16)
TOKEN_BUDGET = Record(**{"from": U16, "to": U16, "tokens": U32})
CODEC = Record(**{"from": U16, "to": U16, "transform": TRANSFORM})
FRAGMENT = Record(id=U16, round=U32, ranges=List(Record(start=POSITION, count=POSITION), RANGES))


class PlanRecord(Record):
    """Section 5.4: no periods, or one for each expert of the blocks; and so with owners."""

    by_expert = ("expertPeriods", "expertOwners")

    def read(self, reader, name):
        fields = {}
        for key, kind in self.kinds.items():
            at = reader.position
            fields[key] = kind.read(reader, f"{name}.{key}")
            if key in self.by_expert:
                self.check(fields, key, name, at)
        return fields

    def write(self, value, out, name):
        for key, kind in self.kinds.items():
            at = len(out)
            kind.write(value[key], out, f"{name}.{key}")
            if key in self.by_expert:
                self.check(value, key, name, at)

    @staticmethod
    def check(fields, key, name, offset):
        entries, experts = (len(fields[key]),
                            sum(block["count"] for block in fields["experts"]))
        if entries not in (0, experts):
            raise FrameError("outOfRange", offset,
                             f"{name}.{key} has {entries} entries for {experts} experts")


class Inner:
    """A type of the data plane and its fields, in another message (section 6.3)."""

    kind = Enum("B", (*range(32, 40), 42))
    # The least that any of those types has.
    minimum = 1 + 8

    def read(self, reader, name):
        inner = NAMES[self.kind.read(reader, f"{name}.type")]
        return {"type": inner, "fields": MESSAGES[inner].record.read(reader, inner)}

    def write(self, value, out, name):
        shape = MESSAGES[value["type"]]
        self.kind.write(shape.number, out, f"{name}.type")
        shape.record.write(value["fields"], out, value["type"])


@dataclass
class Shape:
    """One row of section 5: number, fields, lengths the header may announce, flags."""
    number: int
    record: Record
    meta: tuple
    payload: tuple = (0, 0)
    flags: int = 0


def _shape(number, maximum=None, payload=(0, 0), header_flags=0, **kinds):
    record = (PlanRecord if "expertPeriods" in kinds else Record)(**kinds)
    return Shape(number, record, (record.minimum, maximum or record.minimum), payload, header_flags)


MESSAGES = {
    "HELLO": _shape(
        1, 475, minVersion=U8, maxVersion=U8, worker=Name(), region=REGION, endpoint=ENDPOINT,
        dataKey=Key32(), parameterCount=U64, configurationDigest=U64, round=U32, step=U64,
        stateDigest=U64, samples=U64, sentAt=I64),
    "WELCOME": _shape(
        2, 33 + CONFIGURATION_BYTES, workerID=U32, version=U8, configurationDigest=U64,
        configuration=Text(CONFIGURATION_BYTES, "I"), echoSentAt=I64, coordinatorTime=I64),
    "REFUSE": _shape(
        3, 8 + 2 * TEXT_BYTES, code=CODE, reason=SENTENCE, hint=SENTENCE, minVersion=U8,
        maxVersion=U8),
    "PLAN": _shape(
        4, CONTROL_FRAME_BYTES - HEADER_BYTES, planVersion=U32, activateAtRound=U32,
        members=List(MEMBER, MEMBERS), fragments=List(FRAGMENT, FRAGMENTS),
        regionTransform=TRANSFORM, poolTransform=TRANSFORM, samplesPerStep=U32,
        detours=List(DETOUR, DETOURS), experts=ExpertBlocks(EXPERT_BLOCK, EXPERT_BLOCKS),
        codecs=List(CODEC, CODECS), expertPeriods=List(EXPERT_PERIOD, PERIODIC_EXPERTS),
        expertOwners=List(EXPERT_OWNER, PERIODIC_EXPERTS),
        tokenBudgets=List(TOKEN_BUDGET, CODECS)),
    "READY": _shape(
        5, 14 + 13 * IN_FLIGHT, planVersion=U32, step=U64,
        holdings=List(Record(key=KEY, state=Enum("B", range(3))), IN_FLIGHT)),
    "GO": _shape(
        6, 6 + 15 * IN_FLIGHT, planVersion=U32,
        verdicts=List(Record(key=KEY, verdict=Enum("B", (0, 1)), holder=RANK), IN_FLIGHT)),
    "HEARTBEAT": _shape(
        7, 27 + 2 * MEMBERS, sentAt=I64, step=U64, phase=Enum("B", range(8)),
        waitingForRanks=List(RANK, MEMBERS), samples=U64),
    "HEARTBEAT-ACK": _shape(8, echoSentAt=I64, coordinatorTime=I64),
    "REPORT": _shape(
        9, 56 + 18 * LINKS + 4 * PERIODIC_EXPERTS, key=KEY, digest=U64, step=U64, tokens=U64, samples=U64,
        computeTime=I64,
        links=List(Record(region=U16, acknowledgedBytes=U64, busyTime=I64), LINKS),
        experts=List(Record(tokens=U32), PERIODIC_EXPERTS)),
    "COMMIT": _shape(10, key=KEY, digest=U64, members=U16, allExperts=Bool()),
    "CLOSE": _shape(
        11, 14 + 10 * MEMBERS, key=KEY,
        contributions=List(Record(rank=RANK, weight=U64), MEMBERS)),
    "EVENT": _shape(12, payload=(1, EVENT_BYTES)),
    "SUSPECT": _shape(13, rank=RANK, incarnation=U64, reason=Enum("H", (1, 2, 3, 4, 5))),
    "LEAVE": _shape(14, 4 + TEXT_BYTES, code=U16, reason=SENTENCE),
    "BYE": _shape(15),
    "STOP": _shape(16, 5 + TEXT_BYTES, code=U16, reason=SENTENCE, save=Bool()),
    "EVICTED": _shape(17, 4 + TEXT_BYTES, code=CODE, reason=SENTENCE),
    "ERROR": _shape(
        18, 13 + TEXT_BYTES, code=CODE, text=SENTENCE, offendingType=U8, offendingSequence=U64),
    "ENROL": _shape(19, 164, worker=Name(), region=REGION, controlKey=Key32()),
    "ENROLLED": _shape(20, workerID=U32),
    "OFFER": _shape(21, fragment=U16, step=U64, tokens=U64, steps=U64),
    "LANE-HELLO": _shape(
        32, peerIncarnation=U64, workerID=U32, lanes=Integer("H", (0, LANES)), resumeFrom=U64,
        grantedTo=U64),
    "LANE-WELCOME": _shape(33, resumeFrom=U64, grantedTo=U64),
    "CHUNK": _shape(
        34, payload=(1, DATA_PAYLOAD_BYTES), header_flags=1, key=KEY, kind=Enum("B", (0, 1)),
        transform=TRANSFORM, stage=STAGE, reserved15=Reserved(1), slice=U16, group=U16,
        position=U32, elements=Integer("I", (1, CHUNK_ELEMENTS_MOST)), weight=U64, origin=RANK,
        flags=Bits("H", 1)),
    "ACK": _shape(35, received=U64, grantedTo=U64),
    "PULL": _shape(
        36, key=KEY, kind=Enum("B", (0, 1)), reserved13=Reserved(1), slice=U16, position=U32),
    "STATE-REQUEST": _shape(37, item=Enum("B", range(6)), start=U64, count=U32),
    "STATE-CHUNK": _shape(
        38, payload=(0, DATA_PAYLOAD_BYTES), item=Enum("B", range(6)), start=U64,
        count=Integer("I", (0, CHUNK_ELEMENTS)), total=U64, round=U32, step=U64, digest=U64),
    "LANE-BYE": _shape(39, lastSequence=U64),
    "RELAY": _shape(
        41, 21 + 41, payload=(0, DATA_PAYLOAD_BYTES), origin=U32, destination=U32, epoch=U32,
        sequence=U64, inner=Inner()),
    "TOKENS": _shape(
        42, payload=(0, DATA_PAYLOAD_BYTES), step=U32, exchange=U32, kind=Enum("B", range(4)),
        transform=Enum("B", range(4)), width=Integer("H", (1, 0xFFFF)), words=U16, passes=U16,
        tokens=U32, first=U32, rows=U32, total=U32),
}
NAMES = {shape.number: name for name, shape in MESSAGES.items()}


# ------------------------------------------------------------------------------------------------
# Frames.

_HEADER = struct.Struct("<IBBHQQIHHQIIQQ")
_RESERVED_AT, _CHECKSUM_AT = 48, 56


def checksum(data, medium="wire"):
    """XXH3-64 of a frame with its checksum field taken as zero: of the whole one, or, of one that stays in
    its sender's memory, of what comes before the payload (section 2.1)."""
    end = len(data)
    if medium == "memory":
        end -= struct.unpack_from("<I", data, 44)[0]
    return xxh3_64(bytes(data[:_CHECKSUM_AT]) + bytes(8) + bytes(data[HEADER_BYTES:end]))


def permitted(name, plane):
    """Whether a type may travel on a plane: numbers below 32 are control, ERROR is on both."""
    return name == "ERROR" or (MESSAGES[name].number < 32) == (plane == "control")


def decode(data, plane, medium="wire"):
    """One ZeroMQ message part, or what lies in shared memory, to a Frame; the checks come in the order of
    section 9."""
    data = bytes(data)
    if len(data) < HEADER_BYTES:
        raise FrameError("truncated", len(data), f"a header has {HEADER_BYTES} bytes")
    (magic, version, number, flags, run, incarnation, epoch, rank, lane, sequence, meta, payload,
     reserved, claimed) = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise FrameError("badMagic", 0, f"magic is {magic:#x}")
    if version != VERSION:
        raise FrameError("unsupportedVersion", 4, f"version is {version}")
    if len(data) > FRAME_BYTES[plane]:
        raise FrameError("frameTooLarge", FRAME_BYTES[plane], f"{len(data)} bytes")
    if number not in NAMES:
        raise FrameError("unknownType", 5, f"type {number} does not exist")
    name = NAMES[number]
    shape = MESSAGES[name]
    if not permitted(name, plane):
        raise FrameError("wrongPlane", 5, f"{name} on the {plane} plane")
    if flags & ~shape.flags:
        raise FrameError("undefinedFlags", 6, f"flags are {flags:#x}")
    if reserved:
        raise FrameError("reservedNotZero", _RESERVED_AT, "header.reserved48 must be 0")
    _check_lengths(name, meta, payload)
    total = HEADER_BYTES + meta + payload
    if len(data) < total:
        raise FrameError("truncated", len(data), f"the header announces {total} bytes")
    if len(data) > total:
        raise FrameError("excess", total, f"the header announces {total} bytes")
    if checksum(data, medium) != claimed:
        raise FrameError("checksum", _CHECKSUM_AT, f"XXH3 is {checksum(data, medium):#x}")

    reader = Reader(data, HEADER_BYTES, HEADER_BYTES + meta)
    fields = shape.record.read(reader, name)
    if reader.position != reader.end:
        raise FrameError("metaLeftover", reader.position,
                         f"{reader.end - reader.position} bytes after the last field")
    header = Header(run, incarnation, epoch, rank, lane, sequence, flags)
    frame = Frame(header, name, fields, data[HEADER_BYTES + meta:])
    _check_payload(frame, HEADER_BYTES + meta)
    return frame


def encode(frame):
    """A Frame to bytes; refuses what decode would refuse."""
    shape, header = MESSAGES[frame.type], frame.header
    if header.flags & ~shape.flags:
        raise FrameError("undefinedFlags", 6, f"flags are {header.flags:#x}")
    out = bytearray(HEADER_BYTES)
    shape.record.write(frame.fields, out, frame.type)
    meta = len(out) - HEADER_BYTES
    _check_lengths(frame.type, meta, len(frame.payload))
    plane = "control" if permitted(frame.type, "control") else "data"
    if len(out) + len(frame.payload) > FRAME_BYTES[plane]:
        raise FrameError("frameTooLarge", FRAME_BYTES[plane], "the frame is too large")
    _check_payload(frame, len(out))
    out += frame.payload
    _HEADER.pack_into(
        out, 0, MAGIC, VERSION, shape.number, header.flags, header.run, header.incarnation,
        header.epoch, header.rank, header.lane, header.sequence, meta, len(frame.payload), 0, 0)
    return seal(out)


def seal(data, medium="wire"):
    """Any bytes of at least a header, with the checksum field set right."""
    data = bytearray(data)
    struct.pack_into("<Q", data, _CHECKSUM_AT, checksum(data, medium))
    return bytes(data)


# References to frames in shared memory, section 2.1.

REFERENCE_MAGIC = 0x314D484C
SLOTS, SLOT_BYTES = 1_024, 128 + 262_144
_REFERENCE = struct.Struct("<IIIIIIQ")


def decode_reference(data):
    """32 bytes to the fields of a reference; None: they do not start as one does."""
    data = bytes(data)
    if len(data) < 4 or struct.unpack_from("<I", data)[0] != REFERENCE_MAGIC:
        return None
    if len(data) < _REFERENCE.size:
        raise FrameError("truncated", len(data), f"a reference has {_REFERENCE.size} bytes")
    if len(data) > _REFERENCE.size:
        raise FrameError("excess", _REFERENCE.size, f"a reference has {_REFERENCE.size} bytes")
    _, slot, generation, start, length, reserved, memory = _REFERENCE.unpack(data)
    for value, most, at in ((slot, SLOTS - 1, 4), (generation, 2**30 - 1, 8),
                            (start, SLOT_BYTES, 12), (length, SLOT_BYTES - start, 16)):
        if value > most:
            raise FrameError("outOfRange", at, f"{value} in a reference, at most {most}")
    if reserved:
        raise FrameError("reservedNotZero", 20, "reference.reserved20 must be 0")
    return dict(slot=slot, generation=generation, start=start, length=length, memory=memory)


def encode_reference(fields):
    """The fields of a reference to 32 bytes; refuses what decode_reference would refuse."""
    data = _REFERENCE.pack(REFERENCE_MAGIC, fields["slot"], fields["generation"], fields["start"],
                           fields["length"], 0, fields["memory"])
    decode_reference(data)
    return data


def _check_lengths(name, meta, payload):
    shape = MESSAGES[name]
    if not shape.meta[0] <= meta <= shape.meta[1]:
        raise FrameError("metaLength", 40, f"{name} has {shape.meta} bytes of fields, not {meta}")
    if not shape.payload[0] <= payload <= shape.payload[1]:
        raise FrameError("payloadLength", 44, f"{name} has {shape.payload} bytes, not {payload}")


def _check_payload(frame, start):
    if frame.type == "EVENT":
        try:
            frame.payload.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FrameError("invalidUTF8", start + error.start, f"EVENT: {error}") from None
    type_, fields = frame.type, frame.fields
    if type_ == "RELAY":
        type_, fields = fields["inner"]["type"], fields["inner"]["fields"]
        least, most = MESSAGES[type_].payload
        if not least <= len(frame.payload) <= most:
            raise FrameError("payloadLength", 44, f"{type_} in RELAY: {len(frame.payload)} bytes")
    if type_ == "STATE-CHUNK":
        elements = 0 if fields["item"] == 0 else fields["count"]
        if len(frame.payload) != 4 * elements:
            raise FrameError("payloadLength", 44, f"{elements} elements are {4 * elements} bytes")
    if type_ == "TOKENS":
        values = fields["rows"] * fields["width"]
        body = (4 * values, 2 * values, 2 * values,
                (values + 255) // 256 * 4 + values)[fields["transform"]]
        if values > CHUNK_ELEMENTS_MOST or len(frame.payload) != 4 * fields["rows"] * fields["words"] + body:
            raise FrameError("payloadLength", 44, f"{fields['rows']} rows")
