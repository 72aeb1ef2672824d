"""Rollout engines: what samples responses. Hugging Face generate here; others fit behind the same Protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel

from sandwiching.policy.generation import GumbelNoise, Polled, go_on, row_seed
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.logprobs import padded_logprobs, response_kl
from sandwiching.policy.lora import LoraSpec, attach, load_adapter_weights
from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import PromptBatch, Rollouts, Texts
from sandwiching.policy.trunk import layer_states, packs, plain


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are sampled: softmax(logits / temperature), at most max_new_tokens tokens."""

    temperature: float
    max_new_tokens: int

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"sampling.temperature={self.temperature} must be above 0")
        if self.max_new_tokens < 1:
            raise ValueError(f"sampling.max_new_tokens={self.max_new_tokens} must be at least 1")


class RolloutEngine(Protocol):
    """Samples from one policy at a time. Holds weights and nothing else that a result depends on."""

    version: int
    """Of the weights, as given when they were loaded."""
    elsewhere: bool
    """Whether its work is done by other processes."""

    def load(self, folder: Path, version: int) -> None:
        """Sample from the model in `folder` from now on."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        """New weights for the model at hand: those of the adapter when the engine has one, else all."""
        ...

    def generate(self, prompts: PromptBatch, sampling: Sampling, seed: int, step: int) -> Rollouts:
        """One response a row, in the order of the rows; a function of weights, prompt, sampling, seed, step, sample."""
        ...

    def logprobs(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float
    ) -> Tensor:
        """Log-prob [B] fp32 in nats of each whole response to its prompt (token ids)."""
        ...

    def divergence(
        self,
        reference: Path,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        temperature: float,
    ) -> Tensor:
        """KL [B] fp32 in nats of the policy from the model in `reference`, exact at each token, summed over a response.

        Its mean over responses that the policy sampled estimates the KL of whole responses without bias.
        """
        ...

    def restarts(self) -> int:
        """How often a lost process has been replaced so far."""
        ...

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """What each decoder layer makes of a text's last token: [layers, D] fp32. No layers: the engine cannot tell."""
        ...

    def close(self) -> None:
        """Give memory and processes back; the engine is of no use any more."""
        ...


def contiguous_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Hook of the LM head. The prefill slices the last position out of [B, S, D]; for such a view torch copies the
    head's weight once a row of the batch (seconds a rollout with a vocabulary of 50,000)."""
    return tuple(tensor.contiguous() for tensor in inputs)


