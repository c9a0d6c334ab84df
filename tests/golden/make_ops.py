#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes ops.txt: inputs, outputs and gradients of ops as PyTorch computes them in f64, for test_op_golden.c.

usage: make_ops.py > ops.txt

Each record is a line "NAME DIMS SIZE..." and a line of values. Names are CASE.x0, CASE.x1, ... for inputs, CASE.out, and
CASE.d0, ... for the gradients of sum(out * CASE.weights). Integers are written as numbers too.
"""
import math
import sys

import torch
import torch.nn.functional as F

torch.manual_seed(1234)
torch.set_default_dtype(torch.float64)


def write(name, tensor):
    values = tensor.detach().reshape(-1).tolist()
    print(name, tensor.dim(), *tensor.shape)
    print(" ".join("%.17g" % value for value in values))


def case(name, function, *inputs, ids=None):
    inputs = [x.clone().requires_grad_() for x in inputs]
    out = function(*inputs) if ids is None else function(*inputs, ids)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    for i, x in enumerate(inputs):
        write("%s.x%d" % (name, i), x)
        write("%s.d%d" % (name, i), x.grad)
    if ids is not None:
        write("%s.ids" % name, ids)
    write("%s.weights" % name, weights)
    write("%s.out" % name, out)


def attend(q, k, v, causal, scale=None, window=None):
    """q (B, Tq, H, D); k, v (B, Tk, Hkv, D)."""
    group = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * (scale or 1 / math.sqrt(q.shape[3]))
    position = torch.arange(q.shape[1])[:, None] + k.shape[1] - q.shape[1]
    key = torch.arange(k.shape[1])[None, :]
    seen = torch.ones_like(position + key, dtype=torch.bool)
    if causal:
        seen &= key <= position
    if window:
        seen &= position - key < window
    return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~seen, -math.inf).softmax(-1), v)


def z_cross_entropy(x, y):
    smooth = F.cross_entropy(x, y, reduction="none", label_smoothing=0.1)
    return smooth + 0.01 * x.logsumexp(-1) ** 2


def main():
    n = torch.randn
    case("gelu", F.gelu, 2 * n(3, 7))
    case("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), 2 * n(3, 7))
    case("silu", F.silu, 2 * n(3, 7))
    case("sigmoid", torch.sigmoid, 2 * n(3, 7))
    case("tanh", torch.tanh, 2 * n(3, 7))
    case("div", torch.div, n(3, 1, 5), 2 + torch.rand(4, 1))
    case("layer_norm", lambda x, s, b: F.layer_norm(x, (9,), s, b, 1e-5), n(2, 3, 9), n(9), n(9))
    case("rms_norm", lambda x, s: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * s, n(2, 3, 9), n(9))
    case("dot", lambda a, b: torch.einsum("btc,chd->bthd", a, b), n(2, 3, 6), n(6, 2, 4))
    case("attend", lambda q, k, v: attend(q, k, v, False), n(2, 3, 2, 4), n(2, 5, 2, 4), n(2, 5, 2, 4))
    case("attend_causal", lambda q, k, v: attend(q, k, v, True), n(2, 5, 4, 3), n(2, 5, 2, 3), n(2, 5, 2, 3))
    case("attend_window", lambda q, k, v: attend(q, k, v, True, 0.5, 3), n(1, 4, 2, 3), n(1, 7, 2, 3), n(1, 7, 2, 3))
    case("cross_entropy", lambda x, y: F.cross_entropy(x, y, reduction="none", ignore_index=-100), 3 * n(6, 11),
         ids=torch.tensor([0, 10, -100, 3, 3, 7]))
    case("cross_entropy_all", z_cross_entropy, 3 * n(4, 5), ids=torch.tensor([0, 4, 2, 2]))
    case("take", lambda t, i: F.embedding(i, t), n(7, 4), ids=torch.tensor([[1, 6, 1], [0, 1, 3]]))
    adamw()
    more()


def rotary(x, interleaved):
    """Position i + 3, base 10000."""
    pairs = x.shape[-1] // 2
    angle = (torch.arange(x.shape[1]) + 3.0)[:, None] * 10000.0 ** (-torch.arange(pairs) / pairs)
    cosine, sine = angle.cos()[None, :, None, :], angle.sin()[None, :, None, :]
    a, b = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :pairs], x[..., pairs:])
    turned = (a * cosine - b * sine, a * sine + b * cosine)
    return torch.stack(turned, -1).flatten(-2) if interleaved else torch.cat(turned, -1)


def more():
    n = torch.randn
    case("softmax", lambda x: x.softmax(-1), 2 * n(3, 2, 7))
    case("log_softmax", lambda x: x.log_softmax(-1), 2 * n(3, 7))
    case("logsumexp", lambda x: x.logsumexp(-1), 2 * n(3, 7))
    case("where", lambda a, b: torch.where(a > b, a, b * b), n(3, 1, 5), n(4, 1))
    case("gather", lambda x, i: x.gather(1, i), n(2, 5, 3), ids=torch.tensor([[[0, 4, 2], [4, 4, 1]]] * 2))
    case("scatter_add", lambda x, s, i: x.scatter_add(1, i, s), n(2, 4), n(2, 3), ids=torch.tensor([[0, 3, 0], [1, 1, 1]]))
    case("running_sum", lambda x: x.cumsum(1), n(2, 5, 3))
    case("top_k", lambda x: x.topk(3).values, n(4, 9))
    case("sort", lambda x: x.sort().values, n(4, 9))
    case("swiglu", lambda a, b: F.silu(a) * b, n(3, 5), n(3, 5))
    case("geglu", lambda a, b: F.gelu(a) * b, n(3, 5), n(3, 5))
    case("rotary", lambda x: rotary(x, False), n(2, 4, 2, 6))
    case("rotary_neighbours", lambda x: rotary(x, True), n(2, 4, 2, 6))
    case("batch_dot", lambda a, b: a.transpose(-1, -2) @ b, n(2, 3, 5, 4), n(2, 3, 5, 2))
    case("attend_bias", biased, n(2, 3, 2, 4), n(2, 5, 2, 4), n(2, 5, 2, 4), n(2, 3, 5))
    case("conv1d_same", lambda x, k: conv1d(x, k, 1, 2), n(2, 6, 3), n(4, 3, 2))
    case("conv1d_causal", lambda x, k: conv1d(x, k, 3, 0), n(2, 6, 3), n(4, 3, 2))
    case("conv1d_valid", lambda x, k: conv1d(x, k, 0, 0), n(2, 6, 3), n(4, 3, 2))


def biased(q, k, v, bias):
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[3]) + bias
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)


def conv1d(x, kernel, left, right):
    """x (B, T, C), kernel (K, C, D)."""
    return F.conv1d(F.pad(x.transpose(1, 2), (left, right)), kernel.permute(2, 1, 0)).transpose(1, 2)


def adamw():
    """Two steps of torch.optim.AdamW."""
    x = torch.randn(12).requires_grad_()
    write("adamw.x", x)
    optimizer = torch.optim.AdamW([x], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for step in (1, 2):
        x.grad = torch.randn(12)
        write("adamw.gradient%d" % step, x.grad)
        optimizer.step()
        write("adamw.x%d" % step, x)


if __name__ == "__main__":
    sys.exit(main())
