#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The nets of jobs/flip-*.yaml in PyTorch, on the same files, with the same learner: what docs/results.md compares with.

usage: flip_torch.py structure|conservation|gb1 SEED [DIR]      (torch, scipy; DIR is what jobs/flip.sh made)

Prints the test scores: accuracy of residues, or Spearman.
"""
import csv
import math
import sys

import torch
from torch import nn
from torch.nn import functional as F

RESIDUES = "ACDEFGHIKLMNPQRSTVWYXBZJUO.-*"
PAD = len(RESIDUES)
STEPS, WARMUP, BATCH, LONGEST = 300, 30, 16, 512


def fasta(path):
    entries, name = {}, None
    for line in open(path):
        line = line.rstrip("\n")
        if line.startswith(">"):
            name, _, words = line[1:].partition(" ")
            entries[name] = (words, [])
        else:
            entries[name][1].append(line)
    return {name: (words, "".join(lines)) for name, (words, lines) in entries.items()}


def encode(text):
    return torch.tensor([RESIDUES.index(c) for c in text.upper()][:LONGEST])


def read_residues(directory, masked):
    """(train, test), each of (tokens, labels); the classes."""
    sequences, labels = fasta(directory + "/sequences.fasta"), fasta(directory + "/sampled.fasta")
    mask = fasta(directory + "/mask.fasta") if masked else None
    classes = sorted({c for words, text in labels.values() for c in text})
    parts = {"train": [], "test": []}
    for name, (_, text) in sequences.items():
        if name not in labels or "VALIDATION=True" in labels[name][0]:
            continue
        kept = mask[name][1] if mask else "1" * len(text)
        classed = [classes.index(c) if m == "1" else -100 for c, m in zip(labels[name][1], kept)][:LONGEST]
        part = "test" if "SET=test" in labels[name][0] else "train"
        parts[part].append((encode(text), torch.tensor(classed)))
    return parts["train"], parts["test"], classes


def read_values(directory):
    train, test = [], []
    for row in csv.DictReader(open(directory + "/two_vs_rest.csv")):
        if row["validation"] != "True":
            (test if row["set"] == "test" else train).append((encode(row["sequence"]), float(row["target"])))
    return train, test


def rotate(x):
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 10000 ** (-torch.arange(half)[None] / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


class Block(nn.Module):
    def __init__(self, width, heads, rotary):
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, seen):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(C, 2))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        scores = q @ k.transpose(2, 3) / math.sqrt(C // self.heads)
        scores = scores.masked_fill(~seen[:, None, None, :], -1e9)
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Net(nn.Module):
    def __init__(self, outputs, layers, rotary, pooled, width=64, heads=4):
        super().__init__()
        self.tokens = nn.Embedding(PAD + 1, width)
        self.places = None if rotary else nn.Embedding(LONGEST, width)
        self.blocks = nn.ModuleList(Block(width, heads, rotary) for _ in range(layers))
        self.norm, self.pooled = nn.LayerNorm(width), pooled
        self.head = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, outputs)) if pooled else nn.Linear(width, outputs)
        for name, p in self.named_parameters(): # as Tessera begins
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() > 1:
                deep = name.endswith((".out.weight", ".down.weight"))
                table = name.startswith(("tokens", "places"))
                nn.init.normal_(p, std=0.02 if table else (1 / math.sqrt(2 * layers) if deep else 1) / math.sqrt(p.shape[1]))

    def forward(self, tokens):
        seen = tokens != PAD
        x = self.tokens(tokens)
        if self.places is not None:
            x = x + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x, seen)
        x = self.norm(x)
        if self.pooled:
            x = (x * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
        return self.head(x)


def batches(examples, order):
    for i in range(0, len(order), BATCH):
        rows = [examples[k] for k in order[i : i + BATCH]]
        yield nn.utils.rnn.pad_sequence([r[0] for r in rows], True, PAD), [r[1] for r in rows]


def shuffled(examples):
    while True:  # the epochs follow one another; near lengths together, as data.sort does
        order = torch.randperm(len(examples)).tolist()
        for i in range(0, len(order), 16 * BATCH):
            window = sorted(order[i : i + 16 * BATCH], key=lambda k: len(examples[k][0]))
            parts = [window[j : j + BATCH] for j in range(0, len(window), BATCH)]
            for j in torch.randperm(len(parts)).tolist():
                yield next(batches(examples, parts[j]))


def main():
    task, seed = sys.argv[1], int(sys.argv[2])
    directory = (sys.argv[3] if len(sys.argv) > 3 else "runs/data/flip") + "/"
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    if task == "gb1":
        train, test = read_values(directory + "gb1")
        values = torch.tensor([v for _, v in train])
        mean, deviation = values.mean(), values.std(unbiased=False)
        net, rate, decay = Net(1, 1, False, True), 1e-3, 0.01
    else:
        train, test, classes = read_residues(directory + {"structure": "secondary_structure"}.get(task, task), task == "structure")
        net, rate, decay = Net(len(classes), 2, True, False), 3e-3, 0.01
    matrices = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0}], rate, (0.9, 0.99))
    draws = shuffled(train)
    for step in range(1, STEPS + 1):
        share = step / WARMUP if step <= WARMUP else 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))
        for group in optimizer.param_groups:
            group["lr"] = rate * share
        tokens, labels = next(draws)
        out = net(tokens)
        if task == "gb1":
            loss = F.mse_loss(out[:, 0], (torch.tensor(labels) - mean) / deviation)
        else:
            labels = nn.utils.rnn.pad_sequence(labels, True, -100)
            loss = F.cross_entropy(out.flatten(0, 1), labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    net.eval()
    right = count = 0
    guesses, truths = [], []
    with torch.no_grad():
        for tokens, labels in batches(test, range(len(test))):
            out = net(tokens)
            if task == "gb1":
                guesses += out[:, 0].tolist()
                truths += labels
            else:
                labels = nn.utils.rnn.pad_sequence(labels, True, -100)
                right += (out.argmax(-1) == labels)[labels >= 0].sum().item()
                count += (labels >= 0).sum().item()
    if task == "gb1":
        from scipy.stats import spearmanr

        print(f"gb1\t{seed}\tspearman\t{spearmanr(guesses, truths)[0]:.4f}\t{len(truths)}")
    else:
        print(f"{task}\t{seed}\taccuracy\t{right / count:.4f}\t{count}")


main()
