#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes learning.txt: parameters after steps of each optimizer, and factors of each schedule, for test_optimizers.c
and test_schedule.c.

usage: make_learning.py > learning.txt

SGD, Adam and AdamW are PyTorch's in f64, Adafactor is that of Transformers; the others are their papers' formulas.
Schedules are those of PyTorch and Transformers where they have them.

An optimizer's record is "learner NAME {...}", the YAML of the config, and for each of the three parameters a line
"PATH VALUE..." after STEPS steps; an average is a fourth to sixth line. A schedule's is "schedule NAME RUN_STEPS {...}"
and a line of the factors of steps 1, 2, ...
"""
import math

import numpy as np
import torch

if not hasattr(torch.optim.lr_scheduler, "LRScheduler"):  # before PyTorch 2
    torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler._LRScheduler
from transformers import optimization
from transformers.optimization import Adafactor

STEPS, RATE = 6, 2.0 ** -6
SHAPES = {"kernel": (6, 4), "heads": (5, 2, 3), "bias": (7,)}
torch.set_default_dtype(torch.float64)


def value(k, shape):
    e = np.arange(np.prod(shape))
    return (np.cos(0.7 * e + k) * 0.5).reshape(shape)


def gradient(k, shape, step):
    e = np.arange(np.prod(shape))
    return (np.sin(3.0 * e + 5.0 * step + 17.0 * k) * (k + 1) * 0.25).reshape(shape)


def flat(values):
    return " ".join("%.17g" % x for x in np.asarray(values).reshape(-1))


def matrix(x):
    """As rows by columns, parted where rows + columns are fewest."""
    best = min(range(1, x.ndim), key=lambda s: np.prod(x.shape[:s]) + np.prod(x.shape[s:])) if x.ndim > 1 else 0
    return x.reshape(int(np.prod(x.shape[:best])), -1) if best else x


def run(name, yaml, make, clip=None, clip_each=0, decay=None, ema=None):
    """`make(path, k, x)` gives a function (x, g, t) -> x."""
    paths = list(SHAPES)
    x = [value(k, SHAPES[p]) for k, p in enumerate(paths)]
    average = [v.copy() for v in x]
    rules = [make(p, k, x[k]) for k, p in enumerate(paths)]
    for t in range(1, STEPS + 1):
        g = [gradient(k, SHAPES[p], t) for k, p in enumerate(paths)]
        norm = math.sqrt(sum((v ** 2).sum() for v in g))
        for k in range(len(paths)):
            if clip and norm > clip:
                g[k] = g[k] * (clip / norm)
            own = math.sqrt((g[k] ** 2).sum())
            if clip_each and own > clip_each:
                g[k] = g[k] * (clip_each / own)
            x[k] = rules[k](x[k], g[k], t)
            if ema is not None:
                d = min(ema, t / (9.0 + t))
                average[k] = average[k] + (1 - d) * (x[k] - average[k])
    print("learner", name, yaml)
    for k, p in enumerate(paths):
        print(p, flat(x[k]))
    if ema is not None:
        for k, p in enumerate(paths):
            print("average/" + p, flat(average[k]))


def torch_rule(make):
    """A rule of PyTorch's; weight decay for all but the bias."""

    def build(path, k, x):
        parameter = torch.nn.Parameter(torch.tensor(matrix(x)))
        optimizer = make([parameter], path != "bias")

        def rule(_, g, t):
            parameter.grad = torch.tensor(g.reshape(parameter.shape))
            optimizer.step()
            return parameter.detach().numpy().reshape(SHAPES[path]).copy()

        return rule

    return build


def adam_pax(decay, threshold, b1=0.9, b2=0.999, epsilon=1e-6):
    def build(path, k, x):
        m, v = np.zeros_like(x), np.zeros_like(x)

        def rule(p, g, t):
            nonlocal m, v
            d1, d2 = b1 * (1 - b1 ** (t - 1)) / (1 - b1 ** t), b2 * (1 - b2 ** (t - 1)) / (1 - b2 ** t)
            m, v = d1 * m + (1 - d1) * g, d2 * v + (1 - d2) * g * g
            u = m / (np.sqrt(v) + epsilon)
            u = u / max(1.0, math.sqrt((u ** 2).mean()) / threshold)
            return p - RATE * (u + (decay if path != "bias" else 0) * p)

        return rule

    return build


