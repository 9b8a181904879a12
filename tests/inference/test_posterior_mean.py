"""The posterior mean as an estimator: the sampler's answer, calibrated, better than the best template."""

import pytest
import torch
from scipy import stats

from specvit.errors import ConfigError, DomainError, LabelError, RunError
from specvit.inference import PosteriorMean, TemplateFit
from specvit.limits.bayes import LEVELS, BayesCeiling, Observation, SamplerSettings
from specvit.models.protocol import Estimator
from specvit.simulate import Simulator, UniformPrior
from specvit.spectra import LOW_T_BOX
from truncated_normal import Anywhere, TruncatedNormal

QUICK = {"bank_size": 1 << 13, "settings": SamplerSettings(round_size=256, minimum_ess=150)}


@pytest.fixture(scope="module")
def source(simulator):
    return simulator.source("train", 1, 4)


@pytest.fixture(scope="module")
def stars(simulator):
    return simulator.draw("test", 21, 0, 64)


@pytest.fixture(scope="module")
def estimator(simulator, source):
    return PosteriorMean(simulator.observed, **QUICK).fit(source, source)


@pytest.fixture(scope="module")
def prediction(estimator, stars):
    return estimator.predict(stars.flux, stars.sigma)


def test_it_is_the_posterior_of_the_ceiling_up_to_what_an_observer_cannot_know(simulator, stars, prediction):
    """The ceiling knows each star's own photon noise; the pipeline's sigma is nearly that."""
    some = stars[:24]
    exact = BayesCeiling(simulator.observed, simulator.prior, **QUICK).posterior(
        Observation.from_batch(some, simulator.instrument)
    )
    shift = (prediction.mean[:24] - exact.mean) / exact.covariance.diagonal(dim1=1, dim2=2).sqrt()
    assert (~prediction.diagnostics.converged).sum() <= 3  # one star in two hundred
    assert shift.square().mean().sqrt() < 0.3
    assert shift.abs().max() > 0  # they are not the same likelihood


def test_its_intervals_hold_the_truth_as_often_as_they_say(stars, prediction):
    """68 % and 95 % intervals of 5 labels of 64 stars; false-alarm rate about 1e-4 per interval."""
    quantiles, labels = prediction.quantiles.values, stars.labels.double()
    assert prediction.quantiles.probabilities == LEVELS
    for low, high in ((1, 3), (0, 4)):
        inside = (quantiles[..., low] <= labels) & (labels <= quantiles[..., high])
        expected = LEVELS[high] - LEVELS[low]
        # Labels of one star are correlated: each label is tested alone.
        limits = stats.binom(len(stars), expected).ppf([5e-5, 1 - 5e-5])
        count = inside.sum(0).numpy()
        assert (count >= limits[0]).all()
        assert (count <= limits[1]).all()


def test_it_beats_the_best_template_where_the_spectrum_says_little(simulator, source, stars, prediction):
    template = TemplateFit(simulator.observed, starts=2).fit(source, source)
    found = template.predict(stars.flux, stars.sigma)
    for name in ("alpha_m", "c_m"):
        k = LOW_T_BOX.index(name)
        square = [(p.mean[:, k] - stars.labels[:, k]).square().mean() for p in (prediction, found)]
        assert square[0] < 0.8 * square[1], name


def test_unit_of_the_flux_and_dead_pixels_do_not_matter(estimator, stars, prediction):
    flux, sigma = stars.flux[:4].clone(), stars.sigma[:4].clone()
    sigma[:, 10:14] = torch.inf
    masked = estimator.predict(flux, sigma)
    flux[:, 10:12], flux[:, 12:14] = torch.nan, 1e30
    torch.testing.assert_close(estimator.predict(flux, sigma).mean, masked.mean, rtol=0, atol=0)
    scaled = estimator.predict(3e-17 * flux, 3e-17 * sigma)
    assert ((scaled.mean - masked.mean) / masked.std).square().mean().sqrt() < 0.2
    # Four dead pixels of 4096 change little.
    assert ((masked.mean - prediction.mean[:4]) / prediction.std[:4]).square().mean().sqrt() < 0.4


