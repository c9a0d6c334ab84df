#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/decode measures, by PyTorch and transformers: GPT-2 124 M with random weights, greedy, with a cache of keys
and values, 2 threads. Prints for each dtype the seconds of a step of one row, of reading 512 tokens, and of a step of 32
rows: medians."""
import statistics
import time

import torch
import transformers

PROMPT, STEPS, READ, ROWS, ROUNDS = 16, 24, 512, 32, 3


@torch.inference_mode()
def step_s(model, rows, steps):
    tokens = torch.randint(0, model.config.vocab_size, (1, PROMPT)).expand(rows, PROMPT)
    out = model(input_ids=tokens, use_cache=True)
    begin = time.perf_counter()
    for _ in range(steps):
        tokens = out.logits[:, -1].argmax(-1, keepdim=True)
        out = model(input_ids=tokens, past_key_values=out.past_key_values, use_cache=True)
    return (time.perf_counter() - begin) / steps


@torch.inference_mode()
def read_s(model):
    tokens = torch.randint(0, model.config.vocab_size, (1, READ))
    begin = time.perf_counter()
    hidden = model.transformer(input_ids=tokens, use_cache=True).last_hidden_state[:, -1:]
    model.lm_head(hidden).argmax(-1)
    return time.perf_counter() - begin


def main():
    torch.set_num_threads(2)
    torch.manual_seed(1)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        model = model.to(dtype)
        step_s(model, 1, 2)
        rows = [[f() for _ in range(ROUNDS)] for f in
                (lambda: step_s(model, 1, STEPS), lambda: read_s(model), lambda: step_s(model, ROWS, STEPS // 6))]
        print(name, *(f"{statistics.median(row):.6f}" for row in rows), flush=True)


if __name__ == "__main__":
    main()
