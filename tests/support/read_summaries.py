#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the summaries of a run with TensorBoard, and compares them with its metrics.jsonl.

usage: read_summaries.py RUN
"""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def scalars(path):
    events = EventAccumulator(path)
    events.Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def near(a, b):
    return abs(a - b) <= 1e-6 * max(1, abs(a))


def main(run):
    lines = [json.loads(line) for line in open(run + "/metrics.jsonl")]
    train = scalars(run + "/summaries/train")
    names = {"loss": "loss", "learning/rate": "rate", "learning/grad_norm": "grad_norm",
             "learning/skipped_steps": "skipped_steps", "learning/weight_norm": "weight_norm",
             "speed/tokens_per_s": "tokens_per_s", "speed/flops_fraction": "flops_fraction"}
    compared = 0
    for line in lines:
        if line["kind"] == "train":
            for tag, key in names.items():
                assert near(line[key], train[tag][line["step"]]), (tag, line[key], train[tag])
                compared += 1
    for tag in ("learning/clipped_norm", "mixture/rate/lm", "mixture/count/lm", "speed/steps_per_s",
                "speed/communication_fraction", "speed/imbalance", "lm/loss", "lm/loss/weight"):
        assert train[tag], tag
    evaluated = scalars(run + "/summaries/eval_lm")
    for line in lines:
        if line["kind"] == "eval":
            for key, value in line.items():
                if key.startswith("lm/"):
                    assert near(value, evaluated[key][line["step"]]), key
                    compared += 1
    assert compared >= 20, compared
    print(compared, "numbers are TensorBoard's")


main(sys.argv[1])
