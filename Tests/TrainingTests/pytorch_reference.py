#!/usr/bin/python3
"""Loss and gradients of the model, by PyTorch's autograd: pytorch_reference.py INPUT OUTPUT

Both files are safetensors, read and written here by hand. INPUT holds the parameters by name,
`inputs` and `targets` (U8, [sequences, context]) and metadata `heads`; with experts also `top_k`,
`gate`, `groups`, `groups_kept`, `capacity` (rows of an expert and sequence, 0: all) and
`sequence_loss`. OUTPUT holds `loss` (without the balance loss, whose gradient is in), `balance`, the
gradient of every parameter under its name, and `demand.LAYER`, choices by expert.
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


def feed_forward(x, p, name):
    return affine(functional.gelu(affine(x, p, name + "up")), p, name + "down")


def choose(scores, bias, settings):
    """The experts of every token, by biased scores inside the kept groups."""
    top_k, groups, kept = (int(settings[key]) for key in ("top_k", "groups", "groups_kept"))
    biased = (scores + bias).detach()
    grouped = biased.view(len(biased), groups, -1)
    if kept < groups:
        best = grouped.topk(min(2, grouped.shape[-1]), dim=-1).values.sum(-1)
        allowed = torch.zeros_like(best).scatter(1, best.topk(kept, dim=-1).indices, 1.0) > 0
        grouped = grouped.masked_fill(~allowed.unsqueeze(-1), float("-inf"))
    return grouped.reshape(len(biased), -1).topk(top_k, dim=-1).indices


def admitted(chosen, experts, sequences, capacity):
    """Which choices find room: in the order of tokens, sequence by sequence."""
    keep = torch.ones_like(chosen, dtype=torch.bool)
    if capacity == 0:
        return keep
    per_sequence = len(chosen) // sequences
    for token in range(len(chosen)):
        if token % per_sequence == 0:
            used = [0] * experts
        for j, expert in enumerate(chosen[token].tolist()):
            keep[token, j] = used[expert] < capacity
            used[expert] += int(keep[token, j])
    return keep


def mixture(x, p, name, settings, results):
    """A naive mixture of experts: one expert after the other."""
    shape = x.shape
    x = x.reshape(-1, shape[-1])
    logits = x @ p[name + "gate.weight"].T
    scores = logits.softmax(-1) if settings["gate"] == "softmax" else logits.sigmoid()
    experts = scores.shape[-1]
    chosen = choose(scores, p[name + "gate.e_score_correction_bias"].detach(), settings)
    weights = scores.gather(1, chosen)
    if chosen.shape[1] > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    keep = admitted(chosen, experts, shape[0], int(settings["capacity"]))
    out = torch.zeros_like(x)
    for expert in range(experts):
        token, j = ((chosen == expert) & keep).nonzero(as_tuple=True)
        made = feed_forward(x[token], p, f"{name}experts.{expert}.")
        out = out.index_add(0, token, made * weights[token, j, None])
    if name + "shared_experts.up.weight" in p:
        out = out + feed_forward(x, p, name + "shared_experts.")
    used = functional.one_hot(chosen, experts).sum(1).float()
    results["demand." + name.split(".")[1]] = used.sum(0)
    shares = (scores / scores.sum(-1, keepdim=True)).view(shape[0], -1, experts).mean(1)
    used = used.view(shape[0], -1, experts).mean(1) * experts / chosen.shape[1]
    balance = float(settings["sequence_loss"]) * (used * shares).sum(-1).mean()
    results["balance"] = results.get("balance", 0) + balance
    return out.view(shape)


def model(tokens, p, settings, results):
    heads = int(settings["heads"])
    x = p["token_embedding.weight"][tokens] + p["position_embedding.weight"][: tokens.shape[1]]
    layer = 0
    while f"blocks.{layer}.attention_norm.weight" in p:
        block = f"blocks.{layer}"
        x = x + attention(norm(x, p, block + ".attention_norm"), p, block + ".attention", heads)
        normed, name = norm(x, p, block + ".feed_forward_norm"), block + ".feed_forward."
        if name + "gate.weight" in p:
            x = x + mixture(normed, p, name, settings, results)
        else:
            x = x + feed_forward(normed, p, name)
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
    results = {}
    logits = model(inputs, tensors, metadata, results)
    loss = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))
    balance = results.pop("balance", torch.zeros(()))
    (loss + balance).backward()
    for name, parameter in tensors.items():
        results[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    results["loss"] = loss.detach().reshape(1)
    results["balance"] = balance.detach().reshape(1)
    save(sys.argv[2], results)


main()
