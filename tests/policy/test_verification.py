from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sandwiching.policy.verification import read_weights, verify_weights

WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4)}


def test_what_was_written_in_several_files_is_read_as_one(tmp_path: Path):
    save_file({"a": WEIGHTS["a"]}, tmp_path / "model-1.safetensors")
    save_file({"b": WEIGHTS["b"]}, tmp_path / "model-2.safetensors")
    verify_weights(tmp_path, WEIGHTS)
    assert read_weights(tmp_path).keys() == WEIGHTS.keys()


def test_a_missing_tensor_is_found(tmp_path: Path):
    save_file({"a": WEIGHTS["a"]}, tmp_path / "model.safetensors")
    with pytest.raises(OSError, match="6 numbers were written, 10 were meant"):
        verify_weights(tmp_path, WEIGHTS)


def test_an_empty_tensor_is_found(tmp_path: Path):
    save_file({**WEIGHTS, "b": torch.empty(0)}, tmp_path / "model.safetensors")
    with pytest.raises(OSError, match="numbers"):
        verify_weights(tmp_path, WEIGHTS)


def test_a_changed_number_is_found(tmp_path: Path):
    save_file({**WEIGHTS, "b": WEIGHTS["b"] + 1e-6}, tmp_path / "model.safetensors")
    with pytest.raises(OSError, match="b reads differently"):
        verify_weights(tmp_path, WEIGHTS)
