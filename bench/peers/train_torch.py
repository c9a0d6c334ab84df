#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/train measures, by PyTorch: steps of training a GPT, or with --bert a masked model of BERT's form, on random
tokens. A step is forward, backward, clipping by global norm 1, AdamW. What is fastest is taken: attention fused where
this PyTorch has it, AdamW fused likewise, autocast for bf16. Prints `seconds S parameters N peak_mib M version V`: the
median of the steps behind one that is not counted.

OpenBLAS, which takes processors that are newer than itself for very old ones, gets what OPENBLAS_CORETYPE says;
`train_torch.py --settle` prints which is fastest here, nothing where this PyTorch multiplies by something else."""
import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

CORES = ("", "Haswell", "SkylakeX", "Cooperlake")
HAS_FUSED_ATTENTION = hasattr(F, "scaled_dot_product_attention")


def product_s():
    a, b = torch.rand(512, 768), torch.rand(768, 3072)
    took = []
    for _ in range(8):
        begin = time.perf_counter()
        torch.mm(a, b)
        took.append(time.perf_counter() - begin)
    return min(took)


def settle():
    seconds = {}
    for core in CORES + CORES:  # twice: what else the machine does falls on all alike
        out = subprocess.run([sys.executable, __file__, "--product"], capture_output=True, text=True,
                             env={**os.environ, "OPENBLAS_CORETYPE": core})
        if out.returncode == 0:
            seconds[core] = min(float(out.stdout), seconds.get(core, math.inf))
    best = min(seconds, key=seconds.get)
    print("" if seconds[""] <= 1.2 * seconds[best] else best)


class Block(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.heads, self.bert = a.heads, a.bert
        self.norm1, self.norm2 = nn.LayerNorm(a.width), nn.LayerNorm(a.width)
        self.qkv, self.out = nn.Linear(a.width, 3 * a.width), nn.Linear(a.width, a.width)
        self.up, self.down = nn.Linear(a.width, 4 * a.width), nn.Linear(4 * a.width, a.width)
        if not HAS_FUSED_ATTENTION and not a.bert:
            self.register_buffer("hidden", torch.tril(torch.ones(a.length, a.length)) == 0)

    def attend(self, x):
        b, t, c = x.shape
        q, k, v = (z.view(b, t, self.heads, c // self.heads).transpose(1, 2) for z in self.qkv(x).split(c, 2))
        if HAS_FUSED_ATTENTION:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=not self.bert)
        else:
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(c // self.heads)
            if not self.bert:
                scores = scores.masked_fill(self.hidden, float("-inf"))
            y = F.softmax(scores, -1) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, c))

    def forward(self, x):
        if self.bert:
            x = self.norm1(x + self.attend(x))
            return self.norm2(x + self.down(F.gelu(self.up(x))))
        x = x + self.attend(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.bert = a.bert
        self.tokens, self.places = nn.Embedding(a.vocab, a.width), nn.Embedding(a.context, a.width)
        self.blocks, self.norm = nn.ModuleList(Block(a) for _ in range(a.layers)), nn.LayerNorm(a.width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        if a.bert:
            self.types = nn.Embedding(2, a.width)
            self.transform, self.last_norm = nn.Linear(a.width, a.width), nn.LayerNorm(a.width)
            self.bias = nn.Parameter(torch.zeros(a.vocab))

    def forward(self, x, y):
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        if self.bert:
            h = self.norm(h + self.types.weight[0])
        for block in self.blocks:
            h = block(h)
        h = self.last_norm(F.gelu(self.transform(h))) if self.bert else self.norm(h)
        logits = F.linear(h, self.tokens.weight, self.bias if self.bert else None).float()
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-100)


def adamw(model):
    try:
        return torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    except (RuntimeError, TypeError):
        return torch.optim.AdamW(model.parameters(), lr=3e-4)


def main():
    p = argparse.ArgumentParser()
    for name, default in dict(layers=6, heads=6, width=384, vocab=256, context=256, length=256, batch=16, threads=2,
                              steps=3).items():
        p.add_argument("--" + name, type=int, default=default)
    p.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    for flag in ("bert", "compile", "settle", "product"):
        p.add_argument("--" + flag, action="store_true")
    a = p.parse_args()
    if a.product:
        torch.set_num_threads(1)
        return print(product_s())
    if a.settle:
        return settle()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = Model(a)
    optimizer = adamw(model)
    forward = torch.compile(model) if a.compile else model
    seconds = []
    for _ in range(a.steps + 1):
        x, y = (torch.randint(0, 256, (a.batch, a.length)) for _ in "xy")
        if a.bert:
            y[torch.rand(y.shape) >= 0.15] = -100
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.dtype == "bf16"):
            loss = forward(x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begin)
    assert math.isfinite(loss.item())
    print(f"seconds {statistics.median(seconds[1:]):.6g} parameters {sum(q.numel() for q in model.parameters())} "
          f"peak_mib {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} version {torch.__version__}")


if __name__ == "__main__":
    main()
