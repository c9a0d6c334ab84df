#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/beams.json: what beam search, written anew here in NumPy after t5x's decoding.py, finds with the
tiny GPT-2 of tests/golden/families, whose log-probabilities transformers (version 4.49) computes in f64, without a
cache. Running the tests does not need this."""
import json
import os

import numpy
import torch
import transformers
from safetensors.torch import load_file

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS = [[5, 6, 7], [10, 3, 8, 2, 11], [4]]
ENDS = [7, 9, 18]
STEPS, BEAMS, ALPHA = 9, 4, 0.6


def penalised(log_probability, length):
    return log_probability / ((5 + length) / 6) ** ALPHA


def search(score, prompt, end):
    """Ended hypotheses by falling score, then live ones, up to BEAMS."""
    live, ended = [([], 0.0)], []
    for step in range(STEPS):
        candidates = []
        for tokens, total in live:
            row = score(prompt + tokens)
            candidates += [(total + row[v], tokens + [v]) for v in range(len(row))]
        candidates.sort(key=lambda c: -c[0])
        live = []
        for total, tokens in candidates[:2 * BEAMS]:
            if tokens[-1] == end:
                ended.append((tokens, total, penalised(total, len(tokens))))
            elif len(live) < BEAMS:
                live.append((tokens, total))
        ended = sorted(ended, key=lambda e: -e[2])[:BEAMS]
        if len(ended) == BEAMS:
            best = max(penalised(live[0][1], step + 2), penalised(live[0][1], STEPS))
            if ended[-1][2] >= best:
                break
    found = [{"tokens": t, "log_probability": p, "score": s} for t, p, s in ended]
    found += [{"tokens": t, "log_probability": p, "score": p} for t, p in live]
    return found[:BEAMS]


def main():
    folder = os.path.join(HERE, "families", "gpt2")
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config.from_pretrained(folder))
    missing = model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=False).missing_keys
    assert all(key == "lm_head.weight" or key.endswith((".attn.bias", "masked_bias")) for key in missing), missing
    model.tie_weights()
    model = model.double().eval()

    def score(tokens):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens])).logits[0, -1]
        return torch.log_softmax(logits, -1).numpy().astype(numpy.float64)

    cases = []
    for end in ENDS:
        for prompt in PROMPTS:
            cases.append({"prompt": prompt, "end": end, "hypotheses": search(score, prompt, end)})
    with open(os.path.join(HERE, "beams.json"), "w") as out:
        json.dump({"steps": STEPS, "beams": BEAMS, "alpha": ALPHA, "cases": cases}, out, indent=1)
        out.write("\n")
    for case in cases:
        print(case["prompt"], case["end"], [(len(h["tokens"]), round(h["score"], 3)) for h in case["hypotheses"]])


if __name__ == "__main__":
    main()
