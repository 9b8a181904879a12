"""Networks are trained once and kept; they answer where they agree with the fit, which answers elsewhere."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from made_setups import PLAN, SETUP, KnowingFitter, spectra
from specvit.amortised import AmortisedFitter, NetworkStore, Setup, TrainingPlan, draws, networks
from specvit.amortised.agreement import CHECKED, FEWEST, compared
from specvit.amortised.answers import answered, parameters, rest_frames
from specvit.amortised.models import modelled
from specvit.errors import ConfigError, DataError
from specvit.library import Emulator
from specvit.models import domain
from specvit.stellar import Refusal, StarFitSettings
from specvit.stellar.pixels import fit_pixels
from specvit.stellar.systematic import SYSTEMATIC


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the network of the setup."""
    folder = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "VALIDATION", 256)
        patch.setattr(networks, "SHOWN", 512)
        patch.setattr(draws, "RESERVE", 1024)
        patch.setattr(domain, "HELD_OUT", 1000)
        told = []
        fitter = AmortisedFitter(KnowingFitter(), store(folder), told.append)
        fitter.check(spectra(1))
    assert "trained" in told[0]
    assert "minutes on two cores" in told[0]
    return folder


def store(folder, plan=PLAN, settings=None):
    return NetworkStore(Emulator.builtin(), settings or StarFitSettings(), plan, folder)


@pytest.fixture
def never_trained(monkeypatch):
    monkeypatch.setattr(NetworkStore, "_train", lambda *_: pytest.fail("trained again"))


def test_a_network_is_kept_and_answers_where_it_agrees_with_the_fit(folder, never_trained):
    told, fit = [], KnowingFitter()
    fitter = AmortisedFitter(fit, store(folder), told.append)
    stars = spectra(60)
    outcomes = fitter.fit(stars)
    answered = [star for star, _ in outcomes]
    assert [star.source for star in answered] == [one.source for one in stars]
    by_network = [star for star in answered if star.method == "subspace-nano"]
    assert len(by_network) > 40
    assert all("OUT_OF_DOMAIN" not in star.flags for star in by_network)
    # The checked ones, and those that the network may not answer.
    assert fit.asked == CHECKED + 60 - len(by_network)
    (line,) = told
    assert f"on {CHECKED} spectra" in line
    assert "the network answers" in line
    off = np.array([star.labels["teff"] - star.facts["true 0"] for star in by_network])
    stated = np.array([star.errors["teff"] for star in by_network])
    assert 0.4 < np.mean(np.abs(off) < stated) < 0.9
    # Of stars spread evenly over the box it is 650 K.
    assert np.std(off) < 450
    shifts = np.array([star.velocity - star.facts["true rv"] for star in by_network])
    assert np.median(np.abs(shifts)) < 8


def spoiled(stars):
    """Return stars of which most have dead pixels, each other ones, or flux that is none."""
    rng, found = np.random.default_rng(8), []
    for number, one in enumerate(stars):
        flux, sigma = one.flux.copy(), one.sigma.copy()
        if number % 3:
            start = rng.integers(20, sigma.size - 60)
            sigma[start : start + 20 * (number % 3)] = np.inf
            sigma[rng.integers(0, sigma.size, 5)] = np.inf
            flux[np.isinf(sigma)] = 0.0
        found.append(replace(one, flux=flux, sigma=sigma))
    return found


def as_pixels(stars):
    grid = Emulator.builtin().grid
    return [fit_pixels(one, StarFitSettings(), grid.start, grid.stop) for one in stars]


def test_what_the_domain_solves_for_is_what_the_network_sees(folder, never_trained, monkeypatch):
    network = store(folder).network(SETUP)
    pixels = as_pixels(spoiled(spectra(90)))
    shared = answered(network, pixels).prediction
    assert network.estimator._shares
    monkeypatch.setattr(network.estimator, "_shares", False)
    plain = answered(network, pixels).prediction
    assert ((shared.mean - plain.mean).abs() / plain.std).max() < 1e-3
    torch.testing.assert_close(shared.std, plain.std, rtol=1e-3, atol=0)
    assert torch.equal(shared.diagnostics.strangeness, plain.diagnostics.strangeness)
    assert torch.equal(shared.in_domain, plain.in_domain)
    # A sigma that the domain had to raise is not what the network sees.
    flux, sigma = rest_frames(network, pixels)
    sharp = network.estimator.predict(flux, 1e-3 * sigma)
    monkeypatch.setattr(network.estimator, "_shares", True)
    torch.testing.assert_close(network.estimator.predict(flux, 1e-3 * sigma).mean, sharp.mean)


