#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a power cut could leave: rebuilds directories from a record of operations on files (support/faults.c).

usage: power_cut.py RECORD FROM OUT [SEED]

FROM is the prefix of paths that the record is about; for each prefix of the record, directories OUT/NNNN-V are made that
hold what could be on disk if the power failed after it, and OUT/NNNN-V.least the step that must not be lost ("-": none).

What was synced is there. Of the rest: names (made, renamed, removed) are journalled in order, so a first part of what
was not synced may be there, none or all; bytes of a file that were not synced may be there, or not, or in part, whatever
came before and after. V says which: `none`, `all`, and one drawn at random.
"""
import os
import random
import re
import sys


class File:
    def __init__(self):
        self.now = bytearray()
        self.synced = b""
        self.pending = []  # (offset, data), or (size, None) of a new length


def operations(path):
    with open(path, "rb") as record:
        while head := record.readline():
            word, name, other, offset, size = head.decode().rstrip("\n").split("\t")
            yield word, name, other, int(offset), record.read(int(size))


class Disk:
    """Directories are a flat map of path to File (or None of a directory); names that are not synced wait in a list."""

    def __init__(self):
        self.now = {}
        self.durable = {}
        self.journal = []  # (directories it concerns, function of a map)

    def name(self, dirs, change):
        change(self.now)
        self.journal.append((dirs, change))

    def sync_directory(self, path):
        # a journal is written in order: all names up to the last that concerns this directory
        last = max((i for i, (dirs, _) in enumerate(self.journal) if path in dirs), default=-1)
        for _, change in self.journal[: last + 1]:
            change(self.durable)
        del self.journal[: last + 1]

    def apply(self, word, name, other, offset, data):
        parent = os.path.dirname
        if word in ("create", "create-empty"):
            if name not in self.now:
                file = File()
                self.name([parent(name)], lambda names: names.__setitem__(name, file))
            elif word == "create-empty":
                self.write(self.now[name], 0, None)
        elif word == "mkdir":
            self.name([parent(name)], lambda names: names.__setitem__(name, None))
        elif word == "write":
            self.write(self.now[name], offset, data)
        elif word == "resize":
            self.write(self.now[name], offset, None)
        elif word == "grow":
            if offset > len(self.now[name].now):
                self.write(self.now[name], offset, None)
        elif word == "sync":
            file = self.now.get(name)
            if isinstance(file, File):
                file.synced, file.pending = bytes(file.now), []
            else:
                self.sync_directory(name)
        elif word in ("unlink", "rmdir"):
            self.name([parent(name)], lambda names: names.pop(name, None))
        elif word in ("rename", "exchange"):
            self.name([parent(name), parent(other)], lambda names: move(names, name, other, word == "exchange"))
        else:
            raise SystemExit(f"an operation that is not known: {word}")

    @staticmethod
    def write(file, offset, data):
        put(file.now, offset, data)
        file.pending.append((offset, data))

    def after_cut(self, kind, draw):
        names = dict(self.durable)
        there = {"none": 0, "all": len(self.journal)}.get(kind, draw.randint(0, len(self.journal)))
        for _, change in self.journal[:there]:
            change(names)
        return {path: file and content(file, kind, draw) for path, file in names.items()}


def move(names, name, other, exchange):
    def under(path):
        return {p: names.pop(p) for p in [*names] if p == path or p.startswith(path + "/")}

    one, two = under(name), under(other)
    names.update({other + p[len(name):]: file for p, file in one.items()})
    if exchange:
        names.update({name + p[len(other):]: file for p, file in two.items()})


def put(bytes_, offset, data):
    if data is None:  # a new length
        del bytes_[offset:]
        bytes_.extend(bytes(offset - len(bytes_)))
        return
    if len(bytes_) < offset + len(data):
        bytes_.extend(bytes(offset + len(data) - len(bytes_)))
    bytes_[offset : offset + len(data)] = data


def content(file, kind, draw):
    there = bytearray(file.synced)
    for offset, data in file.pending:
        if kind == "all" or (kind == "drawn" and draw.random() < 0.6):
            if kind == "drawn" and data and draw.random() < 0.5:
                data = data[: draw.randrange(len(data))]
            put(there, offset, data)
    return bytes(there)


def main():
    record, prefix, out = sys.argv[1:4]
    draw = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    disk, least = Disk(), "-"
    root = prefix + "/checkpoints"
    disk.now[root] = disk.durable[root] = None  # what is above it was made before
    count = 0
    for number, (word, name, other, offset, data) in enumerate(operations(record)):
        disk.apply(word, name, other, offset, data)
        if word == "sync" and name == root:  # a save has said that it is committed
            steps = [int(m[1]) for p in disk.durable if (m := re.fullmatch(root + r"/step_0*(\d+)/COMMIT", p))]
            least = str(max(steps)) if steps else "-"
        for kind in ("none", "all", "drawn"):
            made = f"{out}/{number:04d}-{kind}"
            os.makedirs(made + "/checkpoints")
            for path, held in sorted(disk.after_cut(kind, draw).items()):
                if not path.startswith(prefix + "/"):
                    continue
                place = made + path[len(prefix):]
                os.makedirs(place if held is None else os.path.dirname(place), exist_ok=True)
                if held is not None:
                    with open(place, "wb") as file:
                        file.write(held)
            with open(made + ".least", "w") as file:
                file.write(least + "\n")
            count += 1
    print(f"{count} power cuts")


main()
