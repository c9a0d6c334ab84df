#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loads exported models with transformers, and compares their logits.

usage: load_models.py golden DIR GOLDEN.json     the logits of padded batches that the reference gave before
       load_models.py predicted DIR FILE.jsonl TEXTS   those that `tessera predict` gave, of texts cut by DIR's tokenizer
       load_models.py shards FROM TO             saves a model again, in several files
"""
import json
import sys

import torch
import transformers


def load(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    causal = config.model_type in ("gpt2", "llama")
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    unused = ("contact_head", "inv_freq", "esm.embeddings.position_embeddings")  # or made of the configuration
    missing = [key for key in info["missing_keys"] if not any(part in key for part in unused)]
    if missing or info["unexpected_keys"] or info["mismatched_keys"]:
        sys.exit(f"{folder}: missing {missing}, unexpected {info['unexpected_keys']}, others {info['mismatched_keys']}")
    return model.eval()


def compare(name, ours, theirs):
    worst = (ours - theirs).abs().max().item()
    print(f"{name}: the largest difference of {ours.numel()} logits is {worst:g}")
    if not worst <= 1e-4 or not ours.numel():
        sys.exit(1)


def golden(folder, path):
    with open(path) as file:
        known = json.load(file)
    tokens, mask = torch.tensor(known["tokens"]), torch.tensor(known["mask"])
    with torch.no_grad():
        logits = load(folder)(input_ids=tokens, attention_mask=mask).logits
    seen = mask.bool()
    compare(folder, torch.tensor(known["logits"]).reshape(logits.shape)[seen], logits[seen])


def predicted(folder, path, texts):
    model, tokenizer = load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    with open(path) as file:
        ours = [json.loads(line) for line in file]
    with open(texts) as file:
        lines = [json.loads(line)["text"] for line in file]
    if len(ours) != len(lines) or not lines:
        sys.exit(f"{path}: {len(ours)} predictions for {len(lines)} texts")
    for row, text in zip(ours, lines):
        ids = tokenizer.encode(text, add_special_tokens=False)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        got = torch.tensor(row["logits"])
        got = got[:len(ids)]  # what follows is the token that ends a text
        if got.shape != logits.shape:
            sys.exit(f"{text!r}: {tuple(got.shape)} here and {tuple(logits.shape)} there")
        compare(text, got, logits)


def shards(source, target):
    load(source).save_pretrained(target, max_shard_size="20KB")


{"golden": golden, "predicted": predicted, "shards": shards}[sys.argv[1]](*sys.argv[2:])
