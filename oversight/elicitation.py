"""Is the policy doing its best? What a few labels draw out of it, and what a probe reads in it that it does not say.

    k labels: training prompts, each with the answer chosen among gold's candidates by an expert or by a weak rater
        -> SFT of the policy on the chosen answers -> its forced choice on held-out prompts     ("says")
        -> a linear probe on its frozen hidden states, chosen against the others -> the same     ("probe")

A policy that knows more than it says shows it twice: a probe on k expert labels beats what the policy says after SFT on
the same k, and a few expert labels make what it says jump (password-locked models: arXiv 2405.19550). Weak labels do
neither. Probe and policy choose among the same candidates. Shapes: N held-out items, C candidates of an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import ModelConfig, OptimizerConfig
from sandwiching.oversight.approval import preference
from sandwiching.oversight.choice import chosen_right
from sandwiching.oversight.forced_choice import Question, candidate_logprobs
from sandwiching.oversight.items import Item
from sandwiching.policy.engine import RolloutEngine
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.tokenization import encode, pad_token_id
from sandwiching.reward_model.probe import fit_probe
from sandwiching.tasks.records import Gold, Prompt, Rater
from sandwiching.tasks.splits import rank
from sandwiching.training.batching import IGNORED
from sandwiching.training.devices import default_device
from sandwiching.training.in_memory import Row, train_in_memory
from sandwiching.training.readout import last_token_hidden, read_texts

Who = Literal["expert", "weak"]

COUNTS = (0, 8, 32, 128)
"""Labels, as far as there are training prompts."""

EPOCHS = 8
BATCH = 16
"""Of SFT on the labels."""


@dataclass(frozen=True, slots=True)
class Label:
    """The answer that somebody chose among a prompt's candidates, and those passed over."""

    prompt: Prompt
    chosen: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One policy after k labels of somebody: share right [N] of what it says, and of the probe (None without labels).

    probe is read from the policy as it was before any label.
    """

    who: Who
    labels: int
    says: list[float]
    probe: list[float] | None


def labelled(prompts: Sequence[Prompt], gold: Gold, raters: Sequence[Rater] | None, count: int) -> list[Label]:
    """`count` training prompts by hash: chosen by gold, or each by one of `raters`, who compares every two candidates.

    Raises ValueError when there are fewer prompts.
    """
    if count > len(prompts):
        raise ValueError(
            f"elicitation: {count} labels need as many training prompts, of which there are {len(prompts)}"
        )
    found = []
    for prompt in sorted(prompts, key=lambda prompt: rank("elicitation", prompt.id))[:count]:
        candidates = gold.candidates(prompt)
        chosen = 0 if raters is None else _choice(prompt, candidates, raters)
        found.append(Label(prompt, candidates[chosen], candidates[:chosen] + candidates[chosen + 1 :]))
    return found


def _choice(prompt: Prompt, candidates: Sequence[str], raters: Sequence[Rater]) -> int:
    """What one rater prefers most often; candidates that are level are drawn among by hash."""
    rater = min(raters, key=lambda rater: rank(f"elicitation {prompt.id}", rater.id))
    wins = [0.0] * len(candidates)
    for one, other in combinations(range(len(candidates)), 2):
        name = f"elicitation/{one}/{other}"
        won = preference(rater, prompt, candidates[one], candidates[other], name, side=name)
        wins[one] += won
        wins[other] += 1 - won
    return max(range(len(candidates)), key=lambda place: (wins[place], rank(prompt.id, candidates[place])))


@dataclass(frozen=True, slots=True)
class Subject:
    """A policy to be asked: its folder, how texts become ids, and an engine for it. optimizer: of SFT on labels."""

    folder: Path
    engine: RolloutEngine
    tokenizer: PreTrainedTokenizerBase
    model: ModelConfig
    optimizer: OptimizerConfig
    micro_batch: int
    seed: int

    def says(self, items: Sequence[Item], labels: Sequence[Label]) -> list[float]:
        """Share right [N] in forced choice, after SFT on the labels."""
        self.engine.load(self.folder, 0)
        if labels:
            rows = [self._row(label) for label in labels]
            net = load_causal_lm(self.folder, torch.float32)
            net.to(default_device())  # pyright: ignore[reportArgumentType]
            batch = min(BATCH, len(rows))
            steps = EPOCHS * len(rows) // batch
            pad = pad_token_id(self.tokenizer)
            train_in_memory(net, rows, steps=steps, batch_size=batch, optimizer=self.optimizer, pad=pad, seed=self.seed)
            self.engine.load_weights(dict(net.named_parameters()), len(labels))
        questions = [Question(item.prompt.text, item.candidates) for item in items]
        logprobs = candidate_logprobs(self.engine, self.tokenizer, questions, self.model.separator, 1.0)
        return [chosen_right(scores) for scores in logprobs]

    def probe(self, items: Sequence[Item], labels: Sequence[Label]) -> list[float]:
        """Share right [N] of a linear head on the hidden state at the end of an answer, fitted to the labels."""
        learned = [(label.prompt, answer) for label in labels for answer in (label.chosen, *label.others)]
        asked = [(item.prompt, answer) for item in items for answer in item.candidates]
        net = load_causal_lm(self.folder, torch.float32).to(default_device())  # pyright: ignore[reportArgumentType]
        texts = [self._ids(prompt, answer) for prompt, answer in (*learned, *asked)]
        features_TD = read_texts(last_token_hidden, net.eval(), texts, self.micro_batch)
        better, worse, place = [], [], 0
        for label in labels:
            better += [place] * len(label.others)
            worse += range(place + 1, place + 1 + len(label.others))
            place += 1 + len(label.others)
        ones = torch.ones(len(better))
        head_D = fit_probe(features_TD, torch.tensor(better), torch.tensor(worse), ones, ones, torch.zeros_like(ones))
        scores = (features_TD[place:] @ head_D).tolist()
        found, place = [], 0
        for item in items:
            found.append(chosen_right(scores[place : place + len(item.candidates)]))
            place += len(item.candidates)
        return found

    def _ids(self, prompt: Prompt, answer: str) -> list[int]:
        before, after = encode(self.tokenizer, prompt.text, answer, True, self.model.separator)
        return before + after

    def _row(self, label: Label) -> Row:
        before, after = encode(self.tokenizer, label.prompt.text, label.chosen, True, self.model.separator)
        return before + after, [IGNORED] * len(before) + after


def drawn_out(
    subject: Subject, items: Sequence[Item], labels: dict[Who, list[Label]], counts: Sequence[int] = COUNTS
) -> list[Drawn]:
    """For labels of each kind (as many as the largest count), what the policy says and its probe after each count."""
    before = subject.says(items, [])
    found = []
    for who, all_labels in labels.items():
        for count in sorted({min(count, len(all_labels)) for count in counts}):
            given = all_labels[:count]
            says = subject.says(items, given) if given else before
            found.append(Drawn(who, count, says, subject.probe(items, given) if given else None))
    return found


def constant(optimizer: OptimizerConfig) -> OptimizerConfig:
    """SFT's optimiser for few steps: its rate throughout."""
    return replace(optimizer, scheduler="constant", warmup_ratio=0.0)
