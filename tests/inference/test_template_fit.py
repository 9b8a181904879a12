"""Template fits reach the Cramér-Rao bound, agree with scipy, stay in their box, work from a folder alone."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import least_squares

from specvit.errors import ConfigError, DataError, DomainError, LabelError, RunError, WavelengthRangeError
from specvit.inference import TemplateFit
from specvit.limits import continuum_columns, covariance_matrix, fisher_information
from specvit.models.protocol import Estimator
from specvit.simulate import Simulator
from specvit.spectra import LOW_T_BOX, MemorySource, WavelengthGrid

LOG_G = LOW_T_BOX.index("log_g")


@pytest.fixture(scope="module")
def source(simulator):
    return simulator.source("train", 1, 4)


@pytest.fixture(scope="module")
def fit(simulator, source):
    return TemplateFit(simulator.observed).fit(source, source)


@pytest.fixture(scope="module")
def stars(simulator):
    return simulator.draw("test", 42, 0, 48)


@pytest.fixture(scope="module")
def prediction(fit, stars):
    return fit.predict(stars.flux, stars.sigma)


def box_source(simulator, batch, **bounds):
    return MemorySource(batch, simulator.grid, simulator.prior.label_space.replace(**bounds))


# --- it finds the minimum ---------------------------------------------------------------------------------


def test_noise_free_labels_come_back_far_within_their_errors(simulator, fit):
    stars = simulator.draw("test", 7, 0, 64)
    found = fit.predict(stars.truth.flux, stars.sigma)
    assert found.diagnostics.converged.all()
    assert found.diagnostics.chi2.max() < 1e-3
    assert ((found.mean - stars.labels) / found.std).abs().max() < 0.02


def test_scipy_finds_no_lower_chi2(simulator, fit, stars, prediction):
    """Labels and amplitude of three noisy stars, from the fit, the truth and the middle of the box."""
    low, high = np.array(LOW_T_BOX.low), np.array(LOW_T_BOX.high)
    for k in range(3):
        flux, sigma = (values[k].double().numpy() for values in (stars.flux, stars.sigma))

        def residual(x, flux=flux, sigma=sigma):
            labels = torch.from_numpy(low + x[:-1] * (high - low))[None]
            template = fit._exact(labels, check=False)[0].numpy()
            return (flux - x[-1] * template) / sigma

        def jacobian(x, sigma=sigma):
            labels = torch.from_numpy(low + x[:-1] * (high - low))[None]
            slope = fit._exact.jacobian(labels, check=False)[0].numpy() * (high - low) * x[-1]
            return -np.column_stack([slope, fit._exact(labels, check=False)[0].numpy()]) / sigma[:, None]

        mine = (prediction.mean[k].numpy() - low) / (high - low)
        truth = (stars.labels[k].double().numpy() - low) / (high - low)
        amplitude = float(prediction.diagnostics.continuum[k, 0])
        chi2 = float(prediction.diagnostics.chi2[k])
        np.testing.assert_allclose(np.sum(residual(np.append(mine, amplitude)) ** 2), chi2, rtol=1e-9)
        theirs = [
            2
            * least_squares(
                residual,
                np.append(start.clip(1e-3, 1 - 1e-3), amplitude),
                jacobian,
                bounds=([0] * 5 + [-np.inf], [1] * 5 + [np.inf]),
                xtol=1e-10,
                ftol=1e-12,
            ).cost
            for start in (mine, truth, np.full(5, 0.5))
        ]
        assert chi2 <= min(theirs) + 1e-4
        assert min(theirs) <= chi2 + 1e-3


def test_more_starts_find_no_lower_chi2(simulator, source, stars, prediction):
    many = TemplateFit(simulator.observed, starts=12, seed=1).fit(source, source)
    found = many.predict(stars.flux[:24], stars.sigma[:24])
    assert prediction.diagnostics.converged.all()
    assert (prediction.diagnostics.chi2[:24] <= found.diagnostics.chi2 + 1e-3).all()


# --- it attains the Cramér-Rao bound ------------------------------------------------------------------------


def test_scatter_reaches_the_cramer_rao_bound_and_pulls_are_normal(simulator, source):
    """One star observed 256 times at S/N about 150; false-alarm rate of each of the 15 checks 1e-4."""
    labels = torch.tensor([[4800.0, 2.5, -0.5, 0.1, -0.1]])
    count = 256
    bright = Simulator(simulator.observed, simulator.instrument, simulator.prior, noise_level=0.05)
    noise = torch.randn(count, simulator.grid.size, generator=torch.Generator().manual_seed(0))
    batch = bright.observe(
        labels.expand(count, -1), simulator.instrument.fixed_conditions(count, mag=21.5), noise
    )
    fit = TemplateFit(simulator.observed, starts=1).fit(source, source)
    found = fit.predict(batch.flux, batch.sigma)
    assert not found.diagnostics.on_face.any()

    truth = batch.truth
    jacobian = simulator.observed.jacobian(labels).double() * truth.scale[0].double()
    amplitude = continuum_columns(truth.flux[:1], simulator.grid, order=0)
    fisher = fisher_information(jacobian, truth.sigma[:1].double().square().reciprocal(), amplitude)
    bound = covariance_matrix(fisher)[0].diagonal()
    limits = stats.chi2(count).ppf([5e-5, 1 - 5e-5]) / count
    error = found.mean - labels.double()
    for k, name in enumerate(found.names):
        # Weights are the pipeline's sigma, not the star's own: a per cent or two above the bound is right.
        assert limits[0] < error[:, k].square().mean() / bound[k] < 1.03 * limits[1], name
        assert stats.kstest((error[:, k] / found.std[:, k]).numpy(), "norm").pvalue > 1e-4, name
        assert stats.kstest((error[:, k] / bound[k].sqrt()).numpy(), "norm").pvalue > 1e-4, name


def test_one_sigma_covers_as_stated_on_bright_stars(simulator, source):
    """128 stars over the whole box with a fortieth of the noise; false-alarm rate 1e-4 per label."""
    bright = Simulator(simulator.observed, simulator.instrument, simulator.prior, noise_level=0.025)
    stars = bright.draw("test", 5, 0, 128)
    found = TemplateFit(simulator.observed, starts=2).fit(source, source).predict(stars.flux, stars.sigma)
    inside = ((found.mean - stars.labels).abs() < found.std).sum(0).numpy()
    low, high = stats.binom(len(stars), 0.6827).ppf([5e-5, 1 - 5e-5])
    assert (inside >= low).all()
    # Near the faces errors are conservative, and the box is small for [C/M] of metal-poor stars.
    assert (inside <= high + 6).all()


def test_chi2_is_that_of_the_degrees_of_freedom(stars, prediction):
    """The pipeline's sigma is that of a smooth continuum: chi² is right to a per cent."""
    freedom = prediction.diagnostics.degrees_of_freedom.double()
    assert (freedom == stars.flux.shape[1] - 6).all()
    assert abs(float((prediction.diagnostics.chi2 / freedom).mean()) - 1) < 0.02


