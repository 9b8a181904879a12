import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specvit.numerics import row_median
from specvit.spectra import median_snr


@given(rows=st.integers(1, 5), pixels=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_row_median_is_torch_median(rows, pixels, seed):
    values = torch.randn(rows, pixels, generator=torch.Generator().manual_seed(seed))
    before = values.clone()
    assert torch.equal(row_median(values), values.median(dim=-1).values)
    assert torch.equal(values, before)
    assert torch.equal(row_median(values, torch.empty_like(values)), values.median(dim=-1).values)
    assert torch.equal(row_median(values, values), before.median(dim=-1).values)


def test_row_median_passes_gradients():
    values = torch.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    row_median(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[0.0, 0.0, 1.0]]


def test_snr_is_the_median_ratio_and_dead_pixels_count_as_zero():
    flux = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    sigma = torch.tensor([[0.5, 0.5, 0.5, torch.inf, 0.5]])
    assert median_snr(flux, sigma).item() == pytest.approx(np.median([2, 4, 6, 0, 10]))
