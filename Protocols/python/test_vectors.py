"""The vectors against the Python side: /usr/bin/python3 -m pytest Protocols/python"""

import ctypes
import ctypes.util
import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

import longhaul_protocol as lh
import make_vectors
from xxh3 import xxh3_64

VECTORS = Path(__file__).resolve().parent.parent / "vectors"


def load(name):
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def named(vectors):
    return {"argvalues": vectors, "ids": [vector["name"] for vector in vectors]}


ACCEPTED = load("control.json") + load("data.json")
REJECTED = load("rejected.json")


@pytest.mark.parametrize("vector", **named(ACCEPTED))
def test_accepted_frame_decodes_to_the_fields_spelled_out(vector):
    frame = lh.decode(bytes.fromhex(vector["frame"]), vector["plane"])
    assert asdict(frame.header) == vector["header"]
    assert frame.type == vector["type"]
    assert frame.fields == vector["fields"]
    assert frame.payload.hex() == vector["payload"]


@pytest.mark.parametrize("vector", **named(ACCEPTED))
def test_fields_spelled_out_encode_to_the_same_bytes(vector):
    frame = lh.Frame(lh.Header(**vector["header"]), vector["type"], vector["fields"],
                     bytes.fromhex(vector["payload"]))
    assert lh.encode(frame).hex() == vector["frame"]


@pytest.mark.parametrize("vector", **named(REJECTED))
def test_rejected_frame_gives_the_named_error(vector):
    data = bytes.fromhex(vector["frame"]) + bytes(vector.get("appendedZeros", 0))
    with pytest.raises(lh.FrameError) as caught:
        lh.decode(data, vector["plane"])
    assert (caught.value.name, caught.value.offset) == (vector["error"], vector["offset"])


@pytest.mark.parametrize("vector", **named([v for v in load("memory.json") if "reference" in v]))
def test_references(vector):
    data = bytes.fromhex(vector["reference"])
    if "fields" in vector:
        assert lh.decode_reference(data) == vector["fields"]
        assert lh.encode_reference(vector["fields"]) == data
        return
    with pytest.raises(lh.FrameError) as caught:
        lh.decode_reference(data)
    assert (caught.value.name, caught.value.offset) == (vector["error"], vector["offset"])


def test_a_frame_in_memory_is_checked_up_to_its_payload():
    vector = next(v for v in load("memory.json") if "frame" in v)
    data = bytes.fromhex(vector["frame"])
    frame = lh.decode(data, "data", "memory")
    assert (frame.type, frame.payload.hex()) == (vector["type"], vector["payload"])
    with pytest.raises(lh.FrameError):
        lh.decode(data, "data")
    lh.decode(data[:-1] + bytes([data[-1] ^ 1]), "data", "memory")
    with pytest.raises(lh.FrameError):
        lh.decode(data[:70] + bytes([data[70] ^ 1]) + data[71:], "data", "memory")


def test_a_frame_is_no_reference():
    assert lh.decode_reference(bytes.fromhex(ACCEPTED[0]["frame"])) is None


def test_every_type_has_an_accepted_frame():
    assert {vector["type"] for vector in ACCEPTED} == set(lh.MESSAGES)


def test_the_files_are_what_make_vectors_writes():
    for name, vectors in make_vectors.files().items():
        assert (VECTORS / name).read_text(encoding="utf-8") == make_vectors.text_of(vectors), name


@pytest.mark.parametrize("vector", load("hashes.json"), ids=lambda v: str(v["length"]))
def test_digests_agree(vector):
    assert f"{xxh3_64(make_vectors.pattern(vector['length'])):016x}" == vector["xxh3"]


def test_plain_python_xxh3_equals_the_library():
    path = ctypes.util.find_library("xxhash")
    if path is None:
        pytest.skip("libxxhash is not installed; hashes.json is checked above")
    function = ctypes.CDLL(path).XXH3_64bits
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    generator = random.Random(1)
    for count in [*range(0, 1100), 2047, 2048, 2049, 65_537]:
        data = generator.randbytes(count)
        assert xxh3_64(data) == function(data, count), count


def test_every_single_bit_flip_of_a_hello_is_refused():
    hello = bytes.fromhex(ACCEPTED[0]["frame"])
    for bit in range(8 * len(hello)):
        data = bytearray(hello)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(lh.FrameError):
            lh.decode(data, "control")


def test_encode_refuses_what_decode_would_refuse():
    vector = next(v for v in ACCEPTED if v["type"] == "ENROL")
    for name, change in (("invalidName", {"worker": "../etc"}), ("nulInText", {"region": "\0"}),
                         ("textTooLong", {"region": "r" * 65}),
                         ("outOfRange", {"controlKey": "00"})):
        frame = lh.Frame(lh.Header(**vector["header"]), "ENROL", {**vector["fields"], **change})
        with pytest.raises(lh.FrameError) as caught:
            lh.encode(frame)
        assert caught.value.name == name
