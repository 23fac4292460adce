#!/usr/bin/python3
"""`longhaul bench train` beside PyTorch, one thread each, in turn: train_peers.py LONGHAUL [CYCLES] [--moe]

Both train a byte-level transformer of width 128, 2 layers, 4 heads, 16 sequences of 128 bytes per step, forward, backward
and AdamW; with --moe 8 experts of width 512 in each block, top-2, PyTorch's as a loop over the experts with index_select and
index_add. PyTorch is Debian's (python3-torch), on the same OpenBLAS with the same core type. Prints the median step of each
cycle and the ratio of tokens/s.
"""
import json
import os
import statistics
import subprocess
import sys
import time

STEPS, D, LAYERS, HEADS, T, BATCH = 20, 128, 2, 4, 128, 16
EXPERTS, TOP_K = 8, 2


def torch_median(moe):
    """Milliseconds of the median step, in this process."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)

    def feed_forward():
        return nn.Sequential(nn.Linear(D, 4 * D), nn.GELU(), nn.Linear(4 * D, D))

    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(D, EXPERTS, bias=False)
            self.experts = nn.ModuleList(feed_forward() for _ in range(EXPERTS))

        def forward(self, x):
            rows = x.reshape(-1, D)
            weights, chosen = self.gate(rows).topk(TOP_K, -1)
            weights = weights.softmax(-1)
            out = torch.zeros_like(rows)
            for index, expert in enumerate(self.experts):
                token, choice = (chosen == index).nonzero(as_tuple=True)
                if token.numel():
                    made = expert(rows.index_select(0, token)) * weights[token, choice, None]
                    out = out.index_add(0, token, made)
            return out.view(x.shape)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(2))
            self.attention = nn.MultiheadAttention(D, HEADS, batch_first=True)
            self.mlp = Mixture() if moe else feed_forward()

        def forward(self, x, mask):
            h = self.norms[0](x)
            x = x + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]
            return x + self.mlp(self.norms[1](x))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(256, D), nn.Parameter(torch.zeros(T, D))
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 256)
            self.register_buffer("mask", torch.full((T, T), float("-inf")).triu(1))

        def forward(self, x):
            x = self.tokens(x) + self.positions
            for block in self.blocks:
                x = block(x, self.mask)
            return self.head(self.norm(x))

    model = Model()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    times = []
    for step in range(-5, STEPS):
        data = torch.randint(0, 256, (BATCH, T + 1))
        inputs, targets = data[:, :-1].contiguous(), data[:, 1:].reshape(-1)
        start = time.perf_counter()
        loss = nn.functional.cross_entropy(model(inputs).view(-1, 256), targets)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step >= 0:
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--moe"]
    moe = "--moe" in sys.argv
    if arguments and arguments[0] == "--peer":
        print(torch_median(moe))
        return
    if not arguments:
        sys.exit(__doc__)
    cycles = int(arguments[1]) if len(arguments) > 1 else 3
    flags = ["--moe"] if moe else []
    ratios = []
    print("cycle  Longhaul ms  PyTorch ms  Longhaul tokens/s  ratio")
    for cycle in range(cycles):
        command = [arguments[0], "bench", "train", "--steps", str(STEPS), "--json"] + flags
        ours = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        environment = dict(os.environ, OPENBLAS_NUM_THREADS="1")
        environment["OPENBLAS_CORETYPE"] = ours["blas_core"]
        peer = [sys.executable, __file__, "--peer"] + flags
        result = subprocess.run(peer, check=True, capture_output=True, env=environment)
        theirs = float(result.stdout)
        ratios.append(theirs / ours["step_ms_median"])
        print(
            f"{cycle + 1:5d}  {ours['step_ms_median']:11.1f}  {theirs:10.1f}  "
            f"{ours['tokens_per_second']:17.0f}  {ratios[-1]:5.2f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.2f} ({'experts' if moe else 'dense'})")


main()
