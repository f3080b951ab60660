"""Write a tiny Llama model folder with random weights and a tokenizer of its own.

Nothing is downloaded. The text it writes is noise, but the engine that serves
it batches, queues, streams and counts as it would for a real model.

Run it with the engine's Python, which has ``tokenizers``, ``torch`` and
``transformers``:

    python make_tiny_model.py FOLDER [--hidden 128] [--layers 2]
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

WORDS = (
    "tenants",
    "share",
    "one",
    "engine",
    "and",
    "each",
    "takes",
    "its",
    "turn",
    "while",
    "others",
    "wait",
)
SPECIAL = ("<|bos|>", "<|eos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT_TOKENS = 4096
HEAD_DIM = 32
VOCABULARY = 512


def write_tokenizer(folder: Path) -> Tokenizer:
    """Train a byte-level BPE tokenizer on a few words and save it."""
    chance = random.Random(7)
    corpus = [" ".join(chance.choices(WORDS, k=40)) for _ in range(400)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|eos|>",
        "pad_token": "<|pad|>",
        "model_max_length": CONTEXT_TOKENS,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    return tokenizer


def write_model(folder: Path, tokenizer: Tokenizer, hidden: int, layers: int) -> int:
    """Save random weights; answer with the number of parameters."""
    torch.manual_seed(0)
    padded = -(-tokenizer.get_vocab_size() // 64) * 64
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=padded,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // HEAD_DIM,
            num_key_value_heads=max(1, hidden // HEAD_DIM // 2),
            head_dim=HEAD_DIM,
            max_position_embeddings=CONTEXT_TOKENS,
            bos_token_id=tokenizer.token_to_id("<|bos|>"),
            eos_token_id=tokenizer.token_to_id("<|eos|>"),
            pad_token_id=tokenizer.token_to_id("<|pad|>"),
            tie_word_embeddings=False,
        )
    )
    model.save_pretrained(folder)
    return int(sum(weights.numel() for weights in model.parameters()))


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description="A tiny random Llama model folder, without downloads.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hidden", type=int, default=128, help="width; 1024 makes a slow engine")
    parser.add_argument("--layers", type=int, default=2, help="depth; 16 makes a slow engine")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    size = write_model(asked.folder, write_tokenizer(asked.folder), asked.hidden, asked.layers)
    print(f"{asked.folder}: {size:,} parameters")


if __name__ == "__main__":
    main()
