#!/usr/bin/python3
"""Loss and gradients of the model, by PyTorch's autograd: pytorch_reference.py INPUT OUTPUT

Both files are safetensors, read and written here by hand. INPUT holds the parameters by name,
`inputs` and `targets` (U8, [sequences, context]) and metadata `heads`. OUTPUT holds `loss` and the
gradient of every parameter under its name.
"""
import json
import struct
import sys

import numpy
import torch
import torch.nn.functional as functional

TYPES = {"F32": numpy.dtype("<f4"), "U8": numpy.dtype("u1"), "I64": numpy.dtype("<i8")}


def load(path):
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    data = content[8 + length :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors, metadata


def save(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.numpy().astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def affine(x, p, name):
    return functional.linear(x, p[name + ".weight"], p[name + ".bias"])


def norm(x, p, name):
    return functional.layer_norm(x, x.shape[-1:], p[name + ".weight"], p[name + ".bias"])


def attention(x, p, name, heads):
    batch, time, width = x.shape
    q, k, v = affine(x, p, name + ".query_key_value").split(width, dim=-1)
    q, k, v = (t.view(batch, time, heads, -1).transpose(1, 2) for t in (q, k, v))
    scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5
    hidden = torch.ones(time, time, dtype=torch.bool).triu(1)
    mixed = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v
    return affine(mixed.transpose(1, 2).reshape(batch, time, width), p, name + ".output")


def model(tokens, p, heads):
    x = p["token_embedding.weight"][tokens] + p["position_embedding.weight"][: tokens.shape[1]]
    layer = 0
    while f"blocks.{layer}.attention_norm.weight" in p:
        block = f"blocks.{layer}"
        x = x + attention(norm(x, p, block + ".attention_norm"), p, block + ".attention", heads)
        wide = affine(norm(x, p, block + ".feed_forward_norm"), p, block + ".feed_forward.up")
        x = x + affine(functional.gelu(wide), p, block + ".feed_forward.down")
        layer += 1
    x = norm(x, p, "final_norm")
    if "head.weight" in p:
        return affine(x, p, "head")
    return x @ p["token_embedding.weight"].T


def main():
    tensors, metadata = load(sys.argv[1])
    inputs = tensors.pop("inputs").long()
    targets = tensors.pop("targets").long()
    for parameter in tensors.values():
        parameter.requires_grad_()
    logits = model(inputs, tensors, int(metadata["heads"]))
    loss = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))
    loss.backward()
    results = {name: parameter.grad for name, parameter in tensors.items()}
    results["loss"] = loss.detach().reshape(1)
    save(sys.argv[2], results)


main()
