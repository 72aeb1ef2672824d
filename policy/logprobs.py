"""Log-probs and entropies of response tokens, without logits for the prompt and never for all tokens at once.

Shape suffixes as in policy/records.py; D hidden size, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from sandwiching.kernels.ops import linear_logprob, linear_logprob_kl
from sandwiching.policy.heads import HeadOp, apply_to_head
from sandwiching.policy.records import PackedResponses, Responses
from sandwiching.policy.trunk import plain, trunk_hidden


def response_logprobs(model: nn.Module, responses: PackedResponses, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probs of the response tokens and entropies (nats), each [M] fp32, with gradient.

    The same packing gives the same bits with and without gradient, so that PPO's ratio is exactly 1 before the first
    step. `model`: a causal LM, plain or PEFT, not a DeepSpeed engine: call this within the engine's forward. Raises
    ValueError for a model whose logits are more than a linear layer.
    """
    hidden_ND = trunk_hidden(model, responses.packing)
    return apply_to_head(plain(model), hidden_ND[responses.before_M], logprob_op(responses.target_M, temperature))


def padded_logprobs(model: nn.Module, texts: Responses, temperature: float, prefix: int = 0) -> tuple[Tensor, Tensor]:
    """`response_logprobs` of padded texts: [B, T] on the CPU, 0 at padding. prefix: see packing.Packing."""
    device = plain(model).device
    logprob_M, entropy_M = response_logprobs(model, texts.packed(prefix).to(device), temperature)
    return texts.padded(logprob_M.cpu()), texts.padded(entropy_M.cpu())


def logprob_op(target_M: Tensor, temperature: float) -> HeadOp[tuple[Tensor, Tensor]]:
    """Log-probs and entropies [M] of the targets, as an op on a head."""

    def logprobs(hidden_MD: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor]:
        return linear_logprob(hidden_MD, weight_VD, target_M, temperature, bias_V)

    return logprobs


def logprob_kl_op(
    target_M: Tensor, temperature: float, reference_MD: Tensor
) -> HeadOp[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Log-probs, reference log-probs, entropies and exact KL [M], where the reference has the same head (LoRA).

    reference_MD: its hidden states.
    """

    def logprobs(hidden_MD: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        heads = hidden_MD, weight_VD, reference_MD, weight_VD
        return linear_logprob_kl(*heads, target_M, temperature, bias_V, bias_V)

    return logprobs


def response_kl(model: nn.Module, reference: nn.Module, responses: PackedResponses, temperature: float) -> Tensor:
    """KL in nats of the model's next-token distribution from the reference's, at every response token [M] fp32.

    Exact: over the whole vocabulary. Both are causal LMs with the same one; raises ValueError as response_logprobs.
    """
    hidden_MD, reference_MD = (trunk_hidden(one, responses.packing)[responses.before_M] for one in (model, reference))

    def own(own_MD: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        def other(other_MD: Tensor, other_VD: Tensor, other_bias_V: Tensor | None) -> Tensor:
            heads = own_MD, weight_VD, other_MD, other_VD
            return linear_logprob_kl(*heads, responses.target_M, temperature, bias_V, other_bias_V)[3]

        return apply_to_head(plain(reference), reference_MD, other)

    return apply_to_head(plain(model), hidden_MD, own)


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
