#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/families/: a tiny model of each family with random parameters, and the logits, the loss and the
gradients that transformers (version 4.49) computes from it in f64. Running the tests does not need this."""
import json
import os

import torch
import transformers
from safetensors.torch import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "families")
B, T, V = 3, 9, 29


def tiny(name, model, causal, types=False):
    """Random everything: norms away from 1, biases away from 0, so that logits spread."""
    torch.manual_seed(1)
    model = model.double().eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_((torch.randn_like(parameter) * 0.4 + ("norm" in key.lower() or "ln_" in key) * 1.0))
    model = model.float().double()  # what the file can hold
    tokens = torch.randint(5, V, (B, T))
    mask = torch.ones(B, T, dtype=torch.long)
    mask[1, 6:] = 0
    mask[2, 3:] = 0
    if name == "esm":
        tokens[0, 2] = tokens[1, 4] = 4  # masked
    tokens[mask == 0] = 1
    labels = torch.randint(5, V, (B, T))
    labels[mask == 0] = -100
    labels[0, 1] = -100
    segments = (torch.arange(T) >= 4).long().expand(B, T) if types else None  # pairs: a second sentence from 4 on
    more = {"token_type_ids": segments} if types else {}
    logits = model(input_ids=tokens, attention_mask=mask, **more).logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, V), labels.reshape(-1), ignore_index=-100)
    loss.backward()
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    state = {key: value.float().contiguous() for key, value in model.state_dict().items()
             if "position_ids" not in key and not key.endswith(".attn.bias") and "inv_freq" not in key}
    gradients = {key: value.grad.float().contiguous() for key, value in model.named_parameters()
                 if value.grad is not None}
    for tied in [key for key in state if key not in gradients]:
        del state[tied]
    save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    save_file(gradients, os.path.join(folder, "gradients.safetensors"))
    model.config.save_pretrained(folder)
    with open(os.path.join(folder, "golden.json"), "w") as out:
        json.dump({"tokens": tokens.tolist(), "mask": mask.tolist(), "labels": labels.tolist(), "causal": causal,
                   **({"types": segments.tolist()} if types else {}), "loss": loss.item(), "spread": logits.std().item(),
                   "logits": [[round(x, 7) for x in row] for row in logits.reshape(-1, V).tolist()]}, out)
        out.write("\n")
    print(name, loss.item(), logits.std().item())


def main():
    tiny("gpt2", transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=V, n_positions=16, n_embd=24, n_layer=2, n_head=3)), True)
    tiny("llama", transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=V, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=16, rope_theta=500.0)), True)
    longer = {"llama-linear": {"rope_type": "linear", "factor": 4.0},
              "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}}
    for name, scaling in longer.items():
        tiny(name, transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=V, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=128, rope_theta=100.0, rope_scaling=scaling)), True)
    encoder = dict(vocab_size=V, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
                   max_position_embeddings=18)
    tiny("bert", transformers.BertForMaskedLM(transformers.BertConfig(**encoder)), False)
    tiny("bert-pairs", transformers.BertForMaskedLM(transformers.BertConfig(**encoder)), False, types=True)
    tiny("roberta", transformers.RobertaForMaskedLM(transformers.RobertaConfig(**encoder, type_vocab_size=1,
                                                                                pad_token_id=1)), False)
    tiny("esm", transformers.EsmForMaskedLM(transformers.EsmConfig(
        **encoder, position_embedding_type="rotary", token_dropout=True, mask_token_id=4, pad_token_id=1,
        emb_layer_norm_before=False)), False)


if __name__ == "__main__":
    main()
