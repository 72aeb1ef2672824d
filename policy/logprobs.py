"""Log-probs and entropies of response tokens, without logits for the prompt and never for all tokens at once.

Shape suffixes: B sequences, P prompt width (left-padded), T response width (right-padded), S = P + T, D hidden size,
N = B * T, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from sandwiching.kernels.chunked import IGNORED
from sandwiching.kernels.ops import linear_logprob, linear_logprob_kl
from sandwiching.policy.heads import HeadOp, apply_to_head
from sandwiching.policy.trunk import plain, trunk_hidden


def response_logprobs(
    model: nn.Module,
    tokens_BS: Tensor,
    attention_BS: Tensor,
    response_width: int,
    temperature: float,
    prefix: int = 0,
) -> tuple[Tensor, Tensor]:
    """Log-probs of the last `response_width` tokens and entropies (nats), each [B, T] fp32, with gradient.

    0 at padded positions. The same padded width and prefix (see trunk.trunk_hidden) give the same bits with and without
    gradient, so that PPO's ratio is exactly 1 before the first step. Every rank calls the same modules equally often
    when S, T and prefix agree, as ZeRO-3 needs. `model`: a causal LM, plain or PEFT, not a DeepSpeed engine: call this
    within the engine's forward. Raises ValueError for a model whose logits are more than a linear layer.
    """
    hidden_BSD = trunk_hidden(model, tokens_BS, attention_BS, prefix)
    op = logprob_op(response_targets(tokens_BS, attention_BS, response_width), temperature)
    logprob_N, entropy_N = apply_to_head(plain(model), response_hidden(hidden_BSD, response_width), op)
    return logprob_N.view(-1, response_width), entropy_N.view(-1, response_width)


def response_hidden(hidden_BSD: Tensor, response_width: int) -> Tensor:
    """Hidden states [N, D] that the response tokens are predicted from: those of the column before each."""
    return hidden_BSD[:, -response_width - 1 : -1].flatten(0, 1)


def response_targets(tokens_BS: Tensor, attention_BS: Tensor, response_width: int) -> Tensor:
    """Response tokens [N], -100 where there is padding: nothing is computed for those."""
    return tokens_BS.where(attention_BS.bool(), IGNORED)[:, -response_width:].flatten()


def logprob_op(target_N: Tensor, temperature: float) -> HeadOp[tuple[Tensor, Tensor]]:
    """Log-probs and entropies [N] of the targets, as an op on a head."""

    def logprobs(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor]:
        return linear_logprob(hidden_ND, weight_VD, target_N, temperature, bias_V)

    return logprobs


def logprob_kl_op(
    target_N: Tensor, temperature: float, reference_ND: Tensor
) -> HeadOp[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Log-probs, reference log-probs, entropies and exact KL [N], where the reference has the same head (LoRA).

    reference_ND: its hidden states.
    """

    def logprobs(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        heads = hidden_ND, weight_VD, reference_ND, weight_VD
        return linear_logprob_kl(*heads, target_N, temperature, bias_V, bias_V)

    return logprobs


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
