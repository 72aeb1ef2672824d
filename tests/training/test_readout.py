"""Reading a frozen model over texts: order, passes, and what a resume finds."""

import torch
from transformers import AutoModelForCausalLM

from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.padding import SHORTEST_PREFIX
from sandwiching.training.readout import CHUNK, last_token_hidden, read_in_chunks, read_texts

SHARED = list(range(40, 40 + SHORTEST_PREFIX))
TEXTS = [SHARED + [65 + i] * (1 + i * 7 % 11) for i in range(30)]


def test_rows_come_back_in_order_whatever_the_batch(tiny):
    model = load_causal_lm(tiny, torch.float32).eval()
    rows = read_texts(last_token_hidden, model, TEXTS, micro_batch=4)
    assert torch.allclose(rows, read_texts(last_token_hidden, model, TEXTS, micro_batch=30), atol=1e-5)
    plain = AutoModelForCausalLM.from_pretrained(tiny).eval()
    for i in (0, 17, 29):
        alone = read_texts(last_token_hidden, model, [TEXTS[i]], micro_batch=1)
        assert torch.allclose(rows[i], alone[0], atol=1e-5)
        output = plain(input_ids=torch.tensor([TEXTS[i]]), output_hidden_states=True)
        assert torch.allclose(rows[i], output.hidden_states[-1][0, -1], atol=1e-5)


def test_finished_chunks_are_not_computed_again(tiny, stage_folder):
    model = load_causal_lm(tiny, torch.float32).eval()
    texts = [[65, 66 + i % 100] for i in range(CHUNK + 3)]
    folder = stage_folder("probe")
    calls = []

    def reader(model, packing):
        calls.append(len(packing.rest_B))
        return last_token_hidden(model, packing)

    first = read_in_chunks(reader, model, texts, 64, folder.cache / "features", folder)
    assert sum(calls) == len(texts)
    (folder.cache / "features" / f"chunk_{CHUNK}.safetensors").unlink()
    calls.clear()
    assert torch.equal(read_in_chunks(reader, model, texts, 64, folder.cache / "features", folder), first)
    assert sum(calls) == 3
