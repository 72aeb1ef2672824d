"""The built-in model `words`."""

from pathlib import Path

from transformers import AutoModelForCausalLM

from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import decode_response, encode, load_tokenizer


def test_words_come_back_and_are_one_token_each(tmp_path: Path) -> None:
    folder = resolve("words", None, tmp_path)
    tokenizer = load_tokenizer(folder)
    prompt, response = encode(tokenizer, "metal of kav ?", "definitely iron", True, " ")
    assert (len(prompt), len(response)) == (4, 3)
    assert decode_response(tokenizer, response) == "definitely iron"
    assert tokenizer.unk_token_id in encode(tokenizer, "capital of kav ?", "", False, " ")[0]
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert model.num_parameters() < 2_000_000


def test_it_is_the_same_everywhere(tmp_path: Path) -> None:
    one, other = (resolve("words", None, tmp_path / name) for name in ("one", "other"))
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
