#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/bpe/merges.txt and vocab.json: what the trainer of the tokenizers of Hugging Face (version 0.21)
learns from tests/golden/bpe/corpus.txt and tests/data/alice.txt. Running the tests does not need this.

usage: make_bpe.py      (from the top of the tree)
"""
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = "tests/golden/bpe"


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train([HERE + "/corpus.txt", "tests/data/alice.txt"], trainers.BpeTrainer(
        vocab_size=1200, min_frequency=2, show_progress=False, special_tokens=["<|endoftext|>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.model.save(HERE)


if __name__ == "__main__":
    main()