def test_saved_estimator_works_alone_and_predicts_the_same(simulator, source, stars, tmp_path):
    fitted = PosteriorMean(simulator.observed, seed=5, **QUICK).fit(source, source)
    assert isinstance(fitted, Estimator)
    fitted.save(tmp_path / "posterior")
    again = PosteriorMean.load(tmp_path / "posterior")
    ours, theirs = (model.predict(stars.flux[:2], stars.sigma[:2]) for model in (fitted, again))
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.quantiles.values, theirs.quantiles.values)


def test_a_saved_estimator_keeps_its_prior(simulator, source, tmp_path):
    PosteriorMean(simulator.observed, "lattice").fit(source, source).save(tmp_path / "posterior")
    assert PosteriorMean.load(tmp_path / "posterior").prior == "lattice"


@pytest.fixture(scope="module")
def giants():
    """Metal-poor giants, nothing else: a prior of one's own that says much about every label."""
    return TruncatedNormal(
        LOW_T_BOX.replace(log_g=(1.0, 4.0)), (4600.0, 2.0, -1.5, 0.3, -0.2), (200.0, 0.4, 0.3, 0.05, 0.1)
    )


def test_a_prior_of_ones_own_serves_in_simulator_and_estimator(simulator, giants):
    world = Simulator(simulator.observed, simulator.instrument, giants)
    source, stars = world.source("train", 1, 4), world.draw("test", 3, 0, 12)
    told, flat = (
        PosteriorMean(simulator.observed, prior, **QUICK).fit(source, source).predict(stars.flux, stars.sigma)
        for prior in (giants, "uniform")
    )
    assert told.diagnostics.converged.all()
    prior_std = torch.tensor(giants.std).double()
    # No spectrum can leave more than the prior did, up to the sampler's error.
    assert (told.std < 1.2 * prior_std).all()
    assert ((told.mean - stars.labels).abs() < 5 * prior_std).all()
    better = (told.mean - stars.labels).square().mean(0) / (flat.mean - stars.labels).square().mean(0)
    assert better[LOW_T_BOX.index("alpha_m")] < 0.5


def test_an_estimator_with_a_prior_of_ones_own_takes_its_box_and_is_not_saved(
    simulator, source, giants, tmp_path
):
    fitted = PosteriorMean(simulator.observed, giants).fit(source, source)
    assert fitted.origin.label_space == giants.label_space
    with pytest.raises(RunError, match="only a prior with a name can be saved, got a TruncatedNormal"):
        fitted.save(tmp_path / "posterior")
    assert not (tmp_path / "posterior").exists()


@pytest.mark.parametrize(
    ("space", "error"),
    [(LOW_T_BOX.select(["log_g", "teff"]), LabelError), (LOW_T_BOX.replace(teff=(3000, 5000)), DomainError)],
)
def test_a_prior_outside_the_emulator_is_refused(simulator, source, space, error):
    with pytest.raises(error, match="posterior: "):
        PosteriorMean(simulator.observed, UniformPrior(space)).fit(source, source)


def test_a_prior_that_gives_no_posterior_is_refused(simulator, source):
    with pytest.raises(ConfigError, match="Anywhere has neither"):
        PosteriorMean(simulator.observed, Anywhere(LOW_T_BOX)).fit(source, source)


def test_requests_that_cannot_be_meant_are_refused(simulator, source, stars):
    with pytest.raises(ConfigError, match="prior: 'flat'"):
        PosteriorMean(simulator.observed, "flat").fit(source, source)
    with pytest.raises(RunError, match="call fit or load first"):
        PosteriorMean(simulator.observed).predict(stars.flux, stars.sigma)
