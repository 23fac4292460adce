"""The specification's tables against the implementation, so that neither changes alone."""

import re
from pathlib import Path

import longhaul_protocol as lh

TEXT = (Path(__file__).resolve().parent.parent / "longhaul-1.md").read_text(encoding="utf-8")


def section(number):
    return re.search(rf"^## {number}\. .*?(?=^## |\Z)", TEXT, re.M | re.S).group(0)


def test_every_type_has_its_number_in_the_text():
    control = dict(re.findall(r"([A-Z-]+) \((\d+)\)", "\n".join(
        line for line in section(5).splitlines() if line.startswith("###"))))
    data = {name: number for number, name in
            re.findall(r"^\| (\d+) \| ([A-Z-]+) \|", section(6), re.M)}
    numbers = {name: int(number) for name, number in {**control, **data}.items()}
    assert numbers == {name: shape.number for name, shape in lh.MESSAGES.items()}


def test_lengths_the_header_may_announce():
    def bounds(text):
        low, _, high = text.replace(",", "").partition("-")
        return int(low), int(high or low)

    rows = re.findall(r"([A-Z-]{2,}) \| ([\d,-]+) \| ([\d,-]+) \|", section(11))
    assert {name: (bounds(meta), bounds(payload)) for name, meta, payload in rows} == {
        name: (shape.meta, shape.payload) for name, shape in lh.MESSAGES.items()}


def test_chunk_offsets():
    rows = re.findall(r"^\| (\d+) \| (?:u\d+|key) \| (\w+) \|", section(6), re.M)
    at, offsets = lh.HEADER_BYTES, {}
    for name, kind in lh.MESSAGES["CHUNK"].record.kinds.items():
        offsets[re.sub("reserved", "r", name)] = at
        at += kind.minimum
    assert {name: int(offset) for offset, name in rows} == offsets
    assert "| 104 | | payload |" in section(6) and at == 104


def test_codes_are_those_the_decoder_accepts():
    codes = {int(code) for code in re.findall(r"^\| (\d+) \| \w+ \|", section(10), re.M)}
    assert codes == lh.CODE.values


def test_every_error_the_decoder_raises_is_in_the_table():
    source = Path(lh.__file__).read_text(encoding="utf-8")
    raised = set(re.findall(r'FrameError\("(\w+)"', source))
    described = set(re.findall(r"\b[a-z]+(?:[A-Z][A-Za-z0-9]*)?\b", section(9)))
    assert raised <= described, raised - described
