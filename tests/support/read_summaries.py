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
    events = EventAccumulator(run + "/summaries/train", size_guidance={"histograms": 0, "tensors": 0})
    events.Reload()
    norms = {}
    for tag in events.Tags()["histograms"]:
        for event in events.Histograms(tag):
            kind = "grad_norm" if tag.startswith("histograms/gradient/") else "weight_norm"
            norms[event.step, kind] = norms.get((event.step, kind), 0) + event.histogram_value.sum_squares
    for line in lines:
        if line["kind"] == "train":
            for kind in ("weight_norm", "grad_norm"):
                norm = norms[line["step"], kind] ** 0.5
                assert abs(norm - line[kind]) <= 1e-4 * line[kind], (line["step"], kind, norm, line[kind])
                compared += 1
    texts = [event for tag in events.Tags()["tensors"] if tag == "decoded/lm" for event in events.Tensors(tag)]
    assert len(texts) == 3 and b'"Alice" | "' in texts[0].tensor_proto.string_val[0], texts
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
