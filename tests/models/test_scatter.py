"""Stated errors of estimators without a noise model."""

import numpy as np
import pytest
import torch

from specvit.models import ResidualScatter


def test_constant_noise_level_gives_the_rms_residual():
    residual = torch.tensor([[3.0], [-4.0], [0.0], [5.0]])
    scatter = ResidualScatter.fit(torch.full((4,), 7.0), residual)
    expected = float(residual.square().mean().sqrt())
    assert scatter.std(torch.ones(2, 5), torch.ones(2, 5)).flatten().tolist() == pytest.approx([expected] * 2)


def test_errors_follow_the_noise_level_and_stay_constant_outside():
    generator = torch.Generator().manual_seed(0)
    snr = torch.rand(8000, generator=generator, dtype=torch.float64) * 15 + 3
    residual = torch.randn(8000, 1, generator=generator, dtype=torch.float64) * (4.0 / snr)[:, None]
    scatter = ResidualScatter.fit(snr, residual)
    asked = torch.tensor([0.1, 4.0, 6.0, 10.0, 15.0, 900.0])
    std = scatter.std(torch.ones(6, 3), (1 / asked)[:, None].expand(6, 3)).flatten().numpy()
    # 8 bins of 1000: each standard deviation is good to 2.2 %; 4 of those plus curvature inside a bin.
    np.testing.assert_allclose(std[1:5], 4.0 / asked[1:5].numpy(), rtol=0.12)
    assert std[0] == pytest.approx(float(scatter.log_std[0].exp()))
    assert std[5] == pytest.approx(float(scatter.log_std[-1].exp()))


def test_a_perfect_fit_gives_tiny_positive_errors_not_nan():
    scatter = ResidualScatter.fit(torch.linspace(1, 9, 500), torch.zeros(500, 2))
    std = scatter.std(torch.ones(3, 4), torch.ones(3, 4))
    assert (std > 0).all()
    assert (std < 1e-100).all()
