"""Denoisers have latents too: those of the pass that answers, in order of wavelength."""

import numpy as np
import pytest
import torch

from learned_world import PIXELS, source, spectra
from specvit.denoise.learned.config import split_options
from specvit.denoise.learned.layers import DenoiserLayers
from specvit.denoise.learned.learned_denoiser import LearnedDenoiser
from specvit.errors import ConfigError
from specvit.jobs.latents import load_layered, write_latents
from specvit.models.states import Layered
from specvit.represent import Wanted, open_latents

OPTIONS = {
    **{"growth": (1, 2), "patch": 4, "channels": 8, "scales": 2, "reach": 3, "width": 8, "linear": 3},
    **{"components": 3, "patterns": 3, "depth": 1, "steps": 3, "batch": 32, "validations": 1},
}


def trained(objective):
    config, recipe = split_options({**OPTIONS, "objective": objective})
    return LearnedDenoiser(config, recipe, device="cpu").fit(source(200, 1), source(60, 2))


def test_the_layers_of_a_u_net_are_written_by_name(tmp_path):
    trained("clean").save(tmp_path / "d")
    model = load_layered(tmp_path / "d")
    assert isinstance(model, DenoiserLayers)
    assert isinstance(model, Layered)
    write_latents(model, source(40, 3), Wanted.parse(["all"], ["mean", "tokens"]), tmp_path / "a.h5")
    batch = spectra(40, 3)
    states = {state.name: state for state in model.states(batch.flux, batch.sigma)}
    assert list(states) == ["entry", "down1", "down2", "attention", "up2", "up1"]
    with open_latents(tmp_path / "a.h5") as file:
        np.testing.assert_allclose(file.latents("down1", "mean"), states["down1"].values.mean(1), atol=1e-4)
        assert file.latents("entry", "tokens").shape == (40, PIXELS // 4, 8)
        assert not [name for name in file.columns if name.startswith("estimate.")]
        assert "label.log_g" in file.columns
    # A line at the blue end moves the first places.
    moved = batch.flux.clone()
    moved[:, :4] += 0.2
    after = next(s for s in model.states(moved, batch.sigma) if s.name == "entry").values
    change = (after - states["entry"].values).abs().sum(dim=(0, 2))
    assert int(change.argmax()) == 0


def test_looking_changes_nothing():
    denoiser = trained("clean")
    batch = spectra(10, 4)
    before = denoiser.denoise(batch.flux, batch.sigma).mean
    list(DenoiserLayers(denoiser).states(batch.flux, batch.sigma))
    assert torch.equal(denoiser.denoise(batch.flux, batch.sigma).mean, before)


def test_what_answers_step_by_step_has_no_layers():
    with pytest.raises(ConfigError, match="one pass"):
        DenoiserLayers(trained("ddpm"))
