"""Reading a frozen model over texts: order, batches, and what a resume finds."""

import torch
from transformers import AutoModelForCausalLM

from sandwiching.training.readout import CHUNK, last_token_hidden, read_in_chunks, read_texts

TEXTS = [[65 + i] * (1 + i * 7 % 11) for i in range(30)]


def test_rows_come_back_in_order_whatever_the_batch(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    rows = read_texts(last_token_hidden, model, TEXTS, 257, micro_batch=4)
    assert torch.allclose(rows, read_texts(last_token_hidden, model, TEXTS, 257, micro_batch=30), atol=1e-5)
    for i in (0, 17, 29):
        alone = read_texts(last_token_hidden, model, [TEXTS[i]], 257, micro_batch=1)
        assert torch.allclose(rows[i], alone[0], atol=1e-5)


def test_finished_chunks_are_not_computed_again(tiny, stage_folder):
    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    texts = [[65, 66 + i % 100] for i in range(CHUNK + 3)]
    folder = stage_folder("probe")
    calls = []

    def reader(model, tokens, attention):
        calls.append(len(tokens))
        return last_token_hidden(model, tokens, attention)

    first = read_in_chunks(reader, model, texts, 257, 64, folder.cache / "features", folder)
    assert sum(calls) == len(texts)
    (folder.cache / "features" / f"chunk_{CHUNK}.safetensors").unlink()
    calls.clear()
    assert torch.equal(read_in_chunks(reader, model, texts, 257, 64, folder.cache / "features", folder), first)
    assert sum(calls) == 3
