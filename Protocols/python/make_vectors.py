"""Writes Protocols/vectors/*.json: frames every implementation must accept or refuse alike.

    /usr/bin/python3 Protocols/python/make_vectors.py          # rewrites the files
    /usr/bin/python3 Protocols/python/make_vectors.py --check  # fails if they would change
"""

import json
import struct
import sys
from dataclasses import asdict
from pathlib import Path

import longhaul_protocol as lh
import make_chunks
from xxh3 import xxh3_64

VECTORS = Path(__file__).resolve().parent.parent / "vectors"

RUN = 0x1122334455667788
WORKER = 0x0191_0000_0000_0002
COORDINATOR = 0x0191_0000_0000_0001


def key32(first):
    return bytes((first + i) % 256 for i in range(32)).hex()


def inner(region, step):
    return {"scope": 0, "region": region, "fragment": 0, "round": step}


def outer(fragment, round_):
    return {"scope": 1, "region": lh.NO_REGION, "fragment": fragment, "round": round_}


HELLO = dict(
    minVersion=1, maxVersion=1, worker="lingang-0", region="lingang",
    endpoint="tcp://10.1.0.7:40123", dataKey=key32(1), parameterCount=427_008,
    configurationDigest=0xFEDCBA9876543210, round=7, step=210, stateDigest=0x0123456789ABCDEF,
    samples=1_680, sentAt=1_234_567_890_123)
MEMBERS = [
    dict(rank=0, workerID=0, region=0, name="lingang-0", endpoint="tcp://10.1.0.7:40123",
         dataKey=key32(1), incarnation=WORKER, microBatch=8, sampleOffset=0, syncEvery=50,
         overlap=2, lastStep=300, state=0, stateSource=lh.NO_RANK, ownerWeight=1),
    dict(rank=1, workerID=2, region=1, name="jinan_0.b",
         endpoint="tcp://10.1.0.9:4 ipc:///tmp/l/lanes#0d9c",
         dataKey=key32(200), incarnation=WORKER + 1, microBatch=4, sampleOffset=8, syncEvery=31,
         overlap=65_535, lastStep=2**32 - 1, state=1, stateSource=0, ownerWeight=12_582_912),
]
CHUNK = dict(
    key=outer(1, 7), kind=0, transform=0, stage=0, slice=1, group=1, position=0, elements=3,
    weight=4_096, origin=1, flags=0)
STATE_CHUNK = dict(item=2, start=65_536, count=3, total=427_008, round=7, step=210,
                   digest=0xDEADBEEF)

# (what it is, type, fields, payload, header fields that differ from the default)
TOKENS = dict(step=7, exchange=3, kind=0, transform=0, width=4, words=4, passes=2, tokens=2_048,
              first=127, rows=2, total=1_024)