def test_answers_do_not_depend_on_their_neighbours(folder, never_trained):
    """Stars of other pixels between them, and in another order: what is done together comes out as it does alone."""
    network = store(folder).network(SETUP)
    stars = spoiled(spectra(24))
    moved = [replace(one, wavelength=one.wavelength + 0.4 * (k % 2)) for k, one in enumerate(stars)]
    pixels = as_pixels(moved)
    together = answered(network, pixels)
    for row in (0, 1, 4, 5, 23):
        alone = answered(network, pixels[row : row + 1])
        assert together.velocity[row] == pytest.approx(alone.velocity[0], abs=0.05)
        assert together.snr[row] == alone.snr[0]
        off = (together.prediction.mean[row] - alone.prediction.mean[0]).abs() / alone.prediction.std[0]
        assert off.max() < 0.01


def test_templates_are_under_the_continuum_that_fits_best(folder, never_trained):
    network = store(folder).network(SETUP)
    pixels = as_pixels(spoiled(spectra(12)))
    said = answered(network, pixels)
    stars = [parameters(network, said, row, one, 1000.0, False, SYSTEMATIC) for row, one in enumerate(pixels)]
    for one, shown in zip(pixels, modelled(stars, pixels, network.templates, StarFitSettings()), strict=True):
        used = one.usable
        ends = one.wavelength[used][[0, -1]]
        place = (2 * (one.wavelength - ends[0]) / (ends[1] - ends[0]) - 1).clip(-1, 1)
        design = np.polynomial.chebyshev.chebvander(place, StarFitSettings().order_for(one.span))
        template, error = shown.model / shown.continuum, np.hypot(one.sigma, 0.02 * one.level)[used]
        scaled = design[used] * (template[used] / error)[:, None]
        best = design @ np.linalg.lstsq(scaled, one.flux[used] / error, rcond=None)[0]
        np.testing.assert_allclose(shown.continuum, best, rtol=1e-6)


def test_a_fit_that_says_otherwise_is_believed(folder, never_trained):
    told, fit = [], KnowingFitter(off=8.0)
    outcomes = AmortisedFitter(fit, store(folder), told.append).fit(spectra(40))
    assert {star.method for star, _ in outcomes} == {"template"}
    assert "they disagree, the fit answers" in told[0]


def test_a_network_that_knows_far_less_than_the_fit_does_not_answer(folder, never_trained):
    told = []
    outcomes = AmortisedFitter(KnowingFitter(surer=10.0), store(folder), told.append).fit(spectra(40))
    assert {star.method for star, _ in outcomes} == {"template"}
    assert "times the fit's, the fit answers" in told[0]


def test_spectra_out_of_domain_are_fitted_and_flagged(folder, never_trained):
    odd = spectra(5, emission=3.0, first=7)
    outcomes = AmortisedFitter(KnowingFitter(), store(folder)).fit([*spectra(30), *odd])
    for star, _ in outcomes[-5:]:
        assert star.method == "template"
        assert "OUT_OF_DOMAIN" in star.flags
        assert "unlike simulated spectra" in star.assumptions[-1]
    assert sum("OUT_OF_DOMAIN" in star.flags for star, _ in outcomes[:30]) < 6


def test_too_few_to_check_are_fitted(folder, never_trained):
    fitter = AmortisedFitter(KnowingFitter(), store(folder))
    outcomes = fitter.fit(spectra(FEWEST - 2))
    assert {star.method for star, _ in outcomes} == {"template"}
    (agreement,) = fitter.agreements.values()
    assert "too few" in agreement.describe()
    # The next ones are asked again.
    assert "subspace-nano" in {star.method for star, _ in fitter.fit(spectra(30))}