def lamb(decay, b1=0.9, b2=0.999, epsilon=1e-6):
    def build(path, k, x):
        m, v = np.zeros_like(x), np.zeros_like(x)

        def rule(p, g, t):
            nonlocal m, v
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            u = m / (1 - b1 ** t) / (np.sqrt(v / (1 - b2 ** t)) + epsilon) + (decay if path != "bias" else 0) * p
            return p - RATE * math.sqrt((p ** 2).sum()) / math.sqrt((u ** 2).sum()) * u

        return rule

    return build


def lion(decay, b1=0.9, b2=0.99):
    def build(path, k, x):
        m = np.zeros_like(x)

        def rule(p, g, t):
            nonlocal m
            c = b1 * m + (1 - b1) * g
            m = b2 * m + (1 - b2) * g
            return p - RATE * (np.sign(c) + (decay if path != "bias" else 0) * p)

        return rule

    return build


def newton_schulz(g, steps=5):
    """As the authors publish it, for (out, in)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (np.linalg.norm(g) + 1e-7)
    turned = g.shape[0] > g.shape[1]
    x = x.T if turned else x
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if turned else x


def muon(decay, scale, mu=0.95):
    def build(path, k, x):
        buffer = np.zeros_like(x)

        def rule(p, g, t):
            nonlocal buffer
            if path == "bias":
                return p - RATE * g
            buffer = mu * buffer + (1 - mu) * g
            u = (1 - mu) * g + mu * buffer
            kernel = matrix(u).T  # theirs are (out, in)
            out, into = kernel.shape
            factor = max(1, out / into) ** 0.5 if scale == "original" else 0.2 * math.sqrt(max(out, into))
            return p * (1 - RATE * decay) - RATE * factor * newton_schulz(kernel).T.reshape(p.shape)

        return rule

    return build


def inverse_root(a, ridge):
    w, v = np.linalg.eigh(a)
    w = np.maximum(w, 0)
    return (v * (w + ridge * w.max()) ** -0.25) @ v.T


def blocks(size, most):
    """Where blocks of at most `most` begin and end; the last may be shorter."""
    count = -(-size // most)
    block = -(-size // count)
    return [(i * block, min((i + 1) * block, size)) for i in range(count)]


def shampoo(decay, every, most, b1=0.9, b2=0.99, b3=0.95, ridge=1e-6, epsilon=1e-8):
    """Adam's update in the direction of L^(-1/4) M R^(-1/4); factors of blocks along the diagonal."""

    def build(path, k, x):
        m, v = np.zeros_like(x), np.zeros_like(x)
        shape = matrix(x).shape
        cuts = [blocks(size, most) for size in shape] if x.ndim > 1 else []
        factors = [[np.zeros((e - b, e - b)) for b, e in cut] for cut in cuts]
        roots = None

        def rule(p, g, t):
            nonlocal m, v, roots
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            u = m / (1 - b1 ** t) / (np.sqrt(v / (1 - b2 ** t)) + epsilon)
            if roots is not None:
                y = matrix(m).copy()
                for (b, e), root in zip(cuts[0], roots[0]):
                    y[b:e] = root @ y[b:e]
                for (b, e), root in zip(cuts[1], roots[1]):
                    y[:, b:e] = y[:, b:e] @ root
                u = (y * np.linalg.norm(u) / np.linalg.norm(y)).reshape(p.shape)
            for side, cut in enumerate(cuts):
                rows = matrix(g) if side == 0 else matrix(g).T
                for i, (b, e) in enumerate(cut):
                    factors[side][i] = b3 * factors[side][i] + (1 - b3) * rows[b:e] @ rows[b:e].T
            if cuts and t % every == 0:
                roots = [[inverse_root(f, ridge) for f in side] for side in factors]
            return p - RATE * (u + (decay if path != "bias" else 0) * p)

        return rule

    return build


