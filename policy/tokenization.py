"""One way from text to token ids for every stage: SFT, reward model, PPO and the check all see the same ids."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

Text = str | Sequence[dict[str, str]]

# Special tokens that mean padding or nothing at all, by the names that model families give them.
_RESERVED = (re.compile(r"pad", re.I), re.compile(r"reserved|unused", re.I), re.compile(r"^<\|endoftext\|>$"))


def load_tokenizer(folder: Path, pad_token: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, with a pad token that is not its eos.

    `pad_token` None: the tokenizer's own pad if it differs from eos, else a reserved special token of the vocabulary.
    Raises ValueError when there is no eos, no such token, or `pad_token` is not a usable one.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{folder}: the tokenizer has no eos token; responses could never end")
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab() or pad_token == tokenizer.eos_token:
            raise ValueError(f"model.pad_token: {pad_token!r} must be in the vocabulary of {folder} and not its eos")
        tokenizer.pad_token = pad_token
    elif tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = _reserved_token(tokenizer, folder)
    return tokenizer


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: Text) -> list[int]:
    """Ids of a prompt: a string verbatim, chat messages through the template up to where the response begins.

    A string gets the bos token where the tokenizer puts one by itself; special tokens written in it count as such.
    Raises ValueError for messages when the tokenizer has no chat template.
    """
    if isinstance(text, str):
        return [*_leading_bos(tokenizer), *_ids(tokenizer, text, split_special_tokens=False)]
    if tokenizer.chat_template is None:
        raise ValueError(
            "prompt: chat messages need a tokenizer with a chat template; give the prompt as a string, or another model"
        )
    ids = tokenizer.apply_chat_template(list(text), add_generation_prompt=True, tokenize=True, return_dict=False)
    assert isinstance(ids, list)
    return [int(i) for i in ids]  # pyright: ignore[reportArgumentType]


def encode_response(tokenizer: PreTrainedTokenizerBase, response: str, finished: bool, separator: str) -> list[int]:
    """Ids of separator + response, then eos if `finished`; an empty response has no separator.

    Special tokens written in the response are ordinary text: nobody ends a response, or a turn, by typing its name.
    """
    ids = _ids(tokenizer, separator + response, split_special_tokens=True) if response else []
    return [*ids, eos_token_id(tokenizer)] if finished else ids


def encode(
    tokenizer: PreTrainedTokenizerBase, prompt: Text, response: str, finished: bool, separator: str
) -> tuple[list[int], list[int]]:
    """Ids of prompt and response; `separator` stands before the response of a string prompt only."""
    gap = separator if isinstance(prompt, str) else ""
    return encode_prompt(tokenizer, prompt), encode_response(tokenizer, response, finished, gap)


def decode_response(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of a response without special tokens and without white space at its ends."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text.strip()


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 over all that turns text into ids: vocabulary, merges, normaliser, template and special tokens."""
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        # Left behind by the last call that padded or truncated; says nothing of the tokenizer.
        rules.pop("padding")
        rules.pop("truncation")
    else:
        rules = tokenizer.get_vocab()
    specials = {"bos": tokenizer.bos_token, "eos": tokenizer.eos_token, "pad": tokenizer.pad_token}
    content = json.dumps([rules, tokenizer.chat_template, specials], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def eos_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that ends a response."""
    assert isinstance(tokenizer.eos_token_id, int)
    return tokenizer.eos_token_id


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that fills rows up."""
    assert isinstance(tokenizer.pad_token_id, int)
    return tokenizer.pad_token_id


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, split_special_tokens: bool) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=split_special_tokens)


def _leading_bos(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    first = tokenizer.encode("")[:1]
    return first if first == [tokenizer.bos_token_id] else []


def _reserved_token(tokenizer: PreTrainedTokenizerBase, folder: Path) -> str:
    taken = (tokenizer.eos_token, tokenizer.bos_token)
    specials = [token.content for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    for pattern in _RESERVED:
        for token in specials:
            if pattern.search(token) and token not in taken:
                return token
    raise ValueError(
        f"model.pad_token: the tokenizer in {folder} pads with its eos {tokenizer.eos_token!r} and reserves no token; "
        "name a token that never occurs in text"
    )
