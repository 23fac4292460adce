"""Chunks against the Python side: /usr/bin/python3 -m pytest Protocols/python"""

import json
import random
from pathlib import Path

import pytest

import longhaul_chunks as chunks
import make_chunks

pytest.importorskip("zstandard", reason="Debian: python3-zstandard")

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
ALL = [vector for name in ("chunks.json", "chunks-by-hand.json")
       for vector in json.loads((VECTORS / name).read_text(encoding="utf-8"))]
ACCEPTED = [vector for vector in ALL if "values" in vector]
REJECTED = [vector for vector in ALL if "values" not in vector]


def decoded(vector, payload=None):
    data = bytes.fromhex(vector["encoded"]) if payload is None else payload
    return chunks.decode(data, vector["transform"], vector["stage"], vector["elements"])


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda v: v["name"])
def test_accepted_chunk_decodes_to_the_stated_bits(vector):
    values = vector["values"] + ["0"] * (vector["elements"] - len(vector["values"]))
    assert [f"{bits:x}" for bits in decoded(vector)] == values


@pytest.mark.parametrize("vector", REJECTED, ids=lambda v: v["name"])
def test_rejected_chunk_is_refused(vector):
    with pytest.raises(chunks.ChunkError):
        decoded(vector)


def test_every_defined_pair_is_accepted_somewhere():
    pairs = {(t, s) for t in range(7) for s in range(6) if chunks.allows(t, s)}
    assert {(vector["transform"], vector["stage"]) for vector in ACCEPTED} == pairs


def test_truncated_chunks_are_refused():
    for vector in ACCEPTED:
        payload = bytes.fromhex(vector["encoded"])
        for size in {0, 1, len(payload) // 2, len(payload) - 1} - {len(payload)}:
            with pytest.raises(chunks.ChunkError):
                decoded(vector, payload[:size])


def test_damaged_chunks_are_refused_or_have_the_right_length():
    generator = random.Random(4)
    for vector in ACCEPTED:
        if vector["elements"] > 600:
            continue
        for _ in range(20):
            payload = bytearray.fromhex(vector["encoded"])
            payload[generator.randrange(len(payload))] ^= 1 << generator.randrange(8)
            try:
                assert len(decoded(vector, bytes(payload))) == vector["elements"]
            except chunks.ChunkError:
                pass


def test_lz4_blocks_made_by_hand_unpack_to_what_they_were_made_from():
    generator = random.Random(5)
    for size in [20, 33, 270, 300, 1200, 5000]:
        data = b"".join(bytes([generator.randrange(3)]) * generator.randrange(1, 400) for _ in range(size))[:size]
        assert chunks.lz4_block(make_chunks.lz4_runs(data), size) == data
        assert chunks.lz4_block(make_chunks.lz4_literals(data), size) == data
        assert chunks.lz4_block(make_chunks.lz4_run(7, size), size) == b"\x07" * size
