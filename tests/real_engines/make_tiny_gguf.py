"""Write a tiny Llama model with random weights and a vocabulary of its own, as one GGUF file.

Nothing is downloaded. The text it writes is noise, but the llama.cpp server
that loads it batches, queues, streams and counts as it would for a real
model. Needs only the package ``gguf``:

    python make_tiny_gguf.py FILE [--hidden 512] [--layers 8]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import numpy as np

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
NORM_EPSILON = 1e-5
ROPE_BASE = 10_000.0
SPREAD = 0.05  # standard deviation of the weights: wide enough that the most likely token changes
SPACE = "Ġ"  # how byte-level vocabularies write the space before a word


def byte_letters() -> list[str]:
    """The 256 printable letters that stand for the bytes in GPT-2's vocabularies, in their order."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)}
    others = (byte for byte in range(256) if byte not in printable)
    return [chr(byte) for byte in sorted(printable)] + [chr(256 + n) for n, _ in enumerate(others)]


def vocabulary() -> tuple[list[str], list[str]]:
    """The tokens, and the merges ("left right") that build each word letter by letter."""
    tokens, merges = [*SPECIAL, *byte_letters()], []
    for word in WORDS:
        left = SPACE
        for letter in word:
            merges.append(f"{left} {letter}")
            left += letter
            tokens.append(left)
    return list(dict.fromkeys(tokens)), list(dict.fromkeys(merges))


def add_tokenizer(model: gguf.GGUFWriter) -> int:
    """Write the vocabulary and the chat template; answer with the number of tokens."""
    tokens, merges = vocabulary()
    model.add_tokenizer_model("gpt2")
    model.add_tokenizer_pre("gpt-2")
    model.add_token_list(tokens)
    model.add_token_merges(merges)
    model.add_token_types(
        [gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    )
    model.add_bos_token_id(tokens.index("<|bos|>"))
    model.add_eos_token_id(tokens.index("<|eos|>"))
    model.add_pad_token_id(tokens.index("<|pad|>"))
    model.add_add_bos_token(False)
    model.add_chat_template(CHAT_TEMPLATE)
    return len(tokens)


def add_shape(model: gguf.GGUFWriter, tokens: int, hidden: int, layers: int) -> None:
    """Write the sizes of the network."""
    model.add_name("tiny-random")
    model.add_context_length(CONTEXT_TOKENS)
    model.add_embedding_length(hidden)
    model.add_block_count(layers)
    model.add_feed_forward_length(2 * hidden)
    model.add_head_count(hidden // HEAD_DIM)
    model.add_head_count_kv(hidden // HEAD_DIM // 2)
    model.add_layer_norm_rms_eps(NORM_EPSILON)
    model.add_rope_freq_base(ROPE_BASE)
    model.add_rope_dimension_count(HEAD_DIM)
    model.add_vocab_size(tokens)
    model.add_file_type(gguf.LlamaFileType.ALL_F32)


def weight_shapes(tokens: int, hidden: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Every tensor's name and shape (out, in); those with one dimension are norms."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (tokens, hidden),
        "output_norm": (hidden,),
        "output": (tokens, hidden),
    }
    for layer in range(layers):
        shapes |= {
            f"blk.{layer}.attn_norm": (hidden,),
            f"blk.{layer}.attn_q": (hidden, hidden),
            f"blk.{layer}.attn_k": (hidden // 2, hidden),
            f"blk.{layer}.attn_v": (hidden // 2, hidden),
            f"blk.{layer}.attn_output": (hidden, hidden),
            f"blk.{layer}.ffn_norm": (hidden,),
            f"blk.{layer}.ffn_gate": (2 * hidden, hidden),
            f"blk.{layer}.ffn_up": (2 * hidden, hidden),
            f"blk.{layer}.ffn_down": (hidden, 2 * hidden),
        }
    return shapes


def add_weights(model: gguf.GGUFWriter, shapes: dict[str, tuple[int, ...]]) -> int:
    """Write random weights, the same at every run; answer with the number of parameters."""
    chance = np.random.default_rng(0)
    size = 0
    for name, shape in shapes.items():
        is_norm = len(shape) == 1
        weights = np.ones(shape) if is_norm else chance.standard_normal(shape) * SPREAD
        model.add_tensor(f"{name}.weight", weights.astype(np.float32))
        size += weights.size
    return size


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="A tiny random Llama model as GGUF, without downloads.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--hidden", type=int, default=512, help="width, a multiple of 64; wider is slower")
    parser.add_argument("--layers", type=int, default=8, help="depth; deeper is slower")
    asked = parser.parse_args()
    if asked.hidden < 2 * HEAD_DIM or asked.hidden % (2 * HEAD_DIM):
        parser.error(f"--hidden is {asked.hidden}; give a multiple of {2 * HEAD_DIM}")
    model = gguf.GGUFWriter(asked.file, "llama")
    tokens = add_tokenizer(model)
    add_shape(model, tokens, asked.hidden, asked.layers)
    size = add_weights(model, weight_shapes(tokens, asked.hidden, asked.layers))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()
    print(f"{asked.file}: {size:,} parameters, {tokens} tokens")


if __name__ == "__main__":
    main()
