from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AddedToken, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sandwiching.policy.recipes import tiny_tokenizer
from sandwiching.policy.tokenization import (
    decode_response,
    encode,
    encode_prompt,
    encode_response,
    eos_token_id,
    fingerprint,
    load_tokenizer,
    pad_token_id,
)

CHAT = [{"role": "user", "content": "Hi"}]
TOKENIZER = tiny_tokenizer()
EOS = eos_token_id(TOKENIZER)


def _saved(folder: Path, **changes: str | None) -> Path:
    tokenizer = tiny_tokenizer()
    for name, token in changes.items():
        setattr(tokenizer, name, token)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_pad_token_of_its_own_is_kept(tiny: Path):
    assert load_tokenizer(tiny).pad_token == "<pad>"


@pytest.mark.parametrize("pad", ["<eos>", None])
def test_pad_equal_to_eos_is_replaced_by_a_reserved_token(tmp_path: Path, pad: str | None):
    tokenizer = load_tokenizer(_saved(tmp_path, pad_token=pad))
    assert tokenizer.pad_token in ("<pad>", "<|reserved_0|>")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_pad_token_can_be_named(tiny: Path):
    assert load_tokenizer(tiny, "<|reserved_0|>").pad_token == "<|reserved_0|>"


@pytest.mark.parametrize("name", ["<eos>", "<no such token>"])
def test_a_useless_pad_token_is_refused(tiny: Path, name: str):
    with pytest.raises(ValueError, match=r"model\.pad_token"):
        load_tokenizer(tiny, name)


def test_no_reserved_token_names_the_key(tmp_path: Path):
    plain = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer, eos_token="<eos>")
    # In the same backend these remain special; make them ordinary.
    for token in ("<pad>", "<|reserved_0|>"):
        plain.add_tokens(AddedToken(token, special=False))
    plain.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model\.pad_token.*name a token"):
        load_tokenizer(tmp_path)


def test_no_eos_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="eos"):
        load_tokenizer(_saved(tmp_path, eos_token=None))


def test_a_string_prompt_is_verbatim(tokenizer: PreTrainedTokenizerBase):
    assert tokenizer.decode(encode_prompt(tokenizer, " Question: é\n ")) == " Question: é\n "


def test_a_string_prompt_gets_bos_where_the_tokenizer_adds_one():
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 256), ("<eos>", 257)]
    )
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids = encode_prompt(tokenizer, "Hi")
    assert ids[0] == bos
    assert eos not in ids
    assert bos not in encode_response(tokenizer, "Hi", True, " ")


def test_chat_messages_go_through_the_template(tokenizer: PreTrainedTokenizerBase):
    assert tokenizer.decode(encode_prompt(tokenizer, CHAT)) == "<bos>user: Hi\nassistant:"
    assert encode_prompt(tokenizer, tuple(CHAT)) == encode_prompt(tokenizer, CHAT)


def test_chat_messages_without_template_are_refused(tokenizer: PreTrainedTokenizerBase):
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="chat template"):
        encode_prompt(tokenizer, CHAT)


def test_the_separator_belongs_to_string_prompts_only(tokenizer: PreTrainedTokenizerBase):
    _, after_string = encode(tokenizer, "Q:", "A", True, " ")
    _, after_chat = encode(tokenizer, CHAT, "A", True, " ")
    assert tokenizer.decode(after_string) == " A<eos>"
    assert tokenizer.decode(after_chat) == "A<eos>"


def test_only_a_finished_response_ends_in_eos(tokenizer: PreTrainedTokenizerBase):
    eos = tokenizer.eos_token_id
    finished = encode_response(tokenizer, "A", True, " ")
    assert encode_response(tokenizer, "A", False, " ") == finished[:-1]
    assert finished[-1] == eos
    assert encode_response(tokenizer, "", True, " ") == [eos]
    assert encode_response(tokenizer, "", False, " ") == []


def test_nobody_ends_a_response_by_typing_eos(tokenizer: PreTrainedTokenizerBase):
    ids = encode_response(tokenizer, "A<eos>B<pad>", False, " ")
    assert not {eos_token_id(tokenizer), pad_token_id(tokenizer)} & set(ids)
    assert decode_response(tokenizer, ids) == "A<eos>B<pad>"
    assert tokenizer.eos_token_id in encode_prompt(tokenizer, "A<eos>B"), "prompts are verbatim"


@given(st.text(), st.booleans())
def test_decoding_gives_back_the_stripped_response(response: str, finished: bool):
    ids = encode_response(TOKENIZER, response, finished, " ")
    assert decode_response(TOKENIZER, ids) == response.strip()
    assert ids.count(EOS) == finished


def test_the_fingerprint_survives_saving_and_use(tiny: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path):
    before = fingerprint(tokenizer)
    tokenizer(["a", "bcd"], padding=True, truncation=True, max_length=2)
    assert fingerprint(tokenizer) == before
    tokenizer.save_pretrained(tmp_path)
    assert fingerprint(load_tokenizer(tmp_path)) == before


def test_the_fingerprint_sees_template_specials_and_vocabulary(tiny: Path):
    def changed(name: str, value: str) -> str:
        tokenizer = load_tokenizer(tiny)
        setattr(tokenizer, name, value)
        return fingerprint(tokenizer)

    larger = load_tokenizer(tiny)
    larger.add_tokens(["<new>"])
    prints = {
        fingerprint(load_tokenizer(tiny)),
        changed("chat_template", "{{ messages }}"),
        changed("pad_token", "<|reserved_0|>"),
        fingerprint(larger),
    }
    assert len(prints) == 4