# --- boxes --------------------------------------------------------------------------------------------------


def test_labels_stay_in_the_box_of_the_training_set_and_faces_are_flagged(simulator, stars):
    inner = box_source(simulator, stars, m_h=(-0.5, 0.25), log_g=(2.0, 4.0))
    found = TemplateFit(simulator.observed, starts=2).fit(inner, inner).predict(stars.flux, stars.sigma)
    space = inner.label_space
    low, high = torch.tensor(space.low).double(), torch.tensor(space.high).double()
    slack = 1e-9 * (high - low)
    assert ((found.mean >= low - slack) & (found.mean <= high + slack)).all()
    at_face = ((found.mean - low) < slack) | ((high - found.mean) < slack)
    assert torch.equal(at_face, found.diagnostics.on_face)
    outside = stars.labels[:, LOW_T_BOX.index("m_h")] < -1.5
    assert found.diagnostics.on_face[outside, LOW_T_BOX.index("m_h")].all()
    assert (found.std > 0).all()


def test_a_box_beyond_the_emulator_is_refused(simulator, stars):
    wide = box_source(simulator, stars, log_g=(0.0, 5.0))
    with pytest.raises(DomainError, match="log_g = 0"):
        TemplateFit(simulator.observed).fit(wide, wide)


# --- input --------------------------------------------------------------------------------------------------


def test_a_spectrum_does_not_know_its_batch(fit, stars, prediction):
    order = torch.randperm(len(stars), generator=torch.Generator().manual_seed(2))
    permuted = fit.predict(stars.flux[order], stars.sigma[order])
    alone = fit.predict(stars.flux[5:6], stars.sigma[5:6])
    shift = (permuted.mean - prediction.mean[order]) / prediction.std[order]
    assert shift.abs().max() < 1e-2
    assert ((alone.mean - prediction.mean[5:6]) / prediction.std[5:6]).abs().max() < 1e-2
    torch.testing.assert_close(
        permuted.diagnostics.chi2, prediction.diagnostics.chi2[order], rtol=0, atol=1e-4
    )


def test_values_of_dead_pixels_do_not_matter_but_their_absence_does(fit, stars, prediction):
    flux, sigma = stars.flux[:8].clone(), stars.sigma[:8].clone()
    sigma[:, 3000:3400] = torch.inf
    masked = fit.predict(flux, sigma)
    flux[:, 3000:3100], flux[:, 3100:3200], flux[:, 3200:3400] = torch.nan, 1e30, torch.inf
    again = fit.predict(flux, sigma)
    torch.testing.assert_close(again.mean, masked.mean, rtol=0, atol=0)
    assert (masked.mean != prediction.mean[:8]).any(dim=1).all()
    assert (masked.diagnostics.degrees_of_freedom == 4096 - 400 - 6).all()


