"""Several heads on one trunk, mixed by a gate: what they state is the mixture of what each states."""

import pytest
import torch

from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator, make_estimator
from specvit.models.heads import Head
from specvit.spectra import MemorySource
from specvit.training import Recipe
from training_stars import GRID, SPACE, stars


def head(kind, experts, levels=1):
    torch.manual_seed(0)
    found = Head(6, levels, SPACE, kind, bins=5, experts=experts)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return found


def test_logits_of_the_mixture_are_those_of_the_mixed_probabilities():
    one, features, level = head("ordinal", 3), torch.randn(4, 6), torch.randn(4, 1)
    raw = one.linear(features).view(4, 3, 2, 5) * one.sharpness(level).exp()[:, None, :, None]
    weight = one.gate(features).softmax(dim=1)
    expected = (weight[:, :, None, None] * raw.softmax(dim=-1)).sum(dim=1)
    torch.testing.assert_close(one(features, level).softmax(dim=-1), expected)


def test_values_of_the_mixture_are_the_weighted_values():
    one, features = head("point", 3), torch.randn(4, 6)
    raw, weight = one.linear(features).view(4, 3, 2, 1), one.gate(features).softmax(dim=1)
    torch.testing.assert_close(one(features, torch.zeros(4, 1)), (weight[:, :, None, None] * raw).sum(dim=1))


def test_a_gaussian_head_has_no_experts():
    with pytest.raises(ConfigError, match="experts: expected 1 or more"):
        head("gaussian", 2)


def test_a_network_with_experts_is_trained_saved_and_read(tmp_path):
    sources = [MemorySource(stars(200, seed), GRID, SPACE) for seed in (0, 1)]
    options = {"experts": 3, "width": 16, "depth": 1}
    made = make_estimator(
        "mlp", options=options, recipe=Recipe(steps=20, batch=32, validations=1), device="cpu"
    )
    made.fit(*sources)
    made.save(tmp_path / "m")
    again = NetworkEstimator.load(tmp_path / "m")
    assert again.network.config.experts == 3
    batch = stars(20, 3)
    assert torch.equal(
        again.predict(batch.flux, batch.sigma).mean, made.predict(batch.flux, batch.sigma).mean
    )
