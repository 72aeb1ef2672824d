import pytest
import torch

from sandwiching.training.devices import peak_flops


def test_the_peak_is_that_of_products():
    assert 1e9 < peak_flops(torch.device("cpu"), torch.float32) < 1e14


@pytest.mark.gpu
def test_a_gpu_reaches_more():
    assert 1e13 < peak_flops(torch.device("cuda"), torch.bfloat16) < 1e16
