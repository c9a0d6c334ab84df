#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes ops.txt: inputs, outputs and gradients of ops as PyTorch computes them in f64, for test_op_golden.c.

usage: make_ops.py > ops.txt

Each record is a line "NAME DIMS SIZE..." and a line of values. Names are CASE.x0, CASE.x1, ... for inputs, CASE.out, and
CASE.d0, ... for the gradients of sum(out * CASE.weights); what has no weights has no gradients. Integers are written
as numbers too.
"""
import math
import sys

import numpy
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


def values(name, function, *inputs, ids=None):
    """A case without gradients."""
    for i, x in enumerate(inputs):
        write("%s.x%d" % (name, i), x)
    if ids is not None:
        write("%s.ids" % name, ids)
    write("%s.out" % name, function(*inputs) if ids is None else function(*inputs, ids))


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
    elementwise()
    form()
    rows()
    experts()
    random()
    optimizers()


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


def elementwise():
    n = torch.randn
    for name in ("add", "sub", "mul", "maximum", "minimum"):
        case(name, getattr(torch, name), n(3, 1, 5), n(4, 1))
    case("scale", lambda x: x * -2.5, n(3, 7))
    case("shift", lambda x: x + 0.75, n(3, 7))
    case("exp", torch.exp, n(3, 7))
    case("ln", torch.log, 0.1 + torch.rand(3, 7))
    case("sqrt", torch.sqrt, 0.1 + torch.rand(3, 7))
    case("relu", torch.relu, n(3, 7))
    whole = torch.tensor([[1.0, -2.0, 3.0, 0.0, 7.0], [1.0, 2.0, -3.0, 0.0, 6.0]])
    values("less", lambda x, y: (x < y).double(), whole, whole.flip(0))
    values("equal", lambda x, y: (x == y).double(), whole, whole.flip(0))
    values("cast", lambda x: x.to(torch.bfloat16).double(), 100 * n(3, 7))
    values("cast_down", lambda x: x.to(torch.int32).double(), 16 * n(3, 7).to(torch.bfloat16).double())


def form():
    n = torch.randn
    case("reshape", lambda x: x.reshape(3, 8), n(2, 3, 4))
    case("transpose", lambda x: x.permute(2, 0, 1), n(2, 3, 4))
    case("expand", lambda x: x.expand(2, 3, 4), n(3, 1))
    case("slice", lambda x: x[:, 1:4], n(2, 5, 3))
    case("concatenate", lambda x, y, z: torch.cat((x, y, z), 1), n(2, 3, 2), n(2, 1, 2), n(2, 2, 2))
    case("update", lambda x, block: torch.cat((x[:, :2], block, x[:, 4:]), 1), n(2, 5, 3), n(2, 2, 3))


def rows():
    n = torch.randn
    case("sum", lambda x: x.sum((0, 2)), n(3, 4, 5))
    case("mean", lambda x: x.mean(1), n(3, 4, 5))
    case("max", lambda x: x.amax(1, keepdim=True), n(3, 4, 5))
    case("sum_squares", lambda x: (x * x).sum(), n(3, 7))
    # part p of a dim of n begins at p n / parts
    values("sum_squares_parts", lambda x: torch.stack([(x[:, p * 7 // 3:(p + 1) * 7 // 3] ** 2).sum() for p in range(3)]),
           n(4, 7))
    spread = torch.stack([torch.randperm(9) for _ in range(4)]).double()  # no two alike, in bf16 too
    values("argmax", lambda x: x.argmax(-1), spread)
    values("top_k_indices", lambda x: x.topk(3).indices, spread)
    values("sort_indices", lambda x: x.sort().indices, spread)
    for name, norm, clip, above in (("clipped", 4, 0.5, 9), ("unclipped", 0.25, 0.5, 9), ("skipped", 10, 0.5, 9)):
        factor = 0 if norm > above else min(1, clip / norm)
        values("clip_factor_" + name, lambda x: torch.tensor(float(factor)), torch.tensor(float(norm)))
    case("attend_segments", segmented, n(2, 6, 2, 4), n(2, 6, 2, 4), n(2, 6, 2, 4),
         ids=torch.tensor([[0, 0, 1, 1, 1, 2], [3, 3, 3, 3, 1, 1]]))
    case("attend_logsumexp", lambda q, k: (torch.einsum("bqhd,bkhd->bqhk", q, k) / 2).logsumexp(-1),
         n(2, 3, 2, 4), n(2, 5, 2, 4))


def segmented(q, k, v, ids):
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[3])
    seen = (ids[:, :, None] == ids[:, None, :]) & torch.ones(6, 6, dtype=torch.bool).tril()
    return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~seen[:, None], -math.inf).softmax(-1), v)


def slots_of(chosen, experts, capacity):
    """For each choice (B, T, K) its slot, expert * capacity + place, or -1: first choices before second ones."""
    slots = torch.full_like(chosen, -1)
    for b in range(chosen.shape[0]):
        taken = [0] * experts
        for k in range(chosen.shape[2]):
            for t in range(chosen.shape[1]):
                e = int(chosen[b, t, k])
                if e >= 0 and taken[e] < capacity:
                    slots[b, t, k] = e * capacity + taken[e]
                    taken[e] += 1
    return slots


def spots(slots, experts, capacity):
    """1 where a choice has a slot: (B, T, K, E, P)."""
    return F.one_hot(slots + 1, experts * capacity + 1)[..., 1:].double().unflatten(-1, (experts, capacity))


def experts():
    n = torch.randn
    chosen = torch.tensor([[[0, 1], [0, 2], [0, -1], [2, 1]], [[1, 2], [2, 1], [2, 1], [1, 0]]])
    slots = slots_of(chosen, 3, 2)
    there = "btc,btk,btkep->ebpc"
    back = "ebpc,btk,btkep->btc"
    values("assign", lambda x, i: slots_of(i, 3, 2), torch.zeros(()), ids=chosen)
    case("dispatch", lambda x, w, i: torch.einsum(there, x, w, spots(i, 3, 2)), n(2, 4, 3), n(2, 4, 2), ids=slots)
    case("collect", lambda x, w, i: torch.einsum(back, x, w, spots(i, 3, 2)), n(3, 2, 2, 3), n(2, 4, 2), ids=slots)
    case("expert_dot", lambda x, k: torch.einsum("ebpc,ecf->ebpf", x, k), n(3, 2, 2, 4), n(3, 4, 5))


def philox(key, step, count):
    """The first `count` words of a stream: Philox4x32-10 of Salmon et al. 2011, a counter of (block, step)."""
    u = numpy.uint64
    low = u(0xFFFFFFFF)
    block = numpy.arange((count + 3) // 4, dtype=u)
    c = [block & low, block >> u(32), block * u(0) + u(step & 0xFFFFFFFF), block * u(0) + u(step >> 32)]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        a, b = c[0] * u(0xD2511F53), c[2] * u(0xCD9E8D57)
        c = [(b >> u(32)) ^ c[1] ^ u(k[0]), b & low, (a >> u(32)) ^ c[3] ^ u(k[1]), a & low]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return numpy.stack(c, 1).reshape(-1)[:count]


def random():
    key, step = 0x123456789ABCDEF0, 7
    words = philox(key, step, 40)
    uniform = torch.tensor(((words >> numpy.uint64(9)).astype(float) + 0.5) / 2**23)
    # Box and Muller: a radius of one word, an angle of the next
    pairs = words.astype(float).reshape(-1, 2)
    radius = numpy.sqrt(-2 * numpy.log((pairs[:, 0] + 0.5) / 2**32))
    angle = 2 * math.pi * pairs[:, 1] / 2**32
    normal = torch.tensor(numpy.stack((radius * numpy.cos(angle), radius * numpy.sin(angle)), 1).reshape(-1))
    values("uniform", lambda x: uniform.reshape(5, 8), torch.zeros(()))
    values("normal", lambda x: normal.reshape(5, 8), torch.zeros(()))
    values("gumbel", lambda x: -torch.log(-torch.log(uniform)).reshape(5, 8), torch.zeros(()))
    kept = torch.tensor((words >= 2**30).astype(float)).reshape(5, 8)
    case("drop", lambda x: x * kept / 0.75, torch.randn(5, 8))
    case("norm", lambda x: F.layer_norm(x, (7,), None, None, 1e-5), torch.randn(3, 7))


def optimizers():
    """The third step from a parameter p, a gradient g, a mean m and a variance v; rate 2^-4, factor 2^-1."""
    rate, half, decay, epsilon, t = 0.0625, 0.5, 0.125, 0.0625, 3
    p, g, m, v = torch.randn(3, 7), torch.randn(3, 7), torch.randn(3, 7), torch.rand(3, 7)

    def step(optimizer, state):
        """What PyTorch's makes of p and its state, one behind another."""
        x = p.clone().requires_grad_()
        made = optimizer(x)
        made.state[x] = {key: value.clone() for key, value in state.items()}
        x.grad = half * g
        made.step()
        return torch.cat([x.detach()] + [made.state[x][key] for key in state if key != "step"])

    def sgd(**options):
        return lambda x: torch.optim.SGD([x], lr=rate, weight_decay=decay, **options)

    values("sgd", lambda p, g: step(sgd(), {}), p, g)
    values("momentum", lambda p, m, g: step(sgd(momentum=0.75), {"momentum_buffer": m}), p, m, g)
    values("nesterov", lambda p, m, g: step(sgd(momentum=0.75, nesterov=True), {"momentum_buffer": m}), p, m, g)
    state = {"step": torch.tensor(t - 1.0), "exp_avg": m, "exp_avg_sq": v}
    adam = lambda x: torch.optim.Adam([x], lr=rate, betas=(0.75, 0.875), eps=epsilon, weight_decay=decay)
    values("adam", lambda p, m, v, g: step(adam, state), p, m, v, g)

    # Chen et al. 2023, algorithm 2; Loshchilov and Hutter 2019; and an average that begins quickly
    c = half * g
    values("lion", lambda p, m, g: torch.cat(
        [p - rate * (torch.sign(0.75 * m + 0.25 * c) + decay * p), 0.875 * m + 0.125 * c]), p, m, g)
    mean, variance = 0.75 * m + 0.25 * c, 0.875 * v + 0.125 * c * c
    update = mean / (1 - 0.75**t) / ((variance / (1 - 0.875**t)).sqrt() + epsilon) + decay * p
    values("adam_update", lambda m, v, p, g: torch.cat([mean, variance, update]), m, v, p, g)
    velocity = 0.75 * m + 0.25 * c
    values("velocity", lambda m, g: torch.cat([velocity, velocity]), m, g)
    values("velocity_nesterov", lambda m, g: torch.cat([velocity, 0.75 * velocity + 0.25 * c]), m, g)
    values("descend", lambda p, u: p - rate * (2 * u + decay * p), p, g)
    d = min(0.875, t / (9 + t))
    values("average", lambda a, p: a + (1 - d) * (p - a), m, p)


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
