"""Fits and posteriors of a library with holes: where they search, where they end, and what is said of it."""

import copy
import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from specvit.denoise.bayes import BayesDenoiser
from specvit.errors import ConfigError, DataError, DomainError
from specvit.inference import PosteriorMean, TemplateFit
from specvit.inference.descent import minimise
from specvit.inference.errors import label_std
from specvit.inference.region import Region
from specvit.library import CoveredCells, Emulator
from specvit.limits import Forecaster, uniform_box_bound
from specvit.limits.bayes import BayesCeiling, Observation, SamplerSettings
from specvit.simulate import LatticePrior, Simulator, UniformPrior
from specvit.simulate.confined_prior import ConfinedPrior, confined
from specvit.simulate.priors import CoveredPrior
from specvit.spectra import LOW_T_BOX, LabelSpace, MemorySource
from test_template_parts import quadratic

PLANE = LabelSpace(("a", "b"), ("dex", "dex"), (0.0, 0.0), (1.0, 1.0))


def cells(filled):
    filled = np.array(filled, dtype=bool)
    return CoveredCells(tuple(np.linspace(0, 1, n + 1) for n in filled.shape), filled)


#: The upper right quarter of the plane is a hole.
CORNER = Region(PLANE, cells([[1, 1], [1, 0]]))
#: An island beside it, which no path leads to.
ISLAND = Region(PLANE, cells([[1, 1, 0, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]))


def plane(*points):
    return torch.tensor(points, dtype=torch.float64)


# --- the region -------------------------------------------------------------------------------------------


def test_the_region_is_the_cells_with_their_faces():
    inside = plane([0.2, 0.2], [0.5, 0.9], [0.9, 0.5], [0.5, 0.5], [1.0, 0.0])
    outside = plane([0.51, 0.51], [1.0, 1.0], [0.500001, 0.9])
    assert CORNER.covers(inside).all()
    assert not CORNER.covers(outside).any()
    assert Region(PLANE, None).covers(outside).all()


def test_positions_in_float32_that_were_rounded_off_a_face_are_on_it():
    region = Region(
        PLANE,
        CoveredCells((np.array([0, 1 / 3, 1.0]), np.array([0, 0.7, 1.0])), np.array([[1, 1], [1, 0]]) > 0),
    )
    third, seven = (torch.tensor(x, dtype=torch.float32) for x in (1 / 3, 0.7))
    edge = torch.stack([torch.stack([third, torch.tensor(0.9)]), torch.stack([torch.tensor(0.9), seven])])
    beside = torch.stack([edge + 1e-7, edge - 1e-7]).flatten(0, 1)
    assert region.covers(beside).all()
    low, high = region.bounds(beside)
    assert low.dtype == torch.float32
    assert high[0, 0] == third
    assert high[1, 1] == seven
    step = region.confined(beside, beside + 0.2, torch.ones_like(beside))
    assert region.covers(step).all()


def test_how_far_each_label_may_go():
    low, high = CORNER.bounds(plane([0.2, 0.2], [0.2, 0.7], [0.5, 0.7], [0.7, 0.5], [0.5, 0.5]))
    assert (low == 0).all()
    assert high.tolist() == [[1, 1], [0.5, 1], [0.5, 1], [1, 0.5], [1, 1]]


def test_points_in_holes_are_moved_to_cells_and_the_others_are_left():
    points = torch.rand(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = ISLAND.moved_inside(points)
    inside = ISLAND.covers(points)
    assert ISLAND.covers(moved).all()
    torch.testing.assert_close(moved[inside], points[inside], rtol=0, atol=0)
    # All cells get some: none of them is known to hold no star.
    assert len(moved[~inside].unique(dim=0)) == 9


def test_steps_end_in_the_region():
    generator = torch.Generator().manual_seed(1)
    points = ISLAND.moved_inside(torch.rand(4000, 2, dtype=torch.float64, generator=generator))
    step = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    ends = ISLAND.confined(points, points + step, step)
    assert ISLAND.covers(ends).all()
    assert ((ends != points).any(1)).float().mean() > 0.9
    # Where the step itself stays inside it is taken whole.
    low, high = ISLAND.bounds(points)
    near = points + 0.01 * step
    whole = ISLAND.covers(near) & ((near >= low) & (near <= high)).all(1)
    torch.testing.assert_close(ISLAND.confined(points, near, step)[whole], near[whole], rtol=0, atol=0)


@pytest.mark.parametrize("region", [CORNER, ISLAND], ids=["corner", "island"])
def test_descents_end_at_the_lowest_point_their_region_has(region):
    """Against bounded least squares in every cell: with a start in each, the best of all is found whatever lies between."""
    rng = np.random.default_rng(2)
    every = region.moved_inside(torch.full((64, 2), 0.999, dtype=torch.float64)).unique(dim=0)
    edges = region._edges
    for _ in range(25):
        root = rng.normal(size=(2, 2))
        curvature = torch.from_numpy(4 * root @ root.T + 0.1 * np.eye(2))
        centre = torch.from_numpy(rng.uniform(-0.2, 1.2, 2))
        found = minimise(quadratic(centre, curvature), lambda position: position, every[None], region)
        assert region.covers(found.position[0]).all()
        factor = np.linalg.cholesky(curvature.numpy()).T
        best = min(
            2 * lsq_linear(factor, factor @ centre.numpy(), np.transpose(bounds)).cost
            for bounds in (
                [(float(edges[k][at]), float(edges[k][at + 1])) for k, at in enumerate(cell)]
                for cell in itertools.product(range(len(edges[0]) - 1), range(len(edges[1]) - 1))
                if region._filled[cell]
            )
        )
        assert float(found.chi2.min()) - 1 == pytest.approx(best, abs=3e-4)


def test_one_start_slides_around_the_corner_of_a_hole():
    products = quadratic(plane([0.62, 0.6])[0], 400 * torch.eye(2, dtype=torch.float64))
    found = minimise(products, lambda position: position, plane([0.1, 0.1])[None], CORNER)
    assert found.converged.all()
    torch.testing.assert_close(found.position[0], plane([0.62, 0.5]), rtol=0, atol=1e-3)


def test_errors_at_a_hole_are_those_at_a_face():
    fisher = torch.eye(2, dtype=torch.float64)[None] / 0.02**2
    at_hole, at_face = plane([0.5, 0.7]), plane([1.0, 0.3])
    whole = Region(PLANE, None)
    torch.testing.assert_close(
        label_std(at_hole, fisher, CORNER.bounds(at_hole)), label_std(at_face, fisher, whole.bounds(at_face))
    )


# --- estimators ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def holed(simulator):
    """The small survey's emulator without its dwarfs below 4600 K."""
    edges = [np.array([low, high]) for low, high in zip(LOW_T_BOX.low, LOW_T_BOX.high, strict=True)]
    edges[0], edges[1] = np.array([3750.0, 4600.0, 6000.0]), np.array([1.0, 3.0, 5.0])
    filled = np.array([[True, False], [True, True]]).reshape(2, 2, 1, 1, 1)
    observed = simulator.instrument.observe(simulator.world.emulator())
    observed.emulator.coverage = CoveredCells(tuple(edges), filled)
    return observed


@pytest.fixture(scope="module")
def survey(simulator, holed):
    return Simulator(holed, simulator.instrument, UniformPrior(LOW_T_BOX))


@pytest.fixture(scope="module")
def dwarfs(simulator):
    """Cool dwarfs of a survey of the whole library: they lie in the hole."""
    labels = torch.tensor([[4200.0, 4.0, -0.5, 0.1, 0.0], [4000.0, 4.5, -1.0, 0.2, 0.1]])
    conditions = simulator.instrument.fixed_conditions(2, mag=19.0)
    noise = torch.randn(2, simulator.grid.size, generator=torch.Generator().manual_seed(0))
    return simulator.observe(labels, conditions, noise)


def test_a_simulator_draws_nothing_from_holes(survey, holed):
    assert isinstance(survey.prior, CoveredPrior)
    assert holed.emulator.coverage.covers(survey.draw("train", 1, 0, 600).labels).all()
    assert "no stars are drawn from" in survey.cut
    with pytest.raises(ConfigError, match="a LatticePrior has no density"):
        Simulator(holed, survey.instrument, LatticePrior.reference(LOW_T_BOX))


def test_template_fits_stay_out_of_holes_and_say_that_they_stand_at_one(survey, holed, dwarfs, tmp_path):
    source = survey.source("train", 1, 4)
    fit = TemplateFit(holed).fit(source, source)
    found = fit.predict(dwarfs.flux, dwarfs.sigma)
    assert holed.emulator.coverage.covers(found.mean).all()
    faces = found.diagnostics.on_face
    at = (found.mean[:, :2] - torch.tensor([4600.0, 3.0])).abs() < torch.tensor([1e-6, 1e-6])
    assert at.any(1).all()
    assert (faces[:, :2] == at).all()
    # Stars elsewhere are fitted as by a library without holes.
    stars = survey.draw("test", 2, 0, 16)
    whole = TemplateFit(survey.instrument.observe(Emulator.builtin())).fit(source, source)
    inside = fit.predict(stars.flux, stars.sigma)
    other = whole.predict(stars.flux, stars.sigma)
    same = holed.emulator.coverage.covers(other.mean)
    assert same.sum() >= 12
    torch.testing.assert_close(inside.mean[same], other.mean[same], rtol=1e-3, atol=2e-2)
    # A saved one keeps the holes.
    fit.save(tmp_path / "fit")
    again = TemplateFit.load(tmp_path / "fit")
    np.testing.assert_array_equal(again.emulator.coverage.filled, holed.emulator.coverage.filled)
    torch.testing.assert_close(again.predict(dwarfs.flux, dwarfs.sigma).mean, found.mean)


def test_a_box_inside_a_hole_is_refused(survey, holed):
    batch = survey.draw("train", 1, 0, 4)
    box = LOW_T_BOX.replace(teff=(3800.0, 4400.0), log_g=(3.5, 5.0))
    batch.labels[:, 0], batch.labels[:, 1] = 4000.0, 4.0
    source = MemorySource(batch, survey.grid, box)
    for estimator in (TemplateFit(holed), PosteriorMean(holed)):
        with pytest.raises(DomainError, match="no spectra around teff 3800 to 4400"):
            estimator.fit(source, source)


SAMPLER = SamplerSettings(round_size=128, minimum_ess=60.0, maximum_samples=2048)


def test_posteriors_have_no_mass_in_holes(survey, holed, dwarfs):
    source = survey.source("train", 1, 4)
    estimator = PosteriorMean(holed, bank_size=4096, settings=SAMPLER).fit(source, source)
    assert isinstance(estimator._sampler.prior, CoveredPrior)
    faint = dwarfs.sigma * 30
    seen = Observation.from_pipeline(dwarfs.flux, faint)
    draws = estimator._sampler.posterior(seen).draws
    assert draws.shape[0] == 2
    assert holed.emulator.coverage.covers(draws.float()).all()
    # In the whole box that is where they are.
    free = PosteriorMean(survey.instrument.observe(Emulator.builtin()), bank_size=4096, settings=SAMPLER)
    elsewhere = free.fit(source, source)._sampler.posterior(seen).draws
    assert holed.emulator.coverage.covers(elsewhere.float()).mean() < 0.7


def test_a_denoiser_of_a_library_with_holes_keeps_them(survey, holed, tmp_path):
    source = survey.source("train", 1, 4)
    denoiser = BayesDenoiser(holed, bank_size=512, settings=SAMPLER).fit(source, source)
    assert denoiser._ceiling.prior.coverage is not None
    denoiser.save(tmp_path / "denoiser")
    again = BayesDenoiser.load(tmp_path / "denoiser")
    np.testing.assert_array_equal(again.emulator.coverage.filled, holed.emulator.coverage.filled)


def test_priors_of_ones_own_are_confined(holed):
    coverage = holed.emulator.coverage
    assert isinstance(confined(UniformPrior(LOW_T_BOX), coverage), CoveredPrior)
    prior = Tilted(LOW_T_BOX)
    own = confined(prior, coverage)
    assert isinstance(own, ConfinedPrior)
    labels = own.sample(4000, np.random.default_rng(0))
    assert coverage.covers(labels).all()
    drawn = prior.sample(40_000, np.random.default_rng(1))
    kept = drawn[torch.from_numpy(coverage.covers(drawn))]
    assert own.variance("log_g") == pytest.approx(float(kept[:, 1].var()), rel=0.05)
    hole = torch.tensor([[4000.0, 4.5, 0.0, 0.0, 0.0]])
    assert own.log_density(hole) == -torch.inf
    assert own.log_density(kept[:5]).tolist() == prior.log_density(kept[:5]).tolist()
    assert confined(prior, None) is prior
    assert confined(own, coverage.cut(LOW_T_BOX.replace(teff=(5000.0, 6000.0)))) is own
    with pytest.raises(DomainError, match="none of 4096 stars"):
        confined(Tilted(LOW_T_BOX, teff=4000.0, log_g=4.5), coverage)
    assert BayesCeiling(holed, prior, bank_size=64).prior.coverage is not None


class Tilted:
    """A prior of a user's own: near one temperature and gravity."""

    def __init__(self, label_space, teff=5000.0, log_g=2.5):
        self.label_space, self.teff, self.log_g = label_space, teff, log_g

    def sample(self, count, generator):
        labels = UniformPrior(self.label_space).sample(count, generator)
        labels[:, 0] = self.teff + 100 * (labels[:, 0] - 4875) / 1125
        labels[:, 1] = self.log_g + (0.4 if self.log_g > 4 else 2.0) * (labels[:, 1] - 3) / 2
        return labels

    def variance(self, name):
        return float(self.sample(20_000, np.random.default_rng(0))[:, self.label_space.index(name)].var())

    def log_density(self, labels):
        return -labels[..., 2]


# --- bounds -------------------------------------------------------------------------------------------------


def test_bounds_know_holes(simulator, holed):
    emulator = simulator.world.emulator()
    emulator.coverage = holed.emulator.coverage
    forecaster = Forecaster(emulator, simulator.instrument)
    conditions = simulator.instrument.fixed_conditions(1, mag=20.0)
    with pytest.raises(DomainError, match="no spectra around it"):
        forecaster.forecast(torch.tensor([[4000.0, 4.5, 0.0, 0.0, 0.0]]), [conditions])
    fisher, labels = torch.zeros(9, 5, 5), UniformPrior(LOW_T_BOX).sample(9, np.random.default_rng(0))
    with pytest.raises(DomainError, match="whole box; choose one without holes"):
        uniform_box_bound(fisher, labels, LOW_T_BOX, 1, coverage=emulator.coverage)
    warm = LOW_T_BOX.replace(teff=(4600.0, 6000.0))
    assert float(uniform_box_bound(fisher, labels, warm, 1, coverage=emulator.coverage)) > 0


def test_a_saved_fit_whose_cells_are_those_of_other_labels_is_refused(survey, holed, tmp_path):
    source = survey.source("train", 1, 4)
    fit = TemplateFit(holed).fit(source, source)
    three = CoveredCells(
        holed.emulator.coverage.edges[:3], np.array([[True, False], [True, True]])[:, :, None]
    )
    fit.emulator = copy.copy(holed.emulator)
    fit.emulator.coverage = three
    fit.save(tmp_path / "fit")
    with pytest.raises(DataError, match=r"coverage: 1 empty of 4 cells do not describe 5 labels"):
        TemplateFit.load(tmp_path / "fit")
