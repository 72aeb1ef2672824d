"""Run by the Python of vLLM's environment, which needs none of our packages:

    python serve.py < settings

The first line of the input holds the settings as JSON (process.ServerProcess writes it). The server answers
(method, arguments) on its Unix socket with ("ok", result, version of the weights) or ("error", traceback, version), one
request at a time, and ends with its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, Listener
from typing import Any

WATCH_SECONDS = 1.0
DEADLY = ("EngineDeadError", "AcceleratorError")
"""Errors after which an engine does not work again."""
PREFILL_TOKENS = 8192
"""Of prompts that are read at once."""


class Engine:
    """What can be asked."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import shared_memory  # registers the backend of the same name
        from vllm import LLM  # pyright: ignore[reportMissingImports]
        from vllm.config import WeightTransferConfig  # pyright: ignore[reportMissingImports]

        self.version = settings["version"]
        self.asleep = False
        self.llm = LLM(
            model=settings["model"],
            dtype=settings["dtype"],
            max_model_len=settings["max_model_len"],
            max_num_seqs=settings["max_batch"],
            tensor_parallel_size=settings["tensor_parallel"],
            gpu_memory_utilization=settings["memory_share"],
            kv_cache_memory_bytes=settings["cache_bytes"],
            enable_sleep_mode=settings["sleep"],
            skip_tokenizer_init=True,
            # Nothing that a model's generation_config.json says changes the policy that is sampled from.
            generation_config="vllm",
            enforce_eager=settings["enforce_eager"],
            enable_prefix_caching=True,
            # With a seed a row, vLLM fails on CPU where a prompt is read in parts (0.32: a generator without offset).
            enable_chunked_prefill=False,
            max_num_batched_tokens=max(PREFILL_TOKENS, settings["max_model_len"]),
            # Of softmax(logits / temperature), which is what is sampled from.
            logprobs_mode="processed_logprobs",
            weight_transfer_config=WeightTransferConfig(backend=shared_memory.BACKEND),
            worker_extension_cls="shared_memory.Extension",
        )

    def ping(self) -> None:
        """Nothing but an answer."""

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[int], temperature: float, max_tokens: int, eos: int
    ) -> list[tuple[list[int], list[float]]]:
        """Tokens of each response, the end-of-text included, and their log-probs."""
        self.wake()
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        parameters = [
            SamplingParams(
                temperature=temperature,
                seed=seed,
                max_tokens=max_tokens,
                ignore_eos=True,  # there is no tokenizer to tell which it is
                stop_token_ids=[eos],
                logprobs=0,
                detokenize=False,
            )
            for seed in seeds
        ]
        outputs = self.llm.generate([{"prompt_token_ids": row} for row in prompts], parameters, use_tqdm=False)
        return [_sampled(output.outputs[0]) for output in outputs]

    def score(self, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> list[float]:
        """Summed log-prob of each response at temperature 1."""
        self.wake()
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        parameters = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        rows = [{"prompt_token_ids": [*p, *r]} for p, r in zip(prompts, responses, strict=True)]
        outputs = self.llm.generate(rows, parameters, use_tqdm=False)
        return [
            sum(places[token].logprob for places, token in zip(output.prompt_logprobs[len(p) :], r, strict=True))
            for output, p, r in zip(outputs, prompts, responses, strict=True)
        ]

    def layer_states(self, tokens: list[int]) -> list[list[float]]:
        """What each decoder layer makes of a text's last token."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        self.wake()
        self.llm.reset_prefix_cache()  # cached tokens pass no layer
        self.llm.collective_rpc("watch_layers")
        parameters = SamplingParams(max_tokens=1, detokenize=False)
        self.llm.generate([{"prompt_token_ids": tokens}], parameters, use_tqdm=False)
        return self.llm.collective_rpc("watched_layers")[0]

    def begin_push(self) -> None:
        """Buckets follow."""
        self.wake()
        self.llm.collective_rpc("start_weight_update")

    def push(self, path: str, size: int, entries: Sequence[Any]) -> None:
        """One buckets.Bucket, as its fields."""
        info = {"path": path, "size": size, "entries": entries}
        self.llm.collective_rpc("update_weights", kwargs={"update_info": info})

    def end_push(self, version: int) -> None:
        """All weights have come; keys and values of the old ones are forgotten."""
        self.llm.collective_rpc("finish_weight_update")
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("the prefix cache still holds keys of the old weights")
        self.version = version

    def sleep(self) -> None:
        """Give the GPU's memory back; the weights wait on the host."""
        self.llm.sleep(level=1)
        self.asleep = True

    def wake(self) -> None:
        """Undo `sleep`."""
        if self.asleep:
            self.llm.wake_up()
            self.asleep = False


def _sampled(output: Any) -> tuple[list[int], list[float]]:
    tokens = list(output.token_ids)
    return tokens, [places[token].logprob for places, token in zip(output.logprobs, tokens, strict=True)]


def serve(connection: Connection, engine: Engine) -> None:
    """Answer until the other side closes."""
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            kind, answer = "ok", getattr(engine, method)(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told and decides
            kind, answer = "error", traceback.format_exc()
            if type(error).__name__ in DEADLY or "Executor failed" in answer:
                sys.stderr.write(answer)
                return  # this process is of no use any more: another one may be
        connection.send((kind, answer, engine.version))


def end_with(parent: int) -> None:
    """Even in the middle of a rollout: a parent that was killed may be started again on the same devices."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.killpg(0, signal.SIGKILL)  # workers of vLLM too


def main() -> None:
    """Listen first, so that the parent need not guess when to connect; it waits for the first answer."""
    settings = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with, args=(settings["parent"],), daemon=True).start()
    with Listener(settings["socket"], "AF_UNIX", authkey=bytes.fromhex(settings["key"])) as listener:
        connection = listener.accept()
    serve(connection, Engine(settings))


if __name__ == "__main__":
    main()
