"""Rollouts by vLLM, in a process of its own that is started again when it is lost. Shape suffixes as in records.py."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from sandwiching.policy.engine import Sampling, refuse_other_weights
from sandwiching.policy.generation import go_on, row_seed
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.lora import LoraSpec, attach, load_adapter_weights
from sandwiching.policy.merging import merged_weights
from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import PromptBatch, Rollouts
from sandwiching.policy.vllm_process import ServerLostError, ServerProcess, ServerSettings
from sandwiching.policy.vllm_server.buckets import SharedBuckets

RESTARTS = 2
"""A request is tried on so many more processes."""

MOST_RESTARTS = 20
"""Of one engine: more than a bad day."""

Sampled = tuple[list[int], list[float]]
"""Tokens of a response and their log-probs."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class VLLMEngine:
    """RolloutEngine on vLLM. Weights are pushed into the running process through shared memory.

    With `lora`, adapters are merged in fp32 and pushed as whole weights: the policy is sampled as it will be exported.
    poll: called while an answer is waited for; what it raises ends the process, and the engine with it.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        pad_token_id: int,
        eos_token_id: int,
        lora: LoraSpec | None = None,
        poll: Callable[[], None] = go_on,
    ) -> None:
        self.elsewhere = True
        self.settings = settings
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id
        self.lora = lora
        self.poll = poll
        self.buckets = SharedBuckets()
        self.pushed: Mapping[str, Tensor] | None = None
        self.template: PeftModel | None = None
        self.restarted = 0
        self.closed = False
        self.lock = threading.Lock()
        self.version = 0
        self.server = ServerProcess(settings, self.version)

    def load(self, folder: Path, version: int) -> None:
        """See RolloutEngine."""
        self.settings, self.version = replace(self.settings, model=folder), version
        self.pushed = self.template = None
        with self.lock:
            self._replace()

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        """See RolloutEngine. Raises ValueError when names are missing or unknown."""
        whole = self._whole(weights)
        self.pushed, self.version = whole, version
        self._persist(self._push)

    def generate(self, prompts: PromptBatch, sampling: Sampling, seed: int, step: int) -> Rollouts:
        """See RolloutEngine. Raises ValueError for no prompts or an empty one. At temperatures below .01 vLLM
        samples at .01.

        A row has its own seed, so what it gets does not depend on the other rows but for rounding.
        """
        if not len(prompts) or not all(prompts.tokens):
            raise ValueError("generate: give at least one prompt, and no empty one")
        rows = zip(prompts.prompt_ids, prompts.sample_index, strict=True)
        seeds = [row_seed(seed, step, *row) for row in rows]
        tokens = [list(row) for row in prompts.tokens]
        answers = self._ask("generate", tokens, seeds, sampling.temperature, sampling.max_new_tokens, self.eos_token_id)
        if self.settings.sleep:
            self._ask("sleep")
        self._refuse_cut(prompts, answers, sampling.max_new_tokens)
        return self._rollouts(prompts, answers, sampling.max_new_tokens)

    def logprobs(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float
    ) -> Tensor:
        """See RolloutEngine. Raises ValueError for another temperature than 1, at which vLLM does not score texts."""
        if temperature != 1.0:
            raise ValueError(f"vLLM scores given texts at temperature 1 only, not {temperature}")
        return torch.tensor(self._ask("score", [list(p) for p in prompts], [list(r) for r in responses]))

    def divergence(
        self,
        reference: Path,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        temperature: float,
    ) -> Tensor:
        """Raises ValueError: vLLM tells log-probs of sampled tokens, not whole distributions."""
        raise ValueError("vLLM gives no whole next-token distributions to compare; ask a transformers engine")

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """See RolloutEngine. vLLM's compiled graphs, which it uses on GPUs, do not tell."""
        return torch.tensor(self._ask("layer_states", list(tokens)))

    def restarts(self) -> int:
        """See RolloutEngine."""
        return self.restarted

    def close(self) -> None:
        """See RolloutEngine."""
        self.closed = True
        with self.lock:
            self.server.stop()
            self.buckets.close()
        self.pushed = self.template = None

    def _rollouts(self, prompts: PromptBatch, answers: Sequence[Sampled], width: int) -> Rollouts:
        tokens_BP, attention_BP = padded_left(prompts.tokens, self.pad_token_id)
        response_BT, mask_BT = padded_right([tokens for tokens, _ in answers], self.pad_token_id, width)
        logprobs_BT = torch.zeros(mask_BT.shape)
        logprobs_BT[mask_BT] = torch.tensor([logprob for _, logprobs in answers for logprob in logprobs])
        return Rollouts(
            prompt_ids=prompts.prompt_ids,
            sample_index=prompts.sample_index,
            tokens_BS=torch.cat([tokens_BP, response_BT], dim=1),
            attention_BS=torch.cat([attention_BP, mask_BT], dim=1),
            response_mask_BT=mask_BT,
            finished_B=torch.tensor([tokens[-1] == self.eos_token_id for tokens, _ in answers]),
            behaviour_logprobs_BT=logprobs_BT,
        )

    def _refuse_cut(self, prompts: PromptBatch, answers: Sequence[Sampled], width: int) -> None:
        """vLLM ends a response silently where a text reaches max_model_len."""
        for prompt, tokens, (response, _) in zip(prompts.prompt_ids, prompts.tokens, answers, strict=True):
            if len(response) < width and response[-1] != self.eos_token_id:
                raise ValueError(
                    f"{prompt}: {len(tokens)} tokens leave no room for {width} more within "
                    f"max_length={self.settings.max_model_len}"
                )

    def _ask(self, method: str, *arguments: Any) -> Any:
        answer, version = self._persist(lambda: self.server.request(method, *arguments, poll=self.poll))
        if version != self.version:
            raise RuntimeError(f"vLLM answered with weights {version}, not {self.version}")
        return answer

    def _persist(self, request: Callable[[], T]) -> T:
        """The request's result, from another process with the present weights where one is lost."""
        for attempt in range(RESTARTS + 1):
            try:
                if attempt:
                    with self.lock:
                        self._replace()
                return request()
            except ServerLostError as error:
                if self.closed or attempt == RESTARTS or self.restarted == MOST_RESTARTS:
                    raise
                log.warning("%s\nA new one is started, with weights %d", error, self.version)
                self.restarted += 1
        raise AssertionError("the last attempt returns or raises")

    def _replace(self) -> None:
        if self.closed:
            raise ServerLostError("the engine is closed")
        self.server.stop()
        self.server = ServerProcess(self.settings, self.version)
        if self.pushed is not None:
            self._push()

    def _push(self) -> None:
        assert self.pushed is not None
        self.server.request("begin_push")
        for bucket in self.buckets.fill(self.pushed, getattr(torch, self.settings.dtype)):
            self.server.request("push", bucket.path, bucket.size, bucket.entries)
        self.server.request("end_push", self.version)

    def _whole(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Whole weights by the names that Hugging Face's model gives them."""
        if self.lora is None:
            # vLLM fuses weights, and would not miss a part of one.
            with torch.device("meta"):
                refuse_other_weights(
                    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(self.settings.model)), weights
                )
            self.pushed = None  # not the old weights beside the new
            return {name: weight.to("cpu", copy=True) for name, weight in weights.items()}
        if self.template is None:
            base = load_causal_lm(self.settings.model, torch.float32)
            self.template = attach(base, self.lora, seed=0, task_type="CAUSAL_LM")
        load_adapter_weights(self.template, weights)
        self.pushed = None  # not the old whole weights beside the new
        return merged_weights(self.template, self.template.state_dict())
