#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/decode measures, by PyTorch and transformers: GPT-2 124 M with random weights, greedy, with a cache of keys
and values. Prints for each dtype the seconds of a step of one row, of reading 512 tokens, and of a step of 32 rows:
medians, each the best of 1 and 2 threads. OpenBLAS, which takes processors that are newer than itself for very old ones,
gets the kernels that multiply fastest."""
import os
import statistics
import subprocess
import sys
import time

import torch

PROMPT, STEPS, READ, ROWS, ROUNDS = 16, 24, 512, 32, 3
CORES = ("", "Haswell", "SkylakeX", "Cooperlake")


def product_s():
    a, b = torch.rand(512, 768), torch.rand(768, 3072)
    took = []
    for _ in range(8):
        begin = time.perf_counter()
        torch.mm(a, b)
        took.append(time.perf_counter() - begin)
    return min(took)


def settle():
    """Begins anew with the kernels of OpenBLAS that are fastest here; those that do not run are left out."""
    if "OPENBLAS_CORETYPE" in os.environ:
        return
    best, best_s = "", float("inf")
    for core in CORES:
        out = subprocess.run([sys.executable, __file__, "--product"], capture_output=True, text=True,
                             env={**os.environ, "OPENBLAS_CORETYPE": core})
        if out.returncode == 0 and float(out.stdout) < best_s:
            best, best_s = core, float(out.stdout)
    print(f"# OPENBLAS_CORETYPE={best}", flush=True)
    os.environ["OPENBLAS_CORETYPE"] = best
    os.execv(sys.executable, [sys.executable, __file__])


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


def measure(model, threads):
    torch.set_num_threads(threads)
    step_s(model, 1, 2)
    return [statistics.median(f() for _ in range(ROUNDS)) for f in
            (lambda: step_s(model, 1, STEPS), lambda: read_s(model), lambda: step_s(model, ROWS, STEPS // 6))]


def main():
    if sys.argv[1:] == ["--product"]:
        torch.set_num_threads(1)
        print(product_s())
        return
    settle()
    import transformers
    torch.manual_seed(1)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        model = model.to(dtype)
        each = [measure(model, threads) for threads in (1, 2)]
        print(name, *(f"{min(of):.6f}" for of in zip(*each)), flush=True)


if __name__ == "__main__":
    main()
