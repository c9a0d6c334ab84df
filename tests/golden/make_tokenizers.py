#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/tokenizers/: small tokenizers of each kind that is published, and what the tokenizers of Hugging
Face (version 0.21) make of texts in several scripts. Running the tests does not need this.

usage: make_tokenizers.py TEXT      (TEXT: what to train on, such as tests/data/alice.txt)
"""
import json
import os
import sys

import transformers
from tokenizers import (AddedToken, ByteLevelBPETokenizer, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, trainers)

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers")

MORE = ["Γειά σου Κόσμε, πώς είσαι;", "Привет, мир! Как дела?", "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया",
        "สวัสดีชาวโลก", "你好，世界。今天天气很好", "こんにちは世界", "안녕하세요 세계", "naïve café Ærøskøbing straße",
        "😀 👩‍👩‍👧 🇩🇪", "in 2024 there were 1,234.5 of them"] * 20

TEXTS = [
    "", " ", "Hello, world!", "  two  spaces   three ", "it's I'll we've they'd I'M don't",
    "tabs\tand\nnew\n\nlines \n end", "numbers 0 12 345 6789 1,234.5 ٣٤ Ⅻ ½", "Γειά σου Κόσμε ΟΔΟΣ",
    "Привет, мир! Ёлка", "مَرْحَبًا بالعالم", "שָׁלוֹם עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "你好，世界。漢字かな交じり文 カタカナ", "안녕하세요 세계 \u1112\u1161\u11ab", "naïve café Ærø straße İstanbul ǅ",
    "e\u0301 o\u0308 a\u030a\u0323 \u212b \ufb01 \uff21\uff22", "😀 👩‍👩‍👧 🇩🇪 ☃️ 🤦🏽‍♀️",
    "<s>inside</s> [MASK] <mask> <|endoftext|>after [CLS]", "a<mask>b  <mask>  c", "snake_case camelCase x+y==z #!?",
    "\u00a0nbsp\u2003em\u3000wide\u200bzero\u0000nul\u0007bell\ufffd", "pneumonoultramicroscopicsilicovolcanoconiosis" * 4,
    "http://example.org/?q=a%20b&c=d", "word " * 30, "▁lower▁one eighth", "\r\nwindows\r\n", "A B  C", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈",
]


def keep(name, tokenizer, decodes):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    tokenizer.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    golden(name, tokenizer, decodes)


def golden(name, tokenizer, decodes):
    rows = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        row = {"text": text, "ids": ids}
        if decodes:
            row["decoded"] = tokenizer.decode(ids, skip_special_tokens=True)
        rows.append(row)
    with open(os.path.join(HERE, name, "golden.json"), "w") as out:
        json.dump(rows, out)
        out.write("\n")


def unigrams(lines):
    """As T5 and XLM-R: the likeliest pieces; what is unknown as one token, or as bytes."""
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    unigram.train_from_iterator([line for line in lines if line.isascii()], trainers.UnigramTrainer(
        vocab_size=500, show_progress=False, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"))
    keep("unigram", unigram, False)
    kept = json.loads(unigram.to_str())
    kept["model"]["vocab"] += [["<0x%02X>" % byte, -30.0] for byte in range(256)]
    kept["model"]["byte_fallback"] = True
    kept["normalizer"] = None
    kept["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Metaspace",
                       "replacement": "▁", "prepend_scheme": "always", "split": True}]}
    keep("unigram-bytes", Tokenizer.from_str(json.dumps(kept)), False)


def main():
    with open(sys.argv[1]) as text:
        lines = text.read().splitlines()[:1500] + MORE

    # GPT-2, as two files
    pair = ByteLevelBPETokenizer()
    pair.train_from_iterator(lines, vocab_size=700, special_tokens=["<|endoftext|>"], show_progress=False)
    os.makedirs(os.path.join(HERE, "gpt2"), exist_ok=True)
    pair.save_model(os.path.join(HERE, "gpt2"))
    golden("gpt2", pair, True)

    # RoBERTa: the same with a blank in front, and a mask that takes the blanks before it
    roberta = Tokenizer(models.BPE())
    roberta.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    roberta.decoder = decoders.ByteLevel()
    roberta.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]))
    keep("roberta", roberta, True)

    # Llama 3: cut by a pattern, then bytes; words that are tokens need no merges
    llama3 = Tokenizer(models.BPE(ignore_merges=True))
    llama3.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                                   r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    llama3.decoder = decoders.ByteLevel()
    llama3.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<|begin_of_text|>", "<|end_of_text|>", "<|endoftext|>"]))
    keep("llama3", llama3, True)

    # Llama 1 and 2: characters, with bytes for those that are unknown
    llama = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    llama.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(content=" ", left=1)])
    llama.train_from_iterator([line for line in lines if line.isascii()], trainers.BpeTrainer(
        vocab_size=700, show_progress=False,
        special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % byte for byte in range(256)]))
    kept = json.loads(llama.to_str())
    kept["added_tokens"] = kept["added_tokens"][:3]
    keep("llama", Tokenizer.from_str(json.dumps(kept)), True)

    # BERT, cased and not
    for name, lowercase in (("bert-uncased", True), ("bert-cased", False)):
        bert = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        bert.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        bert.train_from_iterator(lines, trainers.WordPieceTrainer(
            vocab_size=700, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
        keep(name, bert, False)

    # BERT and ESM-2 as they were published first: a token a line
    vocab = sorted(bert.get_vocab().items(), key=lambda item: item[1])
    os.makedirs(os.path.join(HERE, "bert-lines"), exist_ok=True)
    with open(os.path.join(HERE, "bert-lines", "vocab.txt"), "w") as out:
        out.writelines(token + "\n" for token, _ in vocab)
    with open(os.path.join(HERE, "bert-lines", "tokenizer_config.json"), "w") as out:
        json.dump({"do_lower_case": False}, out)
    golden("bert-lines", bert, False)
    os.makedirs(os.path.join(HERE, "esm"), exist_ok=True)
    with open(os.path.join(HERE, "esm", "vocab.txt"), "w") as out:
        out.write("\n".join(["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]))
    esm = transformers.EsmTokenizer(os.path.join(HERE, "esm", "vocab.txt"))
    rows = [{"text": text, "ids": esm.encode(text, add_special_tokens=False)}
            for text in ("MKTAYIAKQR", "MK<mask>AY <mask> QR", "", "mkt", "A B J ?C", "MKX-Z.<eos>", " W ", "<cls>M")]
    with open(os.path.join(HERE, "esm", "golden.json"), "w") as out:
        json.dump(rows, out)
        out.write("\n")

    # T5-like pieces of everything else
    mixed = Tokenizer(models.BPE(unk_token="<unk>"))
    mixed.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.NFD(),
                                             normalizers.StripAccents(), normalizers.NFC(),
                                             normalizers.Replace(Regex(r"\s{2,}"), " ")])
    mixed.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="first"),
                                                   pre_tokenizers.Digits(individual_digits=True),
                                                   pre_tokenizers.Punctuation("merged_with_previous")])
    mixed.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=500, show_progress=False, special_tokens=["<unk>"]))
    mixed.add_tokens([AddedToken("world", single_word=True), AddedToken("case", normalized=True, rstrip=True)])
    keep("mixed", mixed, False)

    # CLIP-like: words end in </w>
    clip = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    clip.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase(), normalizers.Strip()])
    clip.pre_tokenizer = pre_tokenizers.Whitespace()
    clip.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=500, show_progress=False, special_tokens=["<unk>"],
                                                        end_of_word_suffix="</w>"))
    keep("clip", clip, False)

    unigrams(lines)

    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                                   pre_tokenizers.Split("e", "merged_with_next"),
                                                   pre_tokenizers.Split(Regex("[a-c]+"), "removed", invert=False),
                                                   pre_tokenizers.CharDelimiterSplit("-")])
    words.train_from_iterator(lines, trainers.WordLevelTrainer(vocab_size=300, show_progress=False,
                                                               special_tokens=["[UNK]"]))
    keep("words", words, False)


if __name__ == "__main__":
    main()