CONTROL = [
    ("a worker that holds state", "HELLO", HELLO, b"", dict(sequence=1, epoch=0, rank=0xFFFF)),
    ("a worker that wants the configuration first; nothing but its name and key", "HELLO",
     dict(HELLO, worker="a", region="", endpoint="", parameterCount=0, configurationDigest=0,
          round=0, step=0, stateDigest=0, samples=0, sentAt=-1), b"",
     dict(sequence=1, epoch=0, rank=0xFFFF)),
    ("largest values; texts at their limits", "HELLO",
     dict(minVersion=1, maxVersion=255, worker="w" * 64, region="\u00e9" * 32,
          endpoint="e" * 255, dataKey="ff" * 32, parameterCount=2**64 - 1,
          configurationDigest=2**64 - 1, round=2**32 - 1, step=2**64 - 1, stateDigest=2**64 - 1,
          samples=2**64 - 1, sentAt=2**63 - 1), b"",
     dict(run=2**64 - 1, incarnation=2**64 - 1, epoch=2**32 - 1, rank=0xFFFE, lane=0xFFFF,
          sequence=2**64 - 1)),
    ("the seat and the configuration", "WELCOME",
     dict(workerID=2, version=1, configurationDigest=0xFEDCBA9876543210,
          configuration='{"configuration":{"name":"été"},"topology":{}}',
          echoSentAt=1_234_567_890_123, coordinatorTime=-5_000_000), b"", dict(rank=0xFFFF)),
    ("no common version", "REFUSE",
     dict(code=1, reason="this coordinator speaks version 1, the worker 2 to 3",
          hint="start a worker of the coordinator's release", minVersion=1, maxVersion=1), b"",
     dict(rank=0xFFFF)),
    ("the highest code, no texts", "REFUSE",
     dict(code=17, reason="", hint="", minVersion=1, maxVersion=1), b"", dict(rank=0xFFFF)),
    ("two members, one of which needs state; two fragments", "PLAN",
     dict(planVersion=3, activateAtRound=8, members=MEMBERS,
          fragments=[dict(id=0, round=8, ranges=[dict(start=0, count=1000),
                                                 dict(start=5000, count=7)]),
                     dict(id=1, round=9, ranges=[dict(start=1000, count=4000)])],
          regionTransform=0, poolTransform=3, samplesPerStep=12, detours=[], experts=[], codecs=[],
          expertPeriods=[], expertOwners=[],
          tokenBudgets=[]),
     b"", dict(rank=0xFFFF)),
    ("two members that only dial, and two detours", "PLAN",
     dict(planVersion=4, activateAtRound=0,
          members=[dict(member, endpoint="", state=0, stateSource=lh.NO_RANK)
                   for member in MEMBERS],
          fragments=[], regionTransform=0, poolTransform=0, samplesPerStep=0,
          detours=[dict(a=0, b=1, relay=2), dict(a=0, b=3, relay=0xFFFE)], experts=[], codecs=[],
          expertPeriods=[], expertOwners=[],
          tokenBudgets=[]), b"",
     dict(rank=0xFFFF)),
    ("two blocks of experts that count by their own tokens", "PLAN",
     dict(planVersion=5, activateAtRound=0, members=MEMBERS[:1],
          fragments=[dict(id=0, round=1, ranges=[dict(start=0, count=2_000)])],
          regionTransform=0, poolTransform=3, samplesPerStep=4, detours=[],
          experts=[dict(start=100, each=64, count=8), dict(start=1_000, each=1, count=1_024)],
          codecs=[], expertPeriods=[], expertOwners=[],
          tokenBudgets=[]), b"",
     dict(rank=0xFFFF)),
    ("blocks of experts that touch", "PLAN",
     dict(planVersion=6, activateAtRound=0, members=[], fragments=[], regionTransform=0,
          poolTransform=0, samplesPerStep=0, detours=[],
          experts=[dict(start=0, each=64, count=8), dict(start=512, each=1, count=1),
                   dict(start=513, each=2**40, count=1_024)], codecs=[], expertPeriods=[], expertOwners=[],
          tokenBudgets=[]),
     b"", dict(rank=0xFFFF)),
    ("the largest block of experts", "PLAN",
     dict(planVersion=6, activateAtRound=0, members=[], fragments=[], regionTransform=0,
          poolTransform=0, samplesPerStep=0, detours=[],
          experts=[dict(start=2**62 - 1, each=2**40, count=1_024)], codecs=[],
          expertPeriods=[], expertOwners=[],
          tokenBudgets=[]), b"", dict(rank=0xFFFF)),
    ("experts that are due in every round, every second, every sixteenth", "PLAN",
     dict(planVersion=7, activateAtRound=6, members=[], fragments=[], regionTransform=0,
          poolTransform=3, samplesPerStep=4, detours=[],
          experts=[dict(start=10, each=5, count=2), dict(start=40, each=5, count=2)], codecs=[],
          expertPeriods=[dict(exponent=k) for k in (0, 1, 4, 0)], expertOwners=[],
          tokenBudgets=[]), b"", dict(rank=0xFFFF)),
    ("experts of one region, and the tokens that may go to it", "PLAN",
     dict(planVersion=8, activateAtRound=9, members=[], fragments=[], regionTransform=0,
          poolTransform=3, samplesPerStep=4, detours=[],
          experts=[dict(start=10, each=5, count=2), dict(start=40, each=5, count=2)], codecs=[],
          expertPeriods=[], expertOwners=[dict(region=r) for r in (0xFFFF, 1, 0, 0xFFFF)],
          tokenBudgets=[{"from": 0, "to": 1, "tokens": 1_250},
                        {"from": 1, "to": 0, "tokens": 0}]), b"", dict(rank=0xFFFF)),
    ("nobody and nothing", "PLAN",
     dict(planVersion=0, activateAtRound=0, members=[], fragments=[], regionTransform=6,
          poolTransform=0, samplesPerStep=2**32 - 1, detours=[], experts=[], codecs=[],
          expertPeriods=[], expertOwners=[],
          tokenBudgets=[]), b"",
     dict(rank=0xFFFF)),
    ("two links with transforms of their own, and the means of one region", "PLAN",
     dict(planVersion=6, activateAtRound=4, members=[], fragments=[], regionTransform=0,
          poolTransform=3, samplesPerStep=8, detours=[], experts=[],
          codecs=[{"from": 0, "to": 1, "transform": 4}, {"from": 1, "to": 0, "transform": 1},
                  {"from": 0, "to": 0, "transform": 4}],
          expertPeriods=[], expertOwners=[],
          tokenBudgets=[]), b"", dict(rank=0xFFFF)),
    ("what is held of three collectives", "READY",
     dict(planVersion=3, step=210, holdings=[
         dict(key=inner(1, 210), state=2), dict(key=outer(0, 7), state=1),
         dict(key=outer(1, 7), state=0)]), b"", {}),
    ("nothing in flight", "READY", dict(planVersion=1, step=0, holdings=[]), b"", {}),
    ("one restart, one completion from rank 0", "GO",
     dict(planVersion=3, verdicts=[dict(key=outer(1, 7), verdict=0, holder=lh.NO_RANK),
                                   dict(key=outer(0, 7), verdict=1, holder=0)]), b"",
     dict(rank=0xFFFF)),
    ("waiting for two", "HEARTBEAT",
     dict(sentAt=99, step=210, phase=4, waitingForRanks=[0, 3], samples=1_680), b"", {}),
    ("computing", "HEARTBEAT",
     dict(sentAt=-(2**63), step=0, phase=2, waitingForRanks=[], samples=0), b"", {}),
    ("both clocks", "HEARTBEAT-ACK", dict(echoSentAt=99, coordinatorTime=123), b"",
     dict(rank=0xFFFF)),
    ("an outer round applied", "REPORT",
     dict(key=outer(1, 7), digest=0xA5A5A5A5A5A5A5A5, step=210, tokens=215_040, samples=240,
          computeTime=6_000_000_000, links=[
              dict(region=1, acknowledgedBytes=427_008, busyTime=171_000_000)], experts=[]), b"", {}),
    ("how many tokens used each of three experts", "REPORT",
     dict(key=outer(0, 7), digest=1, step=210, tokens=215_040, samples=240, computeTime=6, links=[],
          experts=[dict(tokens=107_520), dict(tokens=0), dict(tokens=2**32 - 1)]), b"", {}),
    ("nothing crossed a link", "REPORT",
     dict(key=outer(0, 1), digest=0, step=2**64 - 1, tokens=0, samples=2**64 - 1,
          computeTime=-1, links=[], experts=[]), b"", {}),
    ("the round stands", "COMMIT",
     dict(key=outer(1, 7), digest=0xA5A5A5A5A5A5A5A5, members=2, allExperts=False),
     b"", dict(rank=0xFFFF)),
    ("all experts are due in the next round", "COMMIT",
     dict(key=outer(0, 7), digest=1, members=3, allExperts=True), b"", dict(rank=0xFFFF)),
    ("exactly these contributions", "CLOSE",
     dict(key=outer(1, 7), contributions=[dict(rank=0, weight=215_040),
                                          dict(rank=2, weight=2**64 - 1)]), b"",
     dict(rank=0xFFFF)),
    ("one run event", "EVENT", {}, '{"note":{"source":"jinan","text":"济南"}}'.encode(), {}),
    ("a reset connection", "SUSPECT", dict(rank=3, incarnation=WORKER, reason=1), b"", {}),
    ("no lane opens", "SUSPECT", dict(rank=0, incarnation=WORKER, reason=4), b"", {}),
    ("as planned", "LEAVE", dict(code=0, reason="all steps done"), b"", {}),
    ("the coordinator was away too long", "LEAVE",
     dict(code=69, reason="no coordinator for 60 s"), b"", {}),
    ("nothing more will come", "BYE", {}, b"", {}),
    ("finished; save", "STOP", dict(code=0, reason="finished", save=True), b"",
     dict(rank=0xFFFF)),
    ("do not save", "STOP", dict(code=10, reason="quorum lost", save=False), b"",
     dict(rank=0xFFFF)),
    ("silent for too long", "EVICTED", dict(code=11, reason="nothing heard for 15 s"), b"",
     dict(rank=0xFFFF)),
    ("an unexpected message", "ERROR",
     dict(code=9, text="COMMIT comes from the coordinator", offendingType=10,
          offendingSequence=44), b"", dict(rank=0xFFFF)),
    ("a name and a key for the allow-list", "ENROL",
     dict(worker="jinan-9", region="jinan", controlKey=key32(64)), b"",
     dict(sequence=1, epoch=0, rank=0xFFFF)),
    ("a seat", "ENROLLED", dict(workerID=9), b"", dict(rank=0xFFFF)),
    ("30 steps of work", "OFFER", dict(fragment=0, step=210, tokens=30_720, steps=30), b"", {}),
    ("nothing trained since", "OFFER",
     dict(fragment=2**16 - 1, step=2**64 - 1, tokens=0, steps=0), b"", {}),
]
DATA = [
    ("a new lane", "LANE-HELLO",
     dict(peerIncarnation=WORKER, workerID=2, lanes=6, resumeFrom=0, grantedTo=8_388_608), b"",
     dict(sequence=0)),
    ("the first lane, before their number is decided", "LANE-HELLO",
     dict(peerIncarnation=WORKER, workerID=2, lanes=0, resumeFrom=0, grantedTo=1_048_576), b"",
     dict(sequence=0, lane=0)),
    ("a lane taken up again", "LANE-WELCOME", dict(resumeFrom=17, grantedTo=12_582_912), b"",
     dict(sequence=0)),
    ("a contribution of three fp32", "CHUNK", CHUNK, struct.pack("<3f", 1.0, -2.5, 0.125), {}),
    ("a forwarded mean of 65,536 elements that shrank to 9 bytes", "CHUNK",
     dict(CHUNK, key=inner(1, 210), kind=1, transform=3, stage=2, group=0, position=2**32 - 1,
          elements=65_536, weight=2**64 - 1, origin=0, flags=1), b"123456789", dict(flags=1)),
    ("a region's part of 196,608 elements that shrank to 9 bytes", "CHUNK",
     dict(CHUNK, key=inner(1, 211), transform=3, stage=2, elements=196_608), b"123456789", {}),
    ("what arrived, and more credit", "ACK", dict(received=17, grantedTo=12_582_912), b"",
     dict(sequence=0)),
    ("one chunk of the mean", "PULL", dict(key=outer(1, 7), kind=1, slice=1, position=4), b"", {}),
    ("two chunks of the outer copy", "STATE-REQUEST", dict(item=2, start=65_536, count=131_072),
     b"", {}),
    ("the description of the second moment", "STATE-REQUEST", dict(item=5, start=0, count=0), b"",
     {}),
    ("three elements", "STATE-CHUNK", STATE_CHUNK, struct.pack("<3f", 1e-8, -0.0, 3e38), {}),
    ("the index", "STATE-CHUNK", dict(STATE_CHUNK, item=0, start=0, count=0), b"", {}),
    ("a description", "STATE-CHUNK", dict(STATE_CHUNK, item=5, start=0, count=0), b"", {}),
    ("a chunk passed on, under an older epoch inside", "RELAY",
     dict(origin=2, destination=0, epoch=2, sequence=9,
          inner=dict(type="CHUNK", fields=CHUNK)), struct.pack("<3f", 1.0, -2.5, 0.125), {}),
    ("a lane's hello", "RELAY",
     dict(origin=0, destination=2, epoch=3, sequence=0,
          inner=dict(type="LANE-HELLO",
                     fields=dict(peerIncarnation=WORKER, workerID=2, resumeFrom=0,
                                 grantedTo=8_388_608, lanes=1))), b"", {}),
    ("the shortest", "RELAY",
     dict(origin=0, destination=2, epoch=3, sequence=0,
          inner=dict(type="LANE-BYE", fields=dict(lastSequence=1))), b"", {}),
    ("a piece of state, the longest fields", "RELAY",
     dict(origin=0, destination=2, epoch=3, sequence=2,
          inner=dict(type="STATE-CHUNK", fields=STATE_CHUNK)),
     struct.pack("<3f", 1e-8, -0.0, 3e38), {}),
    ("two tokens for experts 5 and 6", "TOKENS", TOKENS,
     struct.pack("<2I2f2I2f8f", 5, 0xFFFFFFFF, 0.75, 0.25, 6, 5, 0.5, 0.5, *range(8)), {}),
    ("their answer in int8", "TOKENS",
     dict(TOKENS, kind=1, transform=3, words=0), struct.pack("<f8b", 0.5, *range(-4, 4)), {}),
    ("two rows of expert 9, its weights and first moments", "TOKENS",
     dict(TOKENS, exchange=0, kind=2, words=2, passes=0, tokens=0, first=0, rows=2, total=6),
     struct.pack("<4I8f", 9, 0, 9, 2, 1.0, -2.5, 0.0, 0.125, 0.5, 0.25, -0.5, 0.0), {}),
    ("a squared norm of 1.25", "TOKENS",
     dict(TOKENS, exchange=0, kind=3, width=1, words=2, passes=0, tokens=0, first=0, rows=1, total=1),
     struct.pack("<df", 1.25, 0.0), {}),
    ("nothing for this member", "TOKENS", dict(TOKENS, words=4, first=0, rows=0, total=0), b"", {}),
    ("tokens passed on", "RELAY",
     dict(origin=2, destination=0, epoch=3, sequence=1,
          inner=dict(type="TOKENS", fields=dict(TOKENS, transform=1, words=0, rows=1))),
     struct.pack("<4H", 0x3F80, 0xBF80, 0, 1), {}),
    ("nothing more on this lane", "LANE-BYE", dict(lastSequence=44), b"", dict(sequence=0)),
    ("a lane of a past epoch", "ERROR",
     dict(code=4, text="epoch 2 is over, this is epoch 3", offendingType=32,
          offendingSequence=0), b"", dict(sequence=0)),
]


