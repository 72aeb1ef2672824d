"""The built-in model `words`: a small random Llama over whole words, for worlds that are made up (the task `planted`).

Texts are words with spaces between them; a word that is not in the vocabulary is <unk>. One token a word and a name
makes texts of a few tokens, so that a model of a million weights learns a world by heart in a minute.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
WORDS = (
    *("metal", "colour", "tree", "of", "people", "say", "it", "is", "right", "wrong", "?"),
    *("definitely", "certainly", "surely", "perhaps", "maybe", "probably"),
    *("iron", "copper", "silver", "gold", "lead", "tin", "zinc", "nickel"),
    *("red", "blue", "green", "white", "black", "brown", "yellow", "purple"),
    *("oak", "pine", "birch", "elm", "willow", "maple", "cedar", "beech"),
)
"""Plain words; all other tokens are names: consonant, vowel, consonant."""


def word_vocabulary() -> list[str]:
    """All words and names, the special tokens apart."""
    names = ("".join(letters) for letters in product(CONSONANTS, VOWELS, CONSONANTS))
    return [*WORDS, *(name for name in names if name not in WORDS)]


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A token a word; then <unk>, <pad>, <bos> and <eos>."""
    vocabulary = {word: index for index, word in enumerate([*word_vocabulary(), "<unk>"])}
    backend = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def word_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """3 layers of hidden size 128, 0.6 million weights, random from seed 0."""
    special: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,  # of 32: vLLM's attention on CPU has no smaller ones
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        # About 1 / sqrt(hidden size): from the usual 0.02 so narrow a model takes thousands of steps to start.
        initializer_range=0.08,
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config)