def test_what_was_checked_before_holds(folder, never_trained):
    first = AmortisedFitter(KnowingFitter(), store(folder))
    agreements = first.check(spectra(20))
    fit = KnowingFitter(off=8.0)
    later = AmortisedFitter(fit, store(folder), agreements=agreements)
    outcomes = later.fit(spectra(10, first=3))
    by_network = [star for star, _ in outcomes if star.method == "subspace-nano"]
    assert len(by_network) >= 7
    assert fit.asked == 10 - len(by_network)
    elsewhere = AmortisedFitter(KnowingFitter(), store(folder), agreements={})
    assert {star.method for star, _ in elsewhere.fit(spectra(2))} == {"template"}


def test_what_cannot_be_fitted_is_refused_in_its_place(folder, never_trained):
    good = spectra(2)
    far = replace(good[0], wavelength=good[0].wavelength + 3000.0)
    outcomes = AmortisedFitter(KnowingFitter(), store(folder)).fit([good[0], far, good[1]])
    assert [isinstance(one, Refusal) for one in outcomes] == [False, True, False]


def test_networks_are_kept_by_all_they_depend_on(folder):
    kept = store(folder)
    assert kept.has(SETUP)
    assert not kept.has(replace(SETUP, stop=8800.0))
    assert not store(folder, replace(PLAN, updates=251)).has(SETUP)
    assert not store(folder, replace(PLAN, nuisances=PLAN.nuisances.without("masks"))).has(SETUP)
    assert not store(folder, settings=StarFitSettings(model_error=0.01)).has(SETUP)
    assert store(folder, settings=StarFitSettings(starts=3)).has(SETUP)
    # Named by what the spectra are, within rounding.
    grid = Emulator.builtin().grid
    (one,) = spectra(1)
    pixels = fit_pixels(one, StarFitSettings(), grid.start, grid.stop)
    assert Setup.of(pixels, StarFitSettings()) == SETUP
    blunt = replace(one, fwhm=1.3 * one.fwhm)
    assert not SETUP.has(fit_pixels(blunt, StarFitSettings(), grid.start, grid.stop), StarFitSettings())


def test_a_damaged_network_is_refused_with_the_way_out(folder, tmp_path):
    kept = tmp_path / "networks"
    shutil.copytree(folder, kept)
    (inside,) = kept.iterdir()
    weights = next(inside.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(DataError, match="delete the folder"):
        store(kept).network(SETUP)


def test_priors_are_refused(folder):
    settings = StarFitSettings(priors={"teff": (5000.0, 50.0)})
    with pytest.raises(ConfigError, match="--method template"):
        AmortisedFitter(KnowingFitter(settings=settings), store(folder, settings=settings))


def test_a_plan_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="updates"):
        TrainingPlan(updates=0)
    with pytest.raises(ConfigError, match="choose"):
        TrainingPlan(model="subspac")


@pytest.mark.parametrize(
    ("off", "holds"), [(0.0, True), (0.8, True), (1.2, False), (-1.2, False), (4.0, False)]
)
def test_what_agreeing_means(off, holds):
    fitter = KnowingFitter()
    stars = [fitter.fit([one])[0][0] for one in spectra(12)]
    # Both have the same errors, so √2 of one.
    moved = [
        replace(star, labels={n: v + off * 2**0.5 * star.errors[n] for n, v in star.labels.items()})
        for star in stars
    ]
    found = compared(moved, stars)
    assert found.checked == 12
    assert found.holds == holds
    assert found.to_dict()["holds"] == holds
    assert not compared(moved[: FEWEST - 1], stars[: FEWEST - 1]).holds


def test_a_vision_transformer_serves_too(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "VALIDATION", 64)
    monkeypatch.setattr(networks, "SHOWN", 256)
    monkeypatch.setattr(draws, "RESERVE", 256)
    monkeypatch.setattr(domain, "HELD_OUT", 300)
    plan = TrainingPlan("vit", updates=3, options={"batch": 16, "validations": 1})
    network = store(tmp_path, plan).network(SETUP)
    flux, sigma = torch.ones(2, network.frame.grid.size), torch.full((2, network.frame.grid.size), 0.02)
    assert network.estimator.predict(flux, sigma).mean.shape == (2, 5)
