"""Batches in which each text is forwarded once a step, however many judgements share it.

    judgements -> pieces (judgements that share texts) -> steps of at most batch_texts texts -> micro-batches

Steps depend on the judgements, batch_texts, seed and epochs only; ranks and micro-batches merely cut them, and never
between two texts that a judgement compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Edges = list[int]


@dataclass(frozen=True, slots=True)
class TextBatch:
    """One forward and backward pass of one rank.

    texts: indexes of the texts to forward; judgements: indexes of the judgements among them (none in a filler, which
    keeps ranks in step); weight: of all judgements of the optimiser step, over all its batches.

    Example: TextBatch(texts=(3, 0), judgements=(7, 9), weight=4.0).
    """

    texts: tuple[int, ...]
    judgements: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Batches in the order in which they are read: step, then pass, then rank; `passes` a step on each rank."""

    batches: tuple[TextBatch, ...]
    passes: int
    steps: int


class _Graph:
    """Which texts each judgement compares."""

    def __init__(self, text_a_E: Tensor, text_b_E: Tensor) -> None:
        self.ends = list(zip(text_a_E.tolist(), text_b_E.tolist(), strict=True))

    def texts(self, edges: Sequence[int]) -> list[int]:
        """Unique texts of judgements, in order of appearance."""
        return list(dict.fromkeys(text for edge in edges for text in self.ends[edge]))

    def components(self, edges: Sequence[int]) -> list[Edges]:
        """Judgements grouped by whether their texts hang together (union-find with path halving)."""
        parent = {text: text for text in self.texts(edges)}

        def root(text: int) -> int:
            while parent[text] != text:
                parent[text] = parent[parent[text]]
                text = parent[text]
            return text

        for edge in edges:
            a, b = self.ends[edge]
            parent[root(a)] = root(b)
        grouped: dict[int, Edges] = {}
        for edge in edges:
            grouped.setdefault(root(self.ends[edge][0]), []).append(edge)
        return list(grouped.values())

    def pieces(self, edges: Sequence[int], batch_texts: int) -> list[Edges]:
        """Components, those of more than `batch_texts` texts cut up: every judgement is in exactly one piece.

        A large component's texts are split into groups of half a batch; a piece is the judgements of two groups.
        """
        whole = self.components(edges)
        small = [piece for piece in whole if len(self.texts(piece)) <= batch_texts]
        return small + [
            cut for piece in whole if len(self.texts(piece)) > batch_texts for cut in self._cut(piece, batch_texts)
        ]

    def _cut(self, edges: Edges, batch_texts: int) -> list[Edges]:
        group = {text: place // (batch_texts // 2) for place, text in enumerate(self.texts(edges))}
        parts: dict[tuple[int, int], Edges] = {}
        within: list[int] = []
        for edge in edges:
            low, high = sorted(group[text] for text in self.ends[edge])
            if low == high:
                within.append(edge)
            else:
                parts.setdefault((low, high), []).append(edge)
        for edge in within:
            own = group[self.ends[edge][0]]
            host = next((pair for pair in parts if own in pair), (own, own))
            parts.setdefault(host, []).append(edge)
        return list(parts.values())


def plan_steps(
    text_a_E: Tensor, text_b_E: Tensor, weight_E: Tensor, batch_texts: int, seed: int, epochs: int
) -> list[Edges]:
    """The judgements of each optimiser step: every one with a weight exactly once an epoch, in a new order each epoch.

    Raises ValueError when batch_texts cannot hold a pair, or no judgement has a weight.
    """
    if batch_texts < 2:
        raise ValueError(f"reward_model.batch_texts={batch_texts} must be at least 2: a judgement compares two texts")
    graph = _Graph(text_a_E, text_b_E)
    pieces = graph.pieces(weight_E.nonzero().flatten().tolist(), batch_texts)
    if not pieces:
        raise ValueError("no judgement has a weight; are all of them ties (reward_model.ties) or of confidence 0?")
    steps: list[Edges] = []
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        steps += _packed(graph, [pieces[i] for i in torch.randperm(len(pieces), generator=generator)], batch_texts)
    return steps


def _packed(graph: _Graph, pieces: Sequence[Edges], batch_texts: int) -> list[Edges]:
    """Pieces in order, a new step whenever the next piece does not fit."""
    steps: list[Edges] = []
    held: set[int] = set()
    for piece in pieces:
        joined = held.union(graph.texts(piece))
        if steps and len(joined) <= batch_texts:
            steps[-1] += piece
            held = joined
        else:
            steps.append(list(piece))
            held = set(graph.texts(piece))
    return steps


def plan_batches(
    text_a_E: Tensor,
    text_b_E: Tensor,
    weight_E: Tensor,
    *,
    batch_texts: int,
    ranks: int,
    micro_batch: int,
    seed: int,
    epochs: int,
) -> BatchPlan:
    """Steps cut into batches of at most `micro_batch` texts.

    Texts that one step compares with each other, directly or through others, stay together even where they are more.
    """
    steps = plan_steps(text_a_E, text_b_E, weight_E, batch_texts, seed, epochs)
    graph = _Graph(text_a_E, text_b_E)
    cut = [_micro_batches(graph, step, micro_batch) for step in steps]
    passes = max(-(-len(bins) // ranks) for bins in cut)
    batches = []
    for step, bins in zip(steps, cut, strict=True):
        weight = weight_E[step].double().sum().item()
        filler = TextBatch((graph.ends[step[0]][0],), (), weight)
        full = [TextBatch(tuple(graph.texts(edges)), tuple(edges), weight) for edges in bins]
        batches += full + [filler] * (passes * ranks - len(full))
    return BatchPlan(tuple(batches), passes, len(steps))


def _micro_batches(graph: _Graph, step: Edges, micro_batch: int) -> list[Edges]:
    """First fit, largest first; the largest batches come first, so that ranks of one pass have about equal work."""
    bundles = sorted(graph.components(step), key=lambda edges: -len(graph.texts(edges)))
    bins: list[Edges] = []
    sizes: list[int] = []
    for edges in bundles:
        size = len(graph.texts(edges))
        place = next((i for i, held in enumerate(sizes) if held + size <= micro_batch), None)
        if place is None:
            bins.append(list(edges))
            sizes.append(size)
        else:
            bins[place] += edges
            sizes[place] += size
    order = sorted(range(len(bins)), key=lambda i: -sizes[i])
    return [bins[i] for i in order]