def optimizers():
    adamw = torch_rule(lambda p, d: torch.optim.AdamW(p, RATE, (0.9, 0.99), 1e-8, 0.1 if d else 0))
    rate = "rate: %.17g" % RATE
    run("sgd", "{clip: 0, optimizer: {type: sgd, %s}}" % rate, torch_rule(lambda p, d: torch.optim.SGD(p, RATE)))
    run("sgd_momentum", "{clip: 0, optimizer: {type: sgd, %s, momentum: 0.9, decay: 0.05}}" % rate,
        torch_rule(lambda p, d: torch.optim.SGD(p, RATE, 0.9, weight_decay=0.05 if d else 0)))
    run("sgd_nesterov", "{clip: 0, optimizer: {type: sgd, %s, momentum: 0.9, nesterov: true}}" % rate,
        torch_rule(lambda p, d: torch.optim.SGD(p, RATE, 0.9, nesterov=True)))
    run("adam", "{clip: 0, optimizer: {type: adam, %s, decay: 0.1}}" % rate,
        torch_rule(lambda p, d: torch.optim.Adam(p, RATE, (0.9, 0.999), 1e-8, 0.1 if d else 0)))
    run("adamw", "{clip: 0, optimizer: {type: adamw, %s}}" % rate, adamw)
    run("adamw_clip", "{clip: 0.5, optimizer: {type: adamw, %s}}" % rate, adamw, clip=0.5)
    run("adamw_clip_each", "{clip: 0, clip_each: 0.5, optimizer: {type: adamw, %s}}" % rate, adamw, clip_each=0.5)
    run("adamw_no_decay", "{clip: 0, no_decay: [heads], optimizer: {type: adamw, %s}}" % rate,
        lambda path, k, x: torch_rule(lambda p, d: torch.optim.AdamW(
            p, RATE, (0.9, 0.99), 1e-8, 0.1 if path == "kernel" else 0))(path, k, x))
    run("adamw_ema", "{clip: 0, ema: {decay: 0.3}, optimizer: {type: adamw, %s}}" % rate, adamw, ema=0.3)
    run("adam_pax", "{clip: 0, optimizer: {type: adam_pax, %s, decay: 0.1}}" % rate, adam_pax(0.1, 1.0))
    run("adam_pax_capped", "{clip: 0, optimizer: {type: adam_pax, %s, threshold: 0.25}}" % rate, adam_pax(0, 0.25))
    run("lion", "{clip: 0, optimizer: {type: lion, %s, decay: 0.2}}" % rate, lion(0.2))
    run("lamb", "{clip: 0, optimizer: {type: lamb, %s, decay: 0.05}}" % rate, lamb(0.05))
    for name, yaml, options in (
            ("adafactor", "", {}),
            ("adafactor_momentum", ", beta1: 0.5, decay: 0.1", {"beta1": 0.5, "weight_decay": 0.1}),
            ("adafactor_absolute", ", scale_parameter: false, threshold: 0.5",
             {"scale_parameter": False, "clip_threshold": 0.5})):
        def make(p, d, options=options):
            chosen = {"scale_parameter": True, **options}
            if not d:
                chosen.pop("weight_decay", None)
            return Adafactor(p, lr=RATE, relative_step=False, warmup_init=False, **chosen)

        run(name, "{clip: 0, optimizer: {type: adafactor, %s%s}}" % (rate, yaml), torch_rule(make))
    others = "optimizers: {rest: {parameters: bias, type: sgd, %s}}" % rate
    for scale in ("original", "match_rms"):
        run("muon_" + scale, "{clip: 0, optimizer: {type: muon, %s, scale: %s}, %s}" % (rate, scale, others),
            muon(0.1, scale))
    run("shampoo", "{clip: 0, optimizer: {type: shampoo, %s, every: 2, ridge: 0.01}}" % rate,
        shampoo(0.1, 2, 512, ridge=0.01))
    run("shampoo_blocks", "{clip: 0, optimizer: {type: shampoo, %s, every: 1, block: 4, ridge: 0.01, decay: 0}}" % rate,
        shampoo(0, 1, 4, ridge=0.01))
    run("groups", "{clip: 0, optimizer: {type: adamw, %s}, optimizers: {a: {parameters: heads, type: lion, %s, "
        "schedule: {type: piecewise, boundaries: [3], factors: [1, 0]}}, b: {parameters: bias, type: sgd, %s}}}"
        % (rate, rate, rate),
        lambda path, k, x: adamw(path, k, x) if path == "kernel"
        else (lambda rule: lambda p, g, t: rule(p, g, t) if t < 3 else p)(lion(0.1)(path, k, x)) if path == "heads"
        else lambda p, g, t: p - RATE * g)


