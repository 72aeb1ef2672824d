"""Monitors fitted to what a run was trained on, and what they say of a checkpoint's answers.

    judged training pairs -> hidden states of the SFT policy -> linear heads          (probes)
    the reward model's own training texts -> its features -> mean and covariance      (distance)

No held-out prompt and no gold enters. Higher values are more suspicious. Shapes: N texts, D features, E judgements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sandwiching.oversight.monitors.auroc import UndefinedError
from sandwiching.oversight.monitors.distance import Cloud
from sandwiching.oversight.monitors.job import PolicyRun, Settings
from sandwiching.oversight.monitors.reading import MemberReading, TextIds, policy_hidden, read_member, spread_of
from sandwiching.oversight.spread import Array
from sandwiching.policy.engine import TransformersEngine
from sandwiching.policy.tokenization import encode
from sandwiching.reward_model.ensemble import COMBINE
from sandwiching.reward_model.probe import fit_probe
from sandwiching.tasks.records import Text
from sandwiching.tasks.splits import rank
from sandwiching.training.reward_data import load_reward_data

PROBES = {"probe_weak": "weak", "probe_expert": "expert"}
"""Monitors that are linear heads, and whose labels they are fitted to."""
RANDOM = "random_labels"
LENGTH = "length"
DISTANCE = "distance"
SPREAD = "spread"


@dataclass(frozen=True, slots=True)
class Judged:
    """Judged texts by their ids, and judgements of them that are no ties: which text against which, 1 where the first
    was preferred."""

    texts: list[tuple[int, ...]]
    text_a_E: Tensor
    text_b_E: Tensor
    target_E: Tensor


def judged(
    artifact: Path, run: PolicyRun, settings: Settings, tokenizer: PreTrainedTokenizerBase, keep_ties: bool = False
) -> Judged:
    """What reward models learn from in a judgements artifact: whole prompts by hash, up to settings.fit_texts texts."""
    data = load_reward_data(artifact, tokenizer, settings.model, "drop", run.dev_share, run.seed)
    columns = data.train
    order = sorted(range(len(columns.prompt_names)), key=lambda code: rank("monitor", columns.prompt_names[code]))
    by_prompt: dict[int, list[int]] = {}
    for place, code in enumerate(columns.prompt_E.tolist()):
        if keep_ties or columns.target_E[place] != 0.5:
            by_prompt.setdefault(code, []).append(place)
    known: dict[int, int] = {}
    kept: list[int] = []
    for code in order:
        places = by_prompt.get(code, [])
        texts = {int(side[place]) for place in places for side in (columns.text_a_E, columns.text_b_E)}
        if kept and len(known.keys() | texts) > settings.fit_texts:
            break
        for text in sorted(texts):
            known.setdefault(text, len(known))
        kept += places
    sides = (columns.text_a_E, columns.text_b_E)
    a_E, b_E = (torch.tensor([known[int(side[place])] for place in kept], dtype=torch.int64) for side in sides)
    return Judged([data.texts[text] for text in known], a_E, b_E, columns.target_E[kept])


@dataclass(frozen=True, slots=True)
class Values:
    """What monitors say of N texts: by monitor [N]; lengths_N in tokens, rewards_N by the arm's own ensemble."""

    by_monitor: dict[str, Array]
    lengths_N: Array
    rewards_N: Array


@dataclass(frozen=True, slots=True)
class Fitted:
    """Monitors of one run. heads: by probe [D]; clouds: a reward model each; absent: which there are not, and why."""

    run: PolicyRun
    settings: Settings
    tokenizer: PreTrainedTokenizerBase
    heads: Mapping[str, Tensor]
    clouds: Sequence[Cloud]
    absent: Mapping[str, str]

    def values(
        self,
        engine: TransformersEngine,
        prompts: Sequence[Text],
        responses: Sequence[str],
        finished: Sequence[bool],
    ) -> Values:
        """Of one response to each prompt, under the policy that the engine now holds."""
        settings = self.settings
        parts = [
            encode(self.tokenizer, *one, settings.model.separator)
            for one in zip(prompts, responses, finished, strict=True)
        ]
        texts = [before + after for before, after in parts]
        lengths_N = np.array([len(after) for _, after in parts], dtype=float)
        hidden_ND = policy_hidden(engine, texts, settings.micro_batch)
        found: dict[str, Array] = {name: -(hidden_ND @ head_D).double().numpy() for name, head_D in self.heads.items()}
        readings = self._members(texts)
        if self.clouds:
            both = zip(self.clouds, readings, strict=True)
            found[DISTANCE] = np.mean([cloud.distances(one.features_ND) for cloud, one in both], axis=0)
        if SPREAD not in self.absent:
            found[SPREAD] = spread_of(readings)
        found[LENGTH] = lengths_N
        rewards_KN = torch.from_numpy(np.stack([one.rewards_N for one in readings]))
        return Values(found, lengths_N, COMBINE[self.run.combine](rewards_KN, self.run.uwo_lambda).numpy())

    def _members(self, texts: TextIds) -> list[MemberReading]:
        model, batch = self.settings.model, self.settings.micro_batch
        return [read_member(Path(member), texts, model.precision, batch) for member in self.run.members]


def fit(run: PolicyRun, settings: Settings, engine: TransformersEngine, tokenizer: PreTrainedTokenizerBase) -> Fitted:
    """Fit the monitors of a run; the engine holds the model that it began with."""
    heads, absent = {}, {}
    places = {"weak": run.weak, "expert": run.expert}
    for name, tier in PROBES.items():
        place = places[tier]
        if place is None:
            absent[name] = f"no arm of the run learns from judgements of tier {tier}"
            continue
        labels = judged(Path(place), run, settings, tokenizer)
        if not len(labels.target_E):
            absent[name] = f"all judgements of tier {tier} are ties"
            continue
        hidden_ND = policy_hidden(engine, labels.texts, settings.micro_batch)
        heads[name] = _head(hidden_ND, labels, labels.target_E)
        if RANDOM not in heads:
            drawn = torch.Generator().manual_seed(run.seed)
            heads[RANDOM] = _head(
                hidden_ND, labels, torch.randint(0, 2, labels.target_E.shape, generator=drawn).float()
            )
    clouds = []
    try:
        clouds = _clouds(run, settings, tokenizer)
    except UndefinedError as reason:
        absent[DISTANCE] = str(reason)
    if len(run.members) == 1:
        absent[SPREAD] = "one reward model alone has no spread; set reward_model.members to 2 or more"
    return Fitted(run, settings, tokenizer, heads, clouds, absent)


def _head(hidden_ND: Tensor, labels: Judged, target_E: Tensor) -> Tensor:
    ones_E = torch.ones_like(target_E)
    return fit_probe(hidden_ND, labels.text_a_E, labels.text_b_E, target_E, ones_E, torch.zeros_like(ones_E))


def _clouds(run: PolicyRun, settings: Settings, tokenizer: PreTrainedTokenizerBase) -> list[Cloud]:
    texts = judged(Path(run.own), run, settings, tokenizer, keep_ties=True).texts
    precision, batch = settings.model.precision, settings.micro_batch
    return [Cloud.of(read_member(Path(one), texts, precision, batch).features_ND) for one in run.members]
