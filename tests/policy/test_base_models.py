import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sandwiching.policy.base_models import BUILT_IN, identity, resolve
from sandwiching.policy.tokenization import encode_prompt, load_tokenizer


def test_torch_is_not_imported():
    code = "import sys, sandwiching.policy.base_models as m; m.identity('tiny'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tiny_is_the_same_everywhere(tiny: Path, tmp_path: Path):
    other = resolve("tiny", None, tmp_path)
    assert other != tiny
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (other / name).read_bytes() == (tiny / name).read_bytes()


def test_tiny_has_three_distinct_special_tokens_and_fits_its_vocabulary(tiny: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.config.vocab_size == len(tokenizer) == 260
    assert tokenizer.decode(tokenizer("Zürich 12")["input_ids"]) == "Zürich 12"


def test_building_leaves_the_random_state_alone(tmp_path: Path):
    before = torch.get_rng_state()
    resolve("tiny", None, tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_two_processes_build_once(tmp_path: Path):
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        folders = list(pool.map(resolve, ["tiny"] * 2, [None] * 2, [tmp_path] * 2))
    assert folders[0] == folders[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"tiny-recipe-{BUILT_IN['tiny'][1]}", "tiny.lock"]


def test_a_killed_build_is_swept_away(tmp_path: Path):
    (tmp_path / ".building-tiny").mkdir()
    (tmp_path / ".building-tiny" / "half.safetensors").write_bytes(b"half")
    assert not list(resolve("tiny", None, tmp_path).glob("half*"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SANDWICHING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_folder_is_known_by_its_content(cache: Path, folder: Path, tmp_path: Path):
    first = identity(str(folder))
    assert first is not None
    assert first.startswith("folder:")
    assert identity(str(folder)) == first
    moved = folder.rename(tmp_path / "elsewhere")
    assert identity(str(moved)) == first
    (moved / "model.safetensors").write_bytes(b"WEIGHTS")
    os.utime(moved / "model.safetensors", ns=(1, 1))
    assert identity(str(moved)) != first


def test_hashes_are_remembered_by_size_and_time(cache: Path, folder: Path):
    first = identity(str(folder))
    file = folder / "model.safetensors"
    stamp = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert identity(str(folder)) == first, "same size and time: not read again"
    (cache / "hashes.json").write_text("broken")
    assert identity(str(folder)) != first


def test_a_large_folder_is_not_hashed_when_it_has_to_be_cheap(cache: Path, folder: Path):
    with (folder / "model.safetensors").open("wb") as stream:
        stream.truncate(100_000_001)
    assert identity(str(folder), cheap=True) is None
    known = identity(str(folder))
    assert known is not None
    assert identity(str(folder), cheap=True) == known


def test_hub_ids_are_known_by_commit_without_network():
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert identity("some-org/some-model", commit) == f"hub:some-org/some-model@{commit}"
    assert identity("some-org/never-fetched-model", None) is None


@pytest.mark.parametrize("path", ["./missing", "/missing/model", "a/b/c"])
def test_what_names_no_model_is_refused(path: str):
    with pytest.raises(ValueError, match=r"model\.path.*built-in names"):
        identity(path)
    with pytest.raises(ValueError, match=r"model\.path"):
        resolve(path)


def test_a_folder_without_config_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"config\.json"):
        resolve(str(tmp_path))


@pytest.mark.slow
def test_smollm2_from_the_wheel_knows_paris():
    folder = resolve("smollm2-135m")
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token == "<|endoftext|>"
    ids = encode_prompt(tokenizer, [{"role": "user", "content": "What is the capital of France?"}])
    model = AutoModelForCausalLM.from_pretrained(folder)
    output = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=12)  # pyright: ignore
    assert "Paris" in tokenizer.decode(output[0, len(ids) :])
