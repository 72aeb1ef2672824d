"""Reward model of kind probe: a linear head on frozen features of the parent's own trunk."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from sandwiching.reward_model.columns import JudgementColumns
from sandwiching.reward_model.evaluate import summarise
from sandwiching.reward_model.probe import fit_probe
from sandwiching.training import distributed
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.metrics import MetricsLog
from sandwiching.training.readout import last_token_hidden, read_in_chunks
from sandwiching.training.reward_member import STAGE, LossTerms, Member, load_with_head
from sandwiching.training.weights import export_trained


def train_probe(member: Member) -> dict[str, float]:
    """Fit the head and write the model; features are computed once and kept in cache/ for a resume."""
    columns, terms = member.data.train, member.terms
    reading = _plain(member).to(device=default_device(), dtype=compute_dtype(member.precision))  # pyright: ignore
    features_ND = read_in_chunks(
        last_token_hidden,
        reading.eval(),
        member.data.texts,
        member.resources.micro_batch,
        member.folder.cache / "features",
        member.folder,
    )
    head_D = fit_head(features_ND, columns, terms)
    scores_N = features_ND @ head_D
    fit = summarise(scores_N[columns.text_a_E] - scores_N[columns.text_b_E], columns.target_E)
    assert fit is not None
    metrics = {f"{STAGE}/loss": fit.nll, f"{STAGE}/accuracy": fit.accuracy}
    if distributed.rank() == 0:
        log = MetricsLog(member.folder.metrics)
        log.cut(0)
        log.write({"step": 1, **metrics})
        export_trained(_plain(member), {"score.weight": head_D[None]}, member.tokenizer, member.folder)
        member.observer(STAGE, 1, 1, metrics)
    return metrics


def fit_head(features_ND: Tensor, columns: JudgementColumns, terms: LossTerms) -> Tensor:
    """Weights [D] of the head that these judgements ask for."""
    return fit_probe(
        features_ND,
        columns.text_a_E,
        columns.text_b_E,
        columns.target_E,
        terms.weight_E,
        terms.margin_E,
        terms.noise,
        terms.error_E,
    )


def _plain(member: Member) -> PreTrainedModel:
    model = load_with_head(member)
    assert isinstance(model, PreTrainedModel)
    return model