def test_the_unit_of_the_flux_does_not_matter(fit, stars, prediction):
    found = fit.predict(3e-17 * stars.flux[:8], 3e-17 * stars.sigma[:8])
    assert ((found.mean - prediction.mean[:8]) / prediction.std[:8]).abs().max() < 1e-2
    torch.testing.assert_close(
        found.diagnostics.continuum, 3e-17 * prediction.diagnostics.continuum[:8], rtol=1e-4, atol=0
    )


def test_a_tilted_continuum_is_fitted_away(simulator, source, stars):
    u = torch.linspace(-1, 1, simulator.grid.size)
    tilted = stars.truth.flux[:8] * (1 + 0.3 * u - 0.1 * u**2)
    free = TemplateFit(simulator.observed, order=2).fit(source, source).predict(tilted, stars.sigma[:8])
    rigid = TemplateFit(simulator.observed).fit(source, source).predict(tilted, stars.sigma[:8])
    assert ((free.mean - stars.labels[:8]) / free.std).abs().max() < 0.05
    continuum = free.diagnostics.continuum
    np.testing.assert_allclose(continuum[:, 1] / continuum[:, 0], 0.3, rtol=1e-2)
    np.testing.assert_allclose(continuum[:, 2] / continuum[:, 0], -0.1, rtol=1e-2)
    assert (rigid.diagnostics.chi2 > 100 * free.diagnostics.chi2).all()
    # What the continuum takes up is no longer information on the labels.
    assert (free.std[:, 0] > rigid.std[:, 0]).all()


# --- contract -----------------------------------------------------------------------------------------------


def test_saved_fit_works_alone_and_predicts_the_same(simulator, source, stars, tmp_path):
    fit = TemplateFit(simulator.observed, order=1, starts=2, seed=3).fit(source, source)
    assert isinstance(fit, Estimator)
    fit.save(tmp_path / "template")
    again = TemplateFit.load(tmp_path / "template")
    ours, theirs = (model.predict(stars.flux[:6], stars.sigma[:6]) for model in (fit, again))
    assert ours.names == theirs.names == LOW_T_BOX.names
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.std, theirs.std)
    assert again.emulator.provenance == simulator.observed.emulator.provenance


def test_progress_counts_all_spectra(fit, stars):
    seen = []
    fit.predict(stars.flux[:3], stars.sigma[:3], lambda done, total, text: seen.append((done, total)))
    assert seen == [(3, 3)]


def test_requests_that_cannot_be_meant_are_refused(simulator, source, fit, stars):
    with pytest.raises(ConfigError, match="order must be 0 to 4, got 9"):
        TemplateFit(simulator.observed, order=9)
    with pytest.raises(ConfigError, match="at least one start"):
        TemplateFit(simulator.observed, starts=0)
    unfitted = TemplateFit(simulator.observed)
    with pytest.raises(RunError, match="call fit or load first"):
        unfitted.predict(stars.flux, stars.sigma)
    grid = WavelengthGrid.linear(7100.0, 0.5, simulator.grid.size)
    other = MemorySource(stars, grid, simulator.prior.label_space)
    with pytest.raises(WavelengthRangeError, match="template: the emulator"):
        unfitted.fit(other, other)
    names = dataclasses.replace(LOW_T_BOX, names=("teff", "log_g", "m_h", "c_m", "alpha_m"))
    swapped = MemorySource(stars, simulator.grid, names)
    with pytest.raises(LabelError, match="expected the emulator's labels teff, log_g, m_h, alpha_m, c_m"):
        unfitted.fit(swapped, swapped)
    # A tenth of the pixels of a small spectrograph is less than the unknowns.
    few = torch.full((3, 40), 0.1)
    few[1, 5:] = torch.inf
    with pytest.raises(DataError, match="spectrum 1 has 5 live pixels, the fit has 6 unknowns"):
        fit._degrees_of_freedom(few)


@pytest.mark.gpu
def test_the_gpu_finds_the_same_minima(simulator, source, fit, stars, prediction):
    """Same double-precision search from starts scored in another order: the minima agree, not the paths."""
    on_gpu = TemplateFit(copy.deepcopy(simulator.observed).cuda()).fit(source, source)
    found = on_gpu.predict(stars.flux, stars.sigma)
    assert found.mean.device.type == "cpu"
    assert found.diagnostics.converged.all()
    torch.testing.assert_close(found.diagnostics.chi2, prediction.diagnostics.chi2, rtol=0, atol=1e-3)
    shift = (found.mean - prediction.mean).abs() / prediction.std
    # A star with two minima of nearly equal depth may fall into the other one.
    assert ((shift < 0.01).all(dim=1)).double().mean() > 0.95
