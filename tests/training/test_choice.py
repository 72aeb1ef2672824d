"""Which pairs are judged next: by hash alone, or where planted members disagree; never one twice."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sandwiching.configs.schema import LabelsConfig, ModelConfig, ResourcesConfig
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import encode, load_tokenizer
from sandwiching.reward_model.heads import score_head
from sandwiching.reward_model.selection import preference_variance
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Judgement, Pair, Prompt
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.choice import choose_pairs, differences, next_pairs, unjudged
from sandwiching.training.pairs import FILE, read_pairs
from sandwiching.training.readout import last_token_scores, read_texts
from sandwiching.training.roles import ScorerSpec
from sandwiching.training.scorer import TransformersScorer

MODEL = ModelConfig(path="tiny", max_length=64, precision="fp32")


class Scorers:
    """The one role that the choice asks for."""

    def scorer(self, spec: ScorerSpec) -> TransformersScorer:
        return TransformersScorer(spec, 16)


def pair(name: str) -> tuple[Pair, bool, bool]:
    return (
        Pair(name, Prompt(f"p{name}", f"Question {name}?", "g", "kind"), f"one {name}", f"another {name}"),
        True,
        False,
    )


PAIRS = [pair(str(number)) for number in range(12)]


def ids(pairs) -> list[str]:
    return [one.id for one, _, _ in pairs]


@given(st.permutations(range(12)), st.integers(1, 12), st.integers(0, 5))
def test_uniform_choice_depends_on_no_order(order: list[int], count: int, seed: int) -> None:
    chosen = next_pairs([PAIRS[place] for place in order], count, seed)
    assert set(ids(chosen)) == set(ids(next_pairs(PAIRS, count, seed)))
    assert ids(chosen) == [str(place) for place in order if str(place) in ids(chosen)]
    assert len(chosen) == count


def test_uniform_choice_is_uniform_over_seeds() -> None:
    counts = torch.zeros(12)
    for seed in range(600):
        counts[[int(name) for name in ids(next_pairs(PAIRS, 3, seed))]] += 1
    # 600 x 3 / 12 = 150 each, standard deviation 10.6.
    assert (counts - 150).abs().max() < 45


@given(st.permutations(range(12)), st.integers(1, 5))
def test_the_highest_variance_is_chosen_and_chance_decides_between_equals(order: list[int], count: int) -> None:
    variance = {str(number): 0.1 if number < 3 else 0.0 for number in range(12)}
    shuffled = [PAIRS[place] for place in order]
    chosen = set(ids(next_pairs(shuffled, count, 0, torch.tensor([variance[name] for name in ids(shuffled)]))))
    assert len(chosen & {"0", "1", "2"}) == min(count, 3)
    same = torch.tensor([variance[name] for name in ids(PAIRS)])
    assert chosen == set(ids(next_pairs(PAIRS, count, 0, same)))


def test_variance_is_that_of_probabilities() -> None:
    delta_KP = torch.tensor([[0.0, 3.0, 30.0], [0.0, -3.0, 20.0]])
    p = 1 / (1 + torch.exp(-torch.tensor(3.0, dtype=torch.float64)))
    expected = torch.tensor([0.0, (2 * p - 1) ** 2 / 4, 0.0], dtype=torch.float64)
    torch.testing.assert_close(preference_variance(delta_KP), expected, atol=1e-8, rtol=1e-6)


def test_nothing_is_judged_twice_and_running_out_is_an_error() -> None:
    rounds = []
    for _ in range(4):
        left = unjudged(PAIRS, {name for chosen in rounds for name in chosen})
        rounds.append(ids(next_pairs(left, 3, seed=1)))
    assert sorted(name for chosen in rounds for name in chosen) == sorted(ids(PAIRS))
    with pytest.raises(ValueError, match=r"all 12 pairs have been judged; set fewer labels\.rounds"):
        unjudged(PAIRS, set(ids(PAIRS)))


def pairs_artifact(folder: Path, pairs) -> Path:
    folder.mkdir()
    rows = [
        {
            "id": one.id,
            "prompt_id": one.prompt.id,
            "prompt": one.prompt.text,
            "group": "g",
            "kind": "kind",
            "response_a": one.response_a,
            "response_b": one.response_b,
            "finished_a": finished_a,
            "finished_b": finished_b,
        }
        for one, finished_a, finished_b in pairs
    ]
    (folder / FILE).write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return folder


def member(folder: Path, seed: int, deviation: float) -> Path:
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(resolve("tiny"), num_labels=1)
    torch.nn.init.normal_(score_head(model).weight, std=2.0)
    model.config.reward_mean, model.config.reward_std = 0.3, deviation
    model.save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(resolve("tiny")).save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def members(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("members")
    return [member(root / str(seed), seed, 0.5 + seed) for seed in range(3)]


def run(parents: dict[str, Path], folder: Path, labels: LabelsConfig) -> dict[str, float]:
    folder.mkdir()
    (folder / "attempt").write_text("1")
    return choose_pairs(
        model=MODEL,
        labels=labels,
        seed=3,
        resources=ResourcesConfig(),
        parents=parents,
        folder=StageFolder(folder, 1),
        roles=Scorers(),  # pyright: ignore[reportArgumentType]
    )


def test_the_stage_takes_the_pairs_on_which_its_members_differ(members: list[Path], tmp_path: Path) -> None:
    judged = [Judgement("q", "x", "y", "a", "r", "weak", pair=name) for name in ("0", "5")]
    (tmp_path / "judged").mkdir()
    write_judgements(tmp_path / "judged" / "judgements.jsonl.gz", judged)
    parents = {
        "pairs": pairs_artifact(tmp_path / "pairs", PAIRS),
        "judgements": tmp_path / "judged",
        **{f"reward_model/{place}": path for place, path in enumerate(members)},
    }
    metrics = run(parents, tmp_path / "choice", LabelsConfig(rounds=2, pairs_per_round=4, choose="variance"))
    chosen = read_pairs(tmp_path / "choice")
    left = [one for one in PAIRS if one[0].id not in ("0", "5")]
    variance = preference_variance(differences([one / "model" for one in members], left, MODEL, Scorers()))  # pyright: ignore
    highest = {ids(left)[place] for place in variance.topk(4).indices.tolist()}
    assert set(ids(chosen)) == highest
    assert chosen == [one for one in PAIRS if one[0].id in highest], "as they stood, texts and all"
    assert (metrics["choice/pairs"], metrics["choice/unjudged"]) == (4, 6)
    assert metrics["choice/variance"] > metrics["choice/variance_of_all"]


def test_differences_are_of_raw_scores(members: list[Path]) -> None:
    """Whatever unit the scorer puts each member in."""
    tokenizer = load_tokenizer(resolve("tiny"))
    found_KP = differences([one / "model" for one in members], PAIRS, MODEL, Scorers())  # pyright: ignore
    for path, found_P in zip(members, found_KP, strict=True):
        model = AutoModelForSequenceClassification.from_pretrained(path / "model").eval()

        def raw_P(side: str, ended: int, model=model):
            texts = []
            for one in PAIRS:
                before, after = encode(
                    tokenizer, one[0].prompt.text, getattr(one[0], side), bool(one[ended]), MODEL.separator
                )
                texts.append(before + after)
            return read_texts(last_token_scores, model, texts, 8)

        torch.testing.assert_close(found_P, raw_P("response_a", 1) - raw_P("response_b", 2), atol=1e-4, rtol=1e-3)


def test_the_first_round_needs_no_judgements(tmp_path: Path) -> None:
    shuffled = random.Random(0).sample(PAIRS, len(PAIRS))
    parents = {"pairs": pairs_artifact(tmp_path / "pairs", shuffled)}
    assert run(parents, tmp_path / "choice", LabelsConfig(pairs_per_round=5)) == {
        "choice/pairs": 5,
        "choice/unjudged": 7,
    }
    assert set(ids(read_pairs(tmp_path / "choice"))) == set(ids(next_pairs(PAIRS, 5, 3)))