def schedule(name, run_steps, yaml, factor):
    print("schedule", name, run_steps, yaml)
    print(flat([factor(s) for s in range(1, 41)]))


def lambda_of(made):
    """The factor of a schedule of Transformers."""
    return lambda s: made.lr_lambdas[0](s)


def walk(make, warmup=0):
    """The rates of a scheduler of PyTorch, which begins behind a warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    made = make(optimizer)
    rates = []
    for _ in range(64):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return lambda s: s / warmup if s < warmup else rates[s - warmup]


def stable(s, warmup, total, decay, final, shape):
    if s < warmup:
        return s / warmup
    if s <= total - decay:
        return 1.0
    if s >= total:
        return final
    done = (s - total + decay) / decay
    left = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "sqrt": 1 - math.sqrt(done)}[shape]
    return final + (1 - final) * left


def schedules():
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    rates = torch.optim.lr_scheduler
    schedule("constant", 30, "{type: constant, warmup: 5}",
             lambda_of(optimization.get_constant_schedule_with_warmup(sgd, 5)))
    schedule("linear", 30, "{type: linear, warmup: 4}",
             lambda_of(optimization.get_linear_schedule_with_warmup(sgd, 4, 30)))
    schedule("cosine", 30, "{type: cosine, warmup: 4, steps: 25}",
             lambda s: lambda_of(optimization.get_cosine_schedule_with_warmup(sgd, 4, 25))(min(s, 25)))
    schedule("polynomial", 30, "{type: polynomial, warmup: 3, power: 2, final: 0.1}",
             lambda_of(optimization.get_polynomial_decay_schedule_with_warmup(sgd, 3, 30, lr_end=0.1, power=2)))
    schedule("inverse_sqrt", 30, "{type: inverse_sqrt, warmup: 6}",
             lambda_of(optimization.get_inverse_sqrt_schedule(sgd, 6)))
    schedule("inverse_sqrt_timescale", 30, "{type: inverse_sqrt, warmup: 2, timescale: 10}",
             lambda s: s / 2 if s < 2 else 1 / math.sqrt((s + 8) / 10))
    schedule("exponential", 30, "{type: exponential, warmup: 3, decay: 0.9, every: 1}",
             walk(lambda o: rates.ExponentialLR(o, 0.9), 3))
    schedule("stairs", 30, "{type: exponential, decay: 0.5, every: 7, stairs: true, final: 0.1}",
             lambda s: max(0.1, walk(lambda o: rates.StepLR(o, 7, 0.5))(s)))
    schedule("piecewise", 30, "{type: piecewise, boundaries: [10, 20], factors: [1, 0.5, 0.25]}",
             walk(lambda o: rates.MultiStepLR(o, [10, 20], 0.5)))
    schedule("ramps", 30, "{type: piecewise, boundaries: [10, 30], factors: [0, 1, 0.2], ramps: true}",
             lambda s: float(np.interp(s, [0, 10, 30], [0, 1, 0.2])))
    schedule("cycles", 30, "{type: cycles, warmup: 4, period: 5, growth: 2, final: 0.1}",
             walk(lambda o: rates.CosineAnnealingWarmRestarts(o, 5, 2, 0.1), 4))
    schedule("even_cycles", 30, "{type: cycles, period: 6}",
             walk(lambda o: rates.CosineAnnealingWarmRestarts(o, 6)))
    for shape in ("linear", "cosine", "sqrt"):
        schedule("stable_" + shape, 36, "{type: warmup_stable_decay, warmup: 5, decay_steps: 12, final: 0.05, shape: %s}"
                 % shape, lambda s: stable(s, 5, 36, 12, 0.05, shape))


if __name__ == "__main__":
    optimizers()
    schedules()