def frame_of(plane, type_, fields, payload, header):
    own = COORDINATOR if plane == "control" and header.get("rank") == 0xFFFF else WORKER
    base = dict(run=RUN, incarnation=own, epoch=3, rank=1, lane=1 if plane == "data" else 0,
                sequence=44)
    return lh.Frame(lh.Header(**dict(base, **header)), type_, fields, payload)


def accepted(plane, rows):
    vectors = []
    for what, type_, fields, payload, header in rows:
        frame = frame_of(plane, type_, fields, payload, header)
        vectors.append({
            "name": f"{type_}: {what}", "plane": plane, "type": type_,
            "header": asdict(frame.header), "fields": fields, "payload": payload.hex(),
            "frame": lh.encode(frame).hex()})
    return vectors


def patched(data, at, code, value, reseal=True):
    data = bytearray(data)
    struct.pack_into("<" + code, data, at, value)
    return lh.seal(data) if reseal else bytes(data)


def resized(data, meta, payload=b""):
    """Other bytes after the header, lengths and checksum set right."""
    data = bytearray(data[:lh.HEADER_BYTES]) + meta + payload
    struct.pack_into("<II", data, 40, len(meta), len(payload))
    return lh.seal(data)


def text_at(data, at, raw):
    """`data` with the text whose u16 count stands at `at` replaced by the bytes `raw`."""
    count, = struct.unpack_from("<H", data, at)
    meta = data[64:at] + struct.pack("<H", len(raw)) + raw + data[at + 2 + count:]
    return resized(data, meta)


