#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes balance.txt: what the balancing methods make of three tasks on shared parameters, by automatic differentiation,
for tests/task/test_balance.c.

usage: make_balance.py > balance.txt      (torch)

A case is a line "case METHOD TASKS STEPS"; for each step a line: the losses, their Gram matrix (TASKS x TASKS), and the
coefficients that the step used.
"""
import torch

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
TASKS, STEPS, WIDTH = 3, 25, 6
matrices = [torch.randn(4, WIDTH) * s for s in (0.3, 1.0, 2.0)]
targets = [torch.randn(4) for _ in range(TASKS)]


def losses(theta):
    return [((a @ theta - b) ** 2).mean() for a, b in zip(matrices, targets)]


def run(method, make):
    torch.manual_seed(5)
    theta = torch.randn(WIDTH, requires_grad=True)
    coefficients, learn = make()
    print("case", method, TASKS, STEPS)
    for step in range(STEPS):
        loss = losses(theta)
        gradient = [torch.autograd.grad(l, theta, create_graph=True)[0] for l in loss]
        gram = [float(g @ h) for g in gradient for h in gradient]
        used = coefficients()
        print(" ".join("%.17g" % v for v in [float(l) for l in loss] + gram + [float(c) for c in used]))
        learn(loss, gradient)
        with torch.no_grad():
            theta -= 0.05 * sum(float(c) * g for c, g in zip(used, gradient))


def uncertainty():
    s = torch.zeros(TASKS, requires_grad=True)
    adam = torch.optim.Adam([s], lr=0.02)

    def learn(loss, gradient):
        adam.zero_grad()
        total = sum(torch.exp(-s[i]) * loss[i].detach() / 2 + s[i] / 2 for i in range(TASKS))
        total.backward()
        adam.step()

    return lambda: torch.exp(-s).detach() / 2, learn


def dynamic_average():
    seen, means = [], []

    def coefficients():
        if len(means) < 2:
            return torch.ones(TASKS)
        return TASKS * torch.softmax(means[-1] / means[-2] / 2, 0)

    def learn(loss, gradient):
        seen.append(torch.stack(loss).detach())
        if len(seen) % 4 == 0:
            means.append(torch.stack(seen[-4:]).mean(0))

    return coefficients, learn


def gradnorm():
    w = torch.ones(TASKS, requires_grad=True)
    first = []

    def learn(loss, gradient):
        values = torch.stack(loss).detach()
        if not first:
            first.append(values)
        norms = torch.stack([torch.linalg.norm(w[i] * gradient[i].detach()) for i in range(TASKS)])
        pace = values / first[0]
        target = (norms.mean() * (pace / pace.mean()) ** 1.5).detach()
        grad = torch.autograd.grad((norms - target).abs().sum(), w)[0]
        with torch.no_grad():
            w.sub_(0.025 * grad).clamp_(min=1e-6)
            w.mul_(TASKS / w.sum())

    return lambda: w.detach().clone(), learn


run("uncertainty", uncertainty)
run("dynamic_average", dynamic_average)
run("gradnorm", gradnorm)
