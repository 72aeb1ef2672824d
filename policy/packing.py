"""Texts in one row without padding, what they all begin with once: what trunks are given (trunk.py).

Shape suffixes: B texts, S columns of padded texts, L tokens that all texts begin with, R rest of a text behind those
(padded to the longest), N = L + all rests, M texts' tokens that a caller asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packing:
    """First the L shared tokens, then the rest of each text, one behind another.

    tokens_N, position_N int64, positions counted in each text; rest_B int64 lengths of the rests, at least 1;
    place_BR int64 where each token of a rest stands in N, 0 for padding; real_BR bool, false for padding.
    """

    prefix: int
    tokens_N: Tensor
    position_N: Tensor
    rest_B: Tensor
    place_BR: Tensor
    real_BR: Tensor

    @classmethod
    def of(cls, tokens_BS: Tensor, attention_BS: Tensor, prefix: int = 0) -> Packing:
        """From texts padded on either side or both; prefix: L, from padding.shared_prefix (0: nothing is shared)."""
        position_BS = attention_BS.long().cumsum(1) - 1
        rest_BS = attention_BS.bool() & (position_BS >= prefix)
        rest_B = rest_BS.sum(1)
        column_R = torch.arange(int(rest_B.max()), device=rest_B.device)
        real_BR = column_R < rest_B[:, None]
        shared_L = torch.arange(prefix, device=rest_B.device)
        return cls(
            prefix=prefix,
            tokens_N=torch.cat([tokens_BS[0, attention_BS[0].bool()][:prefix], tokens_BS[rest_BS]]),
            position_N=torch.cat([shared_L, position_BS[rest_BS]]),
            rest_B=rest_B,
            place_BR=(_starts(prefix, rest_B)[:, None] + column_R).where(real_BR, 0),
            real_BR=real_BR,
        )

    @property
    def last_B(self) -> Tensor:
        """Where each text's last token stands in N."""
        return _starts(self.prefix, self.rest_B) + self.rest_B - 1

    def places(self, chosen_BS: Tensor, attention_BS: Tensor) -> Tensor:
        """Where the tokens of the texts that `chosen_BS` [B, S] picks stand in N: [M], text by text.

        The texts are those that `of` was given; no shared token may be chosen.
        """
        position_BS = attention_BS.long().cumsum(1) - 1 - self.prefix
        return (_starts(self.prefix, self.rest_B)[:, None] + position_BS)[chosen_BS]

    def to(self, device: torch.device | str) -> Packing:
        """The same with its tensors on `device`."""
        return replace(
            self,
            tokens_N=self.tokens_N.to(device),
            position_N=self.position_N.to(device),
            rest_B=self.rest_B.to(device),
            place_BR=self.place_BR.to(device),
            real_BR=self.real_BR.to(device),
        )


def _starts(prefix: int, rest_B: Tensor) -> Tensor:
    return prefix + rest_B.cumsum(0) - rest_B