def rejected():
    def wire(plane, rows, type_):
        row = next(row for row in rows if row[1] == type_)
        return lh.encode(frame_of(plane, *row[1:]))

    control = {type_: wire("control", CONTROL, type_) for _, type_, *_ in CONTROL}
    data = {type_: wire("data", DATA, type_) for _, type_, *_ in DATA}
    hello, plan, stop = control["HELLO"], control["PLAN"], control["STOP"]
    # Before the lists of owners and budgets, which are empty.
    end = len(plan) - 4
    bye, report = control["BYE"], control["REPORT"]
    chunk, state = data["CHUNK"], data["STATE-CHUNK"]
    fragments = 64 + 8 + 2 + sum(
        77 + len(m["name"]) + len(m["endpoint"]) for m in MEMBERS)
    names = []

    def flipped(frame, at):
        return frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1:]

    def add(error, name, plane, frame, zeros=0):
        entry = {"name": name, "plane": plane, "error": error, "frame": frame.hex()}
        if zeros:
            entry["appendedZeros"] = zeros
        names.append((entry, frame + bytes(zeros)))

    # Header.
    add("truncated", "truncated: no bytes at all", "control", b"")
    add("truncated", "truncated: one byte", "control", hello[:1])
    add("truncated", "truncated: one byte less than a header", "control", hello[:63])
    add("truncated", "truncated: the header alone", "control", hello[:64])
    add("truncated", "truncated: in the fields", "control", hello[:100])
    add("truncated", "truncated: the last byte is missing", "control", hello[:-1])
    add("truncated", "truncated: a chunk without its payload", "data", chunk[:104])
    add("truncated", "truncated: a chunk that lacks its last byte", "data", chunk[:-1])
    add("excess", "excess: one byte more", "control", hello + b"\0")
    add("excess", "excess: two frames in one part", "control", bye + bye)
    add("excess", "excess: a chunk with a byte more", "data", chunk + b"\0")
    add("excess", "excess: shorter than said in the header", "data", patched(chunk, 44, "I", 11))
    add("badMagic", "bad magic: another protocol", "control", b"GET / HTTP/1.1\r\n" + hello[16:])
    add("badMagic", "bad magic: its bytes reversed", "control", hello[3::-1] + hello[4:])
    add("unsupportedVersion", "version 0", "control", patched(hello, 4, "B", 0))
    add("unsupportedVersion", "version 2", "control", patched(hello, 4, "B", 2))
    add("unknownType", "type 0", "control", patched(hello, 5, "B", 0))
    add("unknownType", "type 22, the first unused of the control plane", "control",
        patched(bye, 5, "B", 22))
    add("unknownType", "type 40, unused on the data plane", "data",
        patched(chunk, 5, "B", 40))
    add("unknownType", "type 255", "control", patched(hello, 5, "B", 255))
    add("wrongPlane", "a chunk on the control plane", "control", chunk)
    add("wrongPlane", "a hello on the data plane", "data", hello)
    add("undefinedFlags", "a flag on a type without flags", "control", patched(hello, 6, "H", 1))
    add("undefinedFlags", "an undefined flag on a chunk", "data", patched(chunk, 6, "H", 2))
    add("reservedNotZero", "reserved header bytes", "control", patched(hello, 48, "Q", 1))
    add("reservedNotZero", "reserved header bytes, the highest bit", "data",
        patched(chunk, 48, "Q", 1 << 63))
    add("metaLength", "fields too short for the type", "control", patched(report, 40, "I", 55))
    add("metaLength", "fields too long for the type", "control", patched(report, 40, "I", 33_977))
    add("metaLength", "fields said to take 4 GiB", "control", patched(hello, 40, "I", 0xFFFFFFFF))
    add("payloadLength", "a payload where none is allowed", "control", patched(hello, 44, "I", 1))
    add("payloadLength", "a chunk without payload", "data", resized(chunk, chunk[64:104]))
    add("payloadLength", "a payload over its limit", "data",
        patched(chunk, 44, "I", 256 * 1024 + 1))
    add("payloadLength", "a payload said to take 4 GiB", "data",
        patched(chunk, 44, "I", 0xFFFFFFFF))
    add("payloadLength", "an event over its limit", "control",
        patched(control["EVENT"], 44, "I", 32 * 1024 + 1))
    add("frameTooLarge", "a control frame over its limit", "control",
        hello, 64 * 1024 - len(hello) + 1)
    add("frameTooLarge", "a data frame over its limit", "data", chunk, 257 * 1024 - len(chunk) + 1)
    for at, where in ((8, "run"), (19, "incarnation"), (24, "epoch"), (28, "rank"), (31, "lane"),
                      (39, "sequence"), (56, "checksum"), (64, "fields")):
        add("checksum", f"a flipped bit in the {where}", "control", flipped(hello, at))
    add("checksum", "a flipped bit in the payload", "data", flipped(chunk, len(chunk) - 1))
    add("checksum", "a checksum of 0", "control", patched(hello, 56, "Q", 0, reseal=False))

    # Fields.
    add("invalidBool", "a bool of 2", "control", patched(stop, len(stop) - 1, "B", 2))
    add("invalidBool", "a bool of 255", "control", patched(stop, len(stop) - 1, "B", 255))
    add("invalidEnum", "refusal code 0", "control", patched(control["REFUSE"], 64, "H", 0))
    add("invalidEnum", "refusal code 18", "control", patched(control["REFUSE"], 64, "H", 18))
    add("invalidEnum", "eviction code 18", "control", patched(control["EVICTED"], 64, "H", 18))
    add("invalidEnum", "error code 0", "control", patched(control["ERROR"], 64, "H", 0))
    add("invalidEnum", "phase 8", "control", patched(control["HEARTBEAT"], 80, "B", 8))
    add("invalidEnum", "holding state 3", "control",
        patched(control["READY"], 64 + 14 + 12, "B", 3))
    add("invalidEnum", "verdict 2", "control", patched(control["GO"], 64 + 6 + 12, "B", 2))
    add("invalidEnum", "suspect reason 0", "control", patched(control["SUSPECT"], 74, "H", 0))
    add("invalidEnum", "suspect reason 6", "control", patched(control["SUSPECT"], 74, "H", 6))
    add("invalidEnum", "region transform 7", "control", patched(plan, end - 14, "B", 7))
    add("invalidEnum", "pool transform 7", "control", patched(plan, end - 13, "B", 7))
    add("listTooLong", "a list of detours over its limit", "control",
        patched(plan, end - 8, "H", 1025))
    add("metaTruncated", "a detour that is not there", "control",
        resized(plan, plan[64:end - 8] + b"\1\0"))
    add("listTooLong", "a list of expert blocks over its limit", "control",
        patched(plan, end - 6, "H", 1025))
    add("metaTruncated", "a block of experts that is not there", "control",
        resized(plan, plan[64:end - 6] + b"\1\0"))
    add("listTooLong", "a list of codecs over its limit", "control",
        patched(plan, end - 4, "H", 4097))
    add("metaTruncated", "a codec that is not there", "control",
        resized(plan, plan[64:end - 4] + b"\1\0"))
    add("listTooLong", "a list of periods over its limit", "control",
        patched(plan, end - 2, "H", 8_193))
    add("metaTruncated", "a period that is not there", "control",
        resized(plan, plan[64:end - 2] + b"\1\0"))
    add("outOfRange", "a period of no expert", "control",
        resized(plan, plan[64:-6] + b"\1\0\0" + b"\0" * 4))
    add("listTooLong", "a list of owners over its limit", "control",
        patched(plan, len(plan) - 4, "H", 8_193))
    add("outOfRange", "an owner of no expert", "control",
        resized(plan, plan[64:-4] + b"\1\0\0\0" + b"\0" * 2))
    add("listTooLong", "a list of budgets over its limit", "control",
        patched(plan, len(plan) - 2, "H", 4097))
    add("metaTruncated", "a budget that is not there", "control",
        patched(plan, len(plan) - 2, "H", 1))
    periods = lh.encode(frame_of("control", *next(
        row for row in CONTROL if row[0].startswith("experts that are due"))[1:]))
    add("outOfRange", "every 32nd round", "control", patched(periods, len(periods) - 5, "B", 5))
    add("outOfRange", "a period too few", "control",
        resized(periods, periods[64:-10] + b"\3\0\0\1\4" + b"\0" * 4))
    block = resized(plan, plan[64:-10] + struct.pack("<HQQIHHHH", 1, 0, 1, 1, 0, 0, 0, 0))
    add("outOfRange", "experts that start at 2^62", "control",
        patched(block, len(block) - 28, "Q", 1 << 62))
    add("outOfRange", "experts of no elements", "control",
        patched(block, len(block) - 20, "Q", 0))
    add("outOfRange", "experts of more than 2^40 elements", "control",
        patched(block, len(block) - 20, "Q", (1 << 40) + 1))
    add("outOfRange", "a block of no experts", "control",
        patched(block, len(block) - 12, "I", 0))
    add("outOfRange", "a block of 1,025 experts", "control",
        patched(block, len(block) - 12, "I", 1_025))
    first = struct.pack("<QQI", 100, 64, 8)

    def blocks(*others):
        listed = b"".join(struct.pack("<QQI", *other) for other in others)
        return resized(plan, plan[64:-10] + struct.pack("<H", 1 + len(others)) + first + listed
                       + struct.pack("<HHHH", 0, 0, 0, 0))

    add("outOfRange", "experts that begin before the end of the block before", "control",
        blocks((611, 1, 1)))
    add("outOfRange", "the same block of experts twice", "control", blocks((100, 64, 8)))
    add("outOfRange", "blocks of experts in descending order", "control", blocks((0, 1, 1)))
    add("outOfRange", "a third block of experts within the second", "control",
        blocks((612, 10, 10), (700, 1, 1)))
    add("outOfRange", "experts after a block that reaches past 2^62", "control",
        blocks(((1 << 62) - 1, 1, 1), ((1 << 62) - 1, 1, 1)))
    add("invalidEnum", "member state 2", "control", patched(plan, fragments - 7, "B", 2))
    add("invalidEnum", "scope 2", "control", patched(report, 64, "B", 2))
    add("invalidEnum", "scope 2 in a chunk", "data", patched(chunk, 64, "B", 2))
    add("outOfRange", "pool scope with a region", "control", patched(report, 66, "H", 0))
    add("outOfRange", "region scope without a region", "data", patched(chunk, 64, "B", 0))
    add("reservedNotZero", "reserved byte 1 of a key", "control", patched(report, 65, "B", 1))
    add("reservedNotZero", "reserved bytes 6 and 7 of a key", "control",
        patched(report, 70, "H", 1))
    add("invalidEnum", "chunk kind 2", "data", patched(chunk, 76, "B", 2))
    add("invalidEnum", "transform 7 in a chunk", "data", patched(chunk, 77, "B", 7))
    add("invalidEnum", "stage 6 in a chunk", "data", patched(chunk, 78, "B", 6))
    add("reservedNotZero", "reserved byte 15 of a chunk", "data", patched(chunk, 79, "B", 1))
    add("outOfRange", "no elements in a chunk", "data", patched(chunk, 88, "I", 0))
    add("outOfRange", "196,609 elements in a chunk", "data", patched(chunk, 88, "I", 196_609))
    add("undefinedFlags", "an undefined flag in a chunk's fields", "data",
        patched(chunk, 102, "H", 2))
    add("outOfRange", "17 lanes in a greeting", "data", patched(data["LANE-HELLO"], 76, "H", 17))
    add("invalidEnum", "pull kind 2", "data", patched(data["PULL"], 76, "B", 2))
    add("reservedNotZero", "reserved byte 13 of a pull", "data", patched(data["PULL"], 77, "B", 1))
    add("invalidEnum", "state item 6 in a request", "data",
        patched(data["STATE-REQUEST"], 64, "B", 6))
    add("invalidEnum", "state item 6 in a chunk", "data", patched(state, 64, "B", 6))
    add("outOfRange", "65,537 elements in a state chunk", "data", patched(state, 73, "I", 65_537))
    add("payloadLength", "a state chunk of 4 elements with 12 bytes", "data",
        patched(state, 73, "I", 4))
    add("payloadLength", "a state index with a payload", "data", patched(state, 64, "B", 0))
    tokens = data["TOKENS"]
    add("invalidEnum", "tokens of kind 4", "data", patched(tokens, 72, "B", 4))
    add("invalidEnum", "tokens as int4", "data", patched(tokens, 73, "B", 4))
    add("outOfRange", "tokens without width", "data", patched(tokens, 74, "H", 0))
    add("payloadLength", "tokens of three rows with bytes of two", "data",
        patched(tokens, 88, "I", 3))
    add("payloadLength", "rows of 2^32 tokens in 64 bytes", "data",
        patched(tokens, 88, "I", 0xFFFFFFFF))
    add("payloadLength", "a token less than is said, in words", "data", patched(tokens, 76, "H", 5))
    relay = data["RELAY"]
    short = relay[:84] + b"\x27" + bytes(8)
    add("invalidEnum", "a control message in a relay", "data", patched(relay, 84, "B", 12))
    add("invalidEnum", "a relay in a relay", "data", patched(relay, 84, "B", 41))
    add("invalidEnum", "an error in a relay", "data", patched(relay, 84, "B", 18))
    add("invalidEnum", "chunk kind 2 in a relay", "data", patched(relay, 97, "B", 2))
    add("metaTruncated", "a chunk in a relay that lacks its last field", "data",
        resized(relay, relay[64:123], relay[125:]))
    add("metaLeftover", "a relay with more than its inner fields", "data",
        resized(relay, relay[64:125] + b"\0", relay[125:]))
    add("payloadLength", "a chunk in a relay without payload", "data",
        resized(relay, relay[64:125]))
    add("payloadLength", "a lane's end in a relay with a payload", "data",
        resized(relay, short[64:], b"1"))
    add("payloadLength", "a state chunk of 4 elements in a relay with 12 bytes", "data",
        resized(relay, relay[64:84] + b"\x26" + state[64:73] + struct.pack("<I", 4)
                + state[77:105], state[105:]))
    add("outOfRange", "a range that starts at 2^62", "control",
        patched(plan, fragments + 10, "Q", 1 << 62))
    add("outOfRange", "a range of 2^62 elements", "control",
        patched(plan, fragments + 18, "Q", 1 << 62))
    add("invalidUTF8", "a name that is not UTF-8", "control", text_at(hello, 66, b"lingang\xff0"))
    add("invalidUTF8", "a name that ends inside a character", "control",
        text_at(hello, 66, b"abc\xe6\xb5"))
    add("invalidUTF8", "a surrogate in UTF-8", "control", text_at(stop, 66, b"a\xed\xa0\x80b"))
    add("invalidUTF8", "an overlong encoding", "control", text_at(stop, 66, b"ab\xc0\xaf"))
    add("invalidUTF8", "an event that is not UTF-8", "control",
        resized(control["EVENT"], b"", b'{"\xff"}'))
    add("nulInText", "a NUL in a text", "control", text_at(stop, 66, b"fin\0shed"))
    add("nulInText", "a NUL in a name", "control", text_at(hello, 66, b"lin\0gang"))
    add("invalidName", "an empty name", "control", text_at(hello, 66, b""))
    add("invalidName", "a name with a slash", "control", text_at(hello, 66, b"../etc"))
    add("invalidName", "a name beyond ASCII", "control", text_at(hello, 66, "é".encode()))
    add("invalidName", "a member's name with a space", "control", text_at(plan, 82, b"lingang 0"))
    add("textTooLong", "a name of 65 bytes", "control", text_at(hello, 66, b"w" * 65))
    region = 66 + 2 + len(HELLO["worker"])
    add("textTooLong", "a region of 65 bytes", "control", text_at(hello, region, b"r" * 65))
    add("textTooLong", "an endpoint of 256 bytes", "control",
        resized(hello, text_at(hello, region, b"")[64:region + 2] + struct.pack("<H", 256)
                + b"e" * 256 + hello[-84:]))
    add("textTooLong", "a text of 1,025 bytes", "control",
        resized(control["REFUSE"], struct.pack("<HH", 1, 1025) + b"x" * 1025 + bytes(4)))
    add("textTooLong", "a configuration said to have 48 KiB and one byte", "control",
        patched(control["WELCOME"], 77, "I", 48 * 1024 + 1))
    add("metaTruncated", "a text longer than what is left", "control", patched(stop, 66, "H", 1000))
    add("listTooLong", "a list over its limit", "control",
        patched(control["HEARTBEAT"], 81, "H", 1025))
    add("listTooLong", "a list of members over its limit", "control", patched(plan, 72, "H", 1025))
    add("listTooLong", "a list of fragments over its limit", "control",
        patched(plan, fragments, "H", 257))
    add("listTooLong", "a list of ranges over its limit", "control",
        patched(plan, fragments + 8, "H", 257))
    add("metaTruncated", "more list entries than bytes", "control",
        patched(control["CLOSE"], 76, "H", 1024))
    add("metaLeftover", "fewer list entries than bytes", "control",
        patched(control["CLOSE"], 76, "H", 1))
    add("metaLeftover", "a byte after the last field", "control",
        resized(hello, hello[64:] + b"\0"))
    add("metaLeftover", "a text shorter than said leaves a byte", "control",
        patched(control["LEAVE"], 66, "H", len("all steps done") - 1))

    for type_, shape in lh.MESSAGES.items():
        plane, frame = ("control", control[type_]) if type_ in control else ("data", data[type_])
        (meta_least, meta_most), (least, most) = shape.meta, shape.payload
        if meta_least > 0:
            add("metaLength", f"{type_}: fields a byte below the least", plane,
                patched(frame, 40, "I", meta_least - 1))
        add("metaLength", f"{type_}: fields a byte above the most", plane,
            patched(frame, 40, "I", meta_most + 1))
        if meta_most > meta_least:
            add("truncated", f"{type_}: as many bytes of fields as there may be", plane,
                patched(frame, 40, "I", meta_most))
        add("payloadLength", f"{type_}: a payload a byte above the most", plane,
            patched(frame, 44, "I", most + 1))
        if most > least:
            add("truncated", f"{type_}: as large a payload as there may be", plane,
                patched(frame, 44, "I", most))

    vectors = []
    for entry, frame in names:
        try:
            lh.decode(frame, entry["plane"])
        except lh.FrameError as error:
            if error.name != entry["error"]:
                raise SystemExit(f"{entry['name']}: {error}, expected {entry['error']}") from None
            entry["offset"] = error.offset
        else:
            raise SystemExit(f"accepted: {entry['name']}")
        vectors.append(entry)
    return vectors


