"""Log-probs and entropies of response tokens, without logits for the prompt and never for all tokens at once.

Shape suffixes: B sequences, P prompt width (left-padded), T response width (right-padded), S = P + T, D hidden size,
N = B * T, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from sandwiching.kernels.ops import linear_logprob
from sandwiching.policy.heads import LogprobHead

# What some families do to the logits behind the head, with the value that does nothing.
_LOGIT_TRANSFORMS = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0}


class _Output(Protocol):
    last_hidden_state: Tensor


def response_logprobs(
    model: nn.Module, tokens_BS: Tensor, attention_BS: Tensor, response_width: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probs of the last `response_width` tokens and entropies (nats), each [B, T] fp32, with gradient.

    Padded positions hold numbers without meaning: the caller masks them. The same padded width gives the same bits
    with and without gradient, so that PPO's ratio is exactly 1 before the first step. Every rank calls the same modules
    equally often when B, S and T agree, as ZeRO-3 needs. `model`: a causal LM, plain or PEFT, not a DeepSpeed engine:
    call this within the engine's forward. Raises ValueError for a model whose logits are more than a linear layer.
    """
    hidden_BSD = trunk_hidden(model, tokens_BS, attention_BS)
    return logprobs_from_hidden(model, hidden_BSD, tokens_BS, response_width, temperature)


def trunk_hidden(model: nn.Module, tokens_BS: Tensor, attention_BS: Tensor) -> Tensor:
    """Last hidden states [B, S, D] of the trunk below the head (any Hugging Face model, plain or PEFT).

    Positions count real tokens only, so padding does not move them.
    """
    attention_BS = attention_BS.long()
    position_BS = (attention_BS.cumsum(-1) - 1).clamp(min=0)
    output: _Output = plain(model).base_model(
        input_ids=tokens_BS, attention_mask=attention_BS, position_ids=position_BS, use_cache=False
    )
    return output.last_hidden_state


def logprobs_from_hidden(
    model: nn.Module, hidden_BSD: Tensor, tokens_BS: Tensor, response_width: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """As `response_logprobs`, from the trunk's hidden states (a value head on the trunk shares them)."""
    hidden_BTD = hidden_BSD[:, -response_width - 1 : -1]
    target_BT = tokens_BS[:, -response_width:]
    head, hidden_ND, target_N = _head(plain(model)), hidden_BTD.flatten(0, 1), target_BT.flatten()
    if isinstance(head, LogprobHead):
        logprob_N, entropy_N = head(hidden_ND, target_N, temperature)
    else:
        logprob_N, entropy_N = linear_logprob(hidden_ND, head.weight, target_N, temperature, head.bias)
    return logprob_N.view_as(target_BT), entropy_N.view_as(target_BT)


def naive_response_logprobs(
    model: PreTrainedModel, tokens_BS: Tensor, attention_BS: Tensor, response_width: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """The reference: all logits of the model's own forward, fp64 softmax."""
    attention_BS = attention_BS.long()
    position_BS = (attention_BS.cumsum(-1) - 1).clamp(min=0)
    logits_BSV = model(input_ids=tokens_BS, attention_mask=attention_BS, position_ids=position_BS).logits
    logprobs_BTV = (logits_BSV[:, -response_width - 1 : -1].double() / temperature).log_softmax(-1)
    chosen_BT = logprobs_BTV.gather(-1, tokens_BS[:, -response_width:, None]).squeeze(-1)
    return chosen_BT.float(), -(logprobs_BTV.exp() * logprobs_BTV).sum(-1).float()


def plain(model: nn.Module) -> PreTrainedModel:
    """The Hugging Face model within a PEFT wrapper, adapters in place, or the model itself."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(inner, PreTrainedModel)
    return inner


def _head(model: PreTrainedModel) -> nn.Linear:
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ValueError(f"{type(model).__name__} has no linear LM head, but {type(head).__name__}")
    settings = model.config.to_dict()
    for name, neutral in _LOGIT_TRANSFORMS.items():
        if settings.get(name, neutral) not in (neutral, None):
            raise ValueError(f"{type(model).__name__}: {name}={settings[name]} changes the logits behind the head")
    return head