def refuse_other_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless `weights` names all that the model has and nothing else."""
    needed = {name for name, _ in model.named_parameters()}
    missing, unknown = needed - weights.keys(), weights.keys() - model.state_dict().keys()
    if missing or unknown:
        raise ValueError(f"engine weights: missing {sorted(missing)[:3]}, unknown {sorted(unknown)[:3]}")


class TransformersEngine:
    """RolloutEngine on Hugging Face generate with a KV cache, in one process on one device.

    poll: called before each token and batch; what it raises ends the call, and changes nothing.
    """

    elsewhere = False

    def __init__(
        self,
        folder: Path,
        *,
        pad_token_id: int,
        eos_token_id: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        lora: LoraSpec | None = None,
        max_batch: int = 64,
        poll: Callable[[], None] = go_on,
    ) -> None:
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id
        self.device = torch.device(device)
        self.dtype = dtype
        self.lora = lora
        self.max_batch = max_batch
        self.poll = poll
        self.load(folder, 0)

    def load(self, folder: Path, version: int) -> None:
        """See RolloutEngine. With `lora`, the model gets a fresh adapter that does nothing until weights come."""
        model = load_causal_lm(folder, self.dtype)
        # Generation settings that come with a model (top_k, repetition penalty, extra eos ids) would be merged into
        # ours and change the policy that is sampled from.
        model.generation_config = GenerationConfig()
        head = model.get_output_embeddings()
        assert head is not None
        head.register_forward_pre_hook(contiguous_input)
        if self.lora is not None:
            model = attach(model, self.lora, seed=0, task_type="CAUSAL_LM")
        model.to(self.device)  # pyright: ignore[reportArgumentType]
        self.model: PreTrainedModel | PeftModel = model.eval().requires_grad_(False)
        self.version = version

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        """See RolloutEngine. Raises ValueError when names are missing or unknown."""
        if isinstance(self.model, PeftModel):
            load_adapter_weights(self.model, weights)
        else:
            refuse_other_weights(self.model, weights)
            self.model.load_state_dict(dict(weights), strict=False)
        self.version = version

    @torch.no_grad()
    def generate(self, prompts: PromptBatch, sampling: Sampling, seed: int, step: int) -> Rollouts:
        """See RolloutEngine. All rows are padded to the longest prompt and to max_new_tokens.

        Raises ValueError for no prompts or an empty one.
        """
        if not len(prompts) or not all(prompts.tokens):
            raise ValueError("generate: give at least one prompt, and no empty one")
        width = max(len(row) for row in prompts.tokens)
        starts = range(0, len(prompts), self.max_batch)
        chunks = [prompts.rows(start, min(start + self.max_batch, len(prompts))) for start in starts]
        return Rollouts.join([self._generate(chunk, width, sampling, seed, step) for chunk in chunks])

    def _generate(self, prompts: PromptBatch, width: int, sampling: Sampling, seed: int, step: int) -> Rollouts:
        tokens_BP, attention_BP = padded_left(prompts.tokens, self.pad_token_id, width)
        rows = zip(prompts.prompt_ids, prompts.sample_index, strict=True)
        noise = GumbelNoise([row_seed(seed, step, *row) for row in rows], sampling.temperature, self.device)
        output_BS = plain(self.model).generate(  # pyright: ignore[reportCallIssue]
            inputs=tokens_BP.to(self.device),
            attention_mask=attention_BP.long().to(self.device),
            logits_processor=LogitsProcessorList([Polled(self.poll), noise]),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=self.eos_token_id,
                pad_token_id=self.pad_token_id,
            ),
        )
        assert isinstance(output_BS, Tensor)
        return self._rollouts(prompts, tokens_BP, attention_BP, output_BS[:, width:].cpu(), noise, sampling)

    def _rollouts(
        self,
        prompts: PromptBatch,
        tokens_BP: Tensor,
        attention_BP: Tensor,
        sampled_Bt: Tensor,
        noise: GumbelNoise,
        sampling: Sampling,
    ) -> Rollouts:
        """What was sampled (t columns: generate stops early when all rows have ended), cut after eos, padded to T."""
        short = sampling.max_new_tokens - sampled_Bt.shape[1]
        response_BT = torch.nn.functional.pad(sampled_Bt, (0, short), value=self.pad_token_id)
        logprobs_BT = torch.nn.functional.pad(noise.logprobs().cpu(), (0, short))
        eos_BT = response_BT == self.eos_token_id
        mask_BT = (eos_BT.cumsum(1) - eos_BT.long()) == 0
        return Rollouts(
            prompt_ids=prompts.prompt_ids,
            sample_index=prompts.sample_index,
            tokens_BS=torch.cat([tokens_BP, response_BT.where(mask_BT, self.pad_token_id)], dim=1),
            attention_BS=torch.cat([attention_BP, mask_BT], dim=1),
            response_mask_BT=mask_BT,
            finished_B=eos_BT.any(1),
            behaviour_logprobs_BT=logprobs_BT.where(mask_BT, 0.0),
        )

    @torch.no_grad()
    def logprobs(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float
    ) -> Tensor:
        """See RolloutEngine. An empty response has log-prob 0."""
        sums = []
        for texts, prefix in self._texts(prompts, responses):
            logprobs_BT, _ = padded_logprobs(self.model, texts, temperature, prefix)
            sums.append(logprobs_BT.sum(1))
        return torch.cat(sums)

    @torch.no_grad()
    def divergence(
        self,
        reference: Path,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        temperature: float,
    ) -> Tensor:
        """See RolloutEngine. Holds both models meanwhile."""
        other = load_causal_lm(reference, self.dtype).eval()
        other.to(self.device)  # pyright: ignore[reportArgumentType]
        sums = []
        for texts, prefix in self._texts(prompts, responses):
            kl_M = response_kl(self.model, other, texts.packed(prefix).to(self.device), temperature)
            sums.append(texts.padded(kl_M.cpu()).sum(1))
        return torch.cat(sums)

    def _texts(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
    ) -> Iterator[tuple[Texts, int]]:
        """In batches, each with the number of tokens that all its prompts begin with, where the model packs."""
        for start in range(0, len(prompts), self.max_batch):
            self.poll()
            tokens_BP, attention_BP = padded_left(prompts[start : start + self.max_batch], self.pad_token_id)
            tokens_BT, mask_BT = padded_right(responses[start : start + self.max_batch], self.pad_token_id)
            tokens_BS, attention_BS = torch.cat([tokens_BP, tokens_BT], 1), torch.cat([attention_BP, mask_BT], 1)
            texts = Texts(tokens_BS, attention_BS, mask_BT)
            yield texts, texts.shared_prefix if packs(self.model) else 0

    def restarts(self) -> int:
        """See RolloutEngine."""
        return 0

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        """See RolloutEngine."""
        return layer_states(self.model, tokens)

    def close(self) -> None:
        """See RolloutEngine."""
        del self.model