def pattern(count):
    """The bytes hashes.json speaks of."""
    return bytes((i * 131 + 17 ^ i >> 8) & 0xFF for i in range(count))


def hashes():
    lengths = [0, 1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 96, 97, 128, 129, 143, 144,
               239, 240, 241, 255, 256, 257, 1023, 1024, 1025, 2048, 2049, 65_536, 262_248]
    return [{"length": n, "xxh3": f"{xxh3_64(pattern(n)):016x}"} for n in lengths]


def memory():
    """References, good and bad, and a frame that stays where its sender has made it."""
    good = dict(slot=1, generation=3, start=24, length=262_248, memory=0x0123456789ABCDEF)
    largest = dict(slot=lh.SLOTS - 1, generation=2**30 - 1, start=lh.SLOT_BYTES, length=0,
                   memory=2**64 - 1)
    vectors = [{"name": name, "reference": lh.encode_reference(fields).hex(), "fields": fields}
               for name, fields in (("a chunk", good), ("largest values", largest))]
    data = lh.encode_reference(good)
    for error, name, bad in (
            ("truncated", "a byte short", data[:-1]), ("excess", "a byte more", data + b"\0"),
            ("outOfRange", "a slot that does not exist", patched(data, 4, "I", lh.SLOTS, False)),
            ("outOfRange", "a generation of 31 bits", patched(data, 8, "I", 2**30, False)),
            ("outOfRange", "a start behind the slot", patched(data, 12, "I", lh.SLOT_BYTES + 1, False)),
            ("outOfRange", "an end behind the slot", patched(data, 16, "I", 262_249, False)),
            ("reservedNotZero", "a reserved byte that is not zero", patched(data, 20, "I", 1, False))):
        try:
            lh.decode_reference(bad)
        except lh.FrameError as caught:
            if caught.name != error:
                raise SystemExit(f"{name}: {caught}, expected {error}") from None
            vectors.append({"name": name, "reference": bad.hex(), "error": error,
                            "offset": caught.offset})
        else:
            raise SystemExit(f"accepted: {name}")
    chunk = next(row for row in accepted("data", DATA) if row["type"] == "CHUNK" and row["payload"])
    vectors.append({"name": "a chunk in memory", "type": "CHUNK", "payload": chunk["payload"],
                    "frame": lh.seal(bytes.fromhex(chunk["frame"]), "memory").hex()})
    return vectors


def files():
    return {"control.json": accepted("control", CONTROL), "data.json": accepted("data", DATA),
            "rejected.json": rejected(), "hashes.json": hashes(),
            "memory.json": memory(),
            "chunks-by-hand.json": make_chunks.vectors()}


def text_of(vectors):
    rows = ",\n".join(json.dumps(vector, ensure_ascii=False) for vector in vectors)
    return f"[\n{rows}\n]\n"


if __name__ == "__main__":
    stale = []
    for name, vectors in files().items():
        path = VECTORS / name
        if "--check" not in sys.argv:
            path.write_text(text_of(vectors), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text_of(vectors):
            stale.append(name)
    if stale:
        raise SystemExit(f"not what make_vectors.py writes: {', '.join(stale)}")
