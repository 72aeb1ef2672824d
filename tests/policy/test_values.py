import torch

from sandwiching.policy.values import ValueHead


def test_values_are_zero_at_first_and_trainable():
    head = ValueHead(8)
    hidden = torch.randn(2, 5, 8)
    values = head(hidden)
    assert torch.equal(values, torch.zeros(2, 5))
    values.sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.abs().sum() > 0


def test_values_are_fp32_from_bf16_states():
    head = ValueHead(8)
    assert head(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.float32
    assert head.to(torch.bfloat16)(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.float32
