import math
import subprocess
import sys

import torch
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.policy.generation import GumbelNoise, row_seed

CPU = torch.device("cpu")
NOTHING = torch.empty(0)


def test_row_seeds_are_stable_over_processes_and_differ():
    code = "from sandwiching.policy.generation import row_seed; print(row_seed(3, 1, 'capital/é', 2))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(output.split()[-1]) == row_seed(3, 1, "capital/é", 2)
    seeds = [row_seed(*key) for key in [(3, 1, "a", 2), (4, 1, "a", 2), (3, 2, "a", 2), (3, 1, "b", 2), (3, 1, "a", 3)]]
    assert len(set(seeds)) == 5
    assert row_seed(1, 11, "1", 1) != row_seed(11, 1, "1", 1)


def test_a_row_draws_the_same_whatever_is_beside_it():
    logits = torch.randn(5, 4, 97, generator=torch.Generator().manual_seed(0))
    together = GumbelNoise([7, 8, 9, 10], 1.0, CPU)
    alone = GumbelNoise([9], 1.0, CPU)
    for step_BV in logits:
        assert torch.equal(together(NOTHING, step_BV)[2], alone(NOTHING, step_BV[2:3])[0])


def test_samples_follow_the_softmax_at_the_temperature():
    logits_V = torch.tensor([1.0, 0.0, -1.0, 2.0])
    noise = GumbelNoise([0], 1.5, CPU)
    n = 20_000
    tokens = torch.stack([noise(NOTHING, logits_V[None]).argmax(-1) for _ in range(n)]).flatten()
    expected_V = (logits_V / 1.5).softmax(-1)
    observed_V = tokens.bincount(minlength=4) / n
    deviation_V = (expected_V * (1 - expected_V) / n).sqrt()
    assert ((observed_V - expected_V).abs() < 4.5 * deviation_V).all()


def test_the_noise_is_standard_gumbel_into_its_tail():
    """Kolmogorov-Smirnov against exp(-exp(-x)); the maximum of n has mean log(n) + Euler's constant."""
    noise = GumbelNoise(range(64), 1.0, CPU)._gumbel(torch.zeros(64, 50_000))
    x_N = noise.flatten().double().sort().values
    distribution_N = torch.exp(-torch.exp(-x_N))
    steps_N = torch.arange(1, len(x_N) + 1, dtype=torch.float64) / len(x_N)
    assert (distribution_N - steps_N).abs().max() * math.sqrt(len(x_N)) < 1.95
    largest_B = noise.max(1).values.double()
    expected = math.log(50_000) + 0.5772
    assert abs(largest_B.mean() - expected) < 4 * (math.pi / math.sqrt(6)) / math.sqrt(64)
    assert len(largest_B.unique()) > 60, "the tail is not a few coarse values"


@given(st.floats(0.1, 3), st.floats(-1000, 1000), st.floats(0.1, 50))
def test_logprobs_are_those_of_the_chosen_tokens(temperature: float, shift: float, scale: float):
    logits_BV = torch.randn(3, 50, generator=torch.Generator().manual_seed(1)) * scale + shift
    noise = GumbelNoise([1, 2, 3], temperature, CPU)
    token_B = noise(NOTHING, logits_BV).argmax(-1)
    expected_BV = (logits_BV.double() / temperature).log_softmax(-1)
    expected_B1 = expected_BV.gather(-1, token_B[:, None])
    tolerance = 1e-6 * (abs(shift) + 4 * scale) / temperature + 1e-5
    torch.testing.assert_close(noise.logprobs().double(), expected_B1, atol=tolerance, rtol=0)


def test_tokens_that_a_model_forbids_are_never_drawn():
    logits_V = torch.tensor([-math.inf, 0.0, -math.inf, -math.inf])
    noise = GumbelNoise([0], 1.0, CPU)
    assert all(noise(NOTHING, logits_V[None]).argmax(-1).item() == 1 for _ in range(50))
    assert torch.equal(noise.logprobs(), torch.zeros(1, 50))
