"""The backends as a fixture, and inputs of a vocabulary head."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from sandwiching.kernels.backends import BACKENDS, ENVIRONMENT, has_triton, use_backend

HeadCase = Callable[..., tuple[Tensor, Tensor, Tensor]]
needs_triton = pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
PLACES = [
    pytest.param(("torch", "cpu"), id="torch"),
    pytest.param(("triton", "cpu"), id="triton", marks=needs_triton),
    pytest.param(("torch", "cuda"), id="torch-on-gpu", marks=pytest.mark.gpu),
    pytest.param(("triton", "cuda"), id="triton-on-gpu", marks=pytest.mark.gpu),
]
"""Backend and device; on CPU Triton is interpreted."""


@pytest.fixture(autouse=True)
def _auto_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    yield
    use_backend("auto")


@pytest.fixture(params=PLACES)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test on each backend and device; new tensors lie on that device."""
    name, device = request.param
    assert name in BACKENDS
    use_backend(name)
    torch.set_default_device(device)
    yield name
    torch.set_default_device(None)


@pytest.fixture
def head_case() -> HeadCase:
    """hidden [N, D], weight [V, D] and target [N], whose logits have about this deviation and mean."""

    def case(
        N: int, D: int, V: int, dtype: torch.dtype = torch.float32, std: float = 6.0, mean: float = -8.0, seed: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        torch.manual_seed(seed)
        hidden_ND = torch.randn(N, D)
        weight_VD = torch.randn(V, D) * std / (D - 1) ** 0.5
        # The last feature is constant, and shifts all logits.
        hidden_ND[:, -1], weight_VD[:, -1] = 1.0, mean
        target_N = torch.randint(V, (N,))
        target_N[: min(N, 3)] = torch.tensor([-100, 0, V - 1])[: min(N, 3)]
        return hidden_ND.to(dtype), weight_VD.to(dtype), target_N

    return case
