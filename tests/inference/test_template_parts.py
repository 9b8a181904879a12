"""The parts of the template fit against dense least squares, closed forms and scipy."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from described import PLAIN
from specvit.documents import dump_toml
from specvit.inference import TemplateFit, errors
from specvit.inference.descent import Minima, minimise
from specvit.inference.products import TemplateProducts, TemplateRows
from specvit.inference.profile import AmplitudeProfile
from specvit.inference.region import Region
from specvit.library.derivative import batched_jacobian
from specvit.limits import continuum_columns, fisher_information
from specvit.simulate import Simulator
from specvit.spectra import LabelSpace

PLANE = LabelSpace(("a", "b"), ("dex", "dex"), (0.0, 0.0), (1.0, 1.0))


def label_std(position, fisher):
    """The errors in a whole box."""
    return errors.label_std(position, fisher, (torch.zeros_like(position), torch.ones_like(position)))


# --- products and profile ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exact(simulator):
    return copy.deepcopy(simulator.observed.emulator).double()


@pytest.fixture(scope="module")
def stars(simulator):
    batch = simulator.draw("test", 3, 0, 6)
    batch.sigma[:, 500:700] = torch.inf
    batch.flux[0, 600] = torch.nan
    return batch


@pytest.mark.parametrize("order", [0, 1, 3])
def test_products_give_what_dense_least_squares_gives(exact, stars, order):
    labels = stars.labels.double()
    products = TemplateRows(exact, order).products(stars.flux, stars.sigma)
    profile = AmplitudeProfile.of(products, exact.coefficients(labels)[:, None])
    gradient, fisher = profile.slope(products, batched_jacobian(exact.coefficients, labels)[:, None])

    clean, live = exact(labels), torch.isfinite(stars.sigma[0])
    u = torch.linspace(-1, 1, clean.shape[1], dtype=torch.float64)
    columns = clean[..., None] * torch.stack([u**j for j in range(order + 1)], -1)
    root = stars.sigma[:, live].double().reciprocal()
    flux = stars.flux[:, live].double()
    best = torch.linalg.lstsq(columns[:, live] * root[..., None], (flux * root)[..., None]).solution
    residual = (flux - (columns[:, live] @ best)[..., 0]) * root
    torch.testing.assert_close(profile.continuum[:, 0, 0], best[..., 0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(profile.chi2[:, 0], residual.square().sum(1), rtol=1e-10, atol=0)

    continuum = (columns @ best)[..., 0] / clean
    jacobian = exact.jacobian(labels) * continuum[..., None]
    ivar = stars.sigma.double().square().reciprocal()
    expected = fisher_information(jacobian, ivar, continuum_columns(clean, exact.grid, order))
    torch.testing.assert_close(fisher[:, 0], expected, rtol=1e-8, atol=1e-6)
    downhill = torch.einsum("blp,bl->bp", jacobian[:, live] * root[..., None], residual)
    torch.testing.assert_close(gradient[:, 0], downhill, rtol=1e-6, atol=1e-6)


ARMS = """
[[arm]]
name = "first"
grid = { start = 8400.0, step = 0.8, pixels = 260 }
[[arm]]
name = "second"
grid = { start = 8550.0, step = 0.5, pixels = 400 }
"""


@pytest.fixture(scope="module")
def two_arms(tmp_path_factory):
    described = {key: value for key, value in PLAIN.items() if key != "grid"}
    path = tmp_path_factory.mktemp("arms") / "two.toml"
    path.write_text(dump_toml(described) + ARMS, encoding="utf-8")
    return Simulator.build(str(path))


@pytest.mark.parametrize("order", [1, 2])
def test_every_arm_has_a_continuum_of_its_own(two_arms, order):
    """Against dense least squares with a block of columns for each arm; the second arm is dead in one spectrum."""
    stars = two_arms.draw("test", 3, 0, 4)
    stars.sigma[3, 262:] = torch.inf
    exact = copy.deepcopy(two_arms.observed.emulator).double()
    labels, arms = stars.labels.double(), exact.grid.arm_pixels
    products = TemplateRows(exact, order).products(stars.flux, stars.sigma)
    profile = AmplitudeProfile.of(products, exact.coefficients(labels)[:, None])
    gradient, fisher = profile.slope(products, batched_jacobian(exact.coefficients, labels)[:, None])
    clean, jacobian = exact(labels), exact.jacobian(labels)
    for k in range(4):
        live = torch.isfinite(stars.sigma[k])
        # Two pixels of the second arm are too few for a continuum: it is left out.
        live[260:] &= k != 3
        columns = []
        for arm in arms if k != 3 else arms[:1]:
            u = torch.linspace(-1, 1, arm.stop - arm.start, dtype=torch.float64)
            block = torch.zeros(len(clean[k]), order + 1, dtype=torch.float64)
            block[arm] = torch.stack([u**j for j in range(order + 1)], -1)
            columns.append(block)
        basis = torch.cat(columns, dim=1)
        root = stars.sigma[k].double().reciprocal()[:, None] * live[:, None]
        flux = stars.flux[k].double()[:, None]
        design = clean[k][:, None] * basis
        best = torch.linalg.lstsq(design[live] * root[live], flux[live] * root[live]).solution
        residual = (flux - design @ best) * root
        torch.testing.assert_close(profile.chi2[k, 0], residual[live].square().sum(), rtol=1e-9, atol=0)
        found = profile.continuum[k, 0].flatten()
        torch.testing.assert_close(found[: len(best)], best[:, 0], rtol=1e-8, atol=1e-9)
        slopes = jacobian[k] * (basis @ best)
        expected = fisher_information(slopes[None], (root[:, 0] ** 2)[None], design[None])
        torch.testing.assert_close(fisher[k, 0], expected[0], rtol=1e-7, atol=1e-6)
        downhill = (slopes * root)[live].T @ residual[live]
        torch.testing.assert_close(gradient[k, 0], downhill[:, 0], rtol=1e-6, atol=1e-6)


def test_a_fit_of_two_arms_forgives_their_calibration(two_arms):
    """A tilt and a step of the second arm alone: an order of 1 takes them, where one polynomial of all could not."""
    stars, source = two_arms.draw("test", 7, 0, 12), two_arms.source("train", 1, 4)
    second = two_arms.grid.arm_pixels[1]
    warped = stars.truth.flux.clone()
    warped[:, second] *= 1.3 * torch.linspace(0.9, 1.1, second.stop - second.start)
    fit = TemplateFit(two_arms.observed, order=1).fit(source, source)
    found = fit.predict(warped, stars.sigma)
    assert found.diagnostics.chi2.max() < 0.05
    assert ((found.mean - stars.labels) / found.std).abs().max() < 0.1
    assert found.diagnostics.continuum.shape == (12, 4)
    assert (found.diagnostics.degrees_of_freedom == two_arms.grid.size - 5 - 4).all()


# --- descent ----------------------------------------------------------------------------------------------


def quadratic(centre, curvature):
    """Return products whose chi² is (x - centre)ᵀ C (x - centre) + 1 for templates 'flux = amplitude · x'.

    The 'spectrum' has the pixels (1, x) scaled so that the amplitude is 1 to any precision that matters.
    """
    size = len(centre)
    target = torch.cat([torch.ones(1, dtype=torch.float64), centre])
    weight = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    weight[0, 0], weight[1:, 1:] = 1e10, curvature
    return TemplateProducts(
        weight[None, None, None],
        (weight @ target)[None, None, None],
        (target @ weight @ target + 1).reshape(1),
    )


def test_a_quadratic_with_its_minimum_outside_ends_at_the_constrained_minimum():
    curvature = torch.tensor([[4.0, 3.0], [3.0, 4.0]], dtype=torch.float64)
    products = quadratic(torch.tensor([0.5, 1.6], dtype=torch.float64), curvature)
    start = torch.tensor([[[0.1, 0.1], [0.9, 0.9], [1.0, 0.0]]], dtype=torch.float64)
    found = minimise(products, lambda position: position, start, Region(PLANE, None))
    # On the face x1 = 1 the other label moves up its valley: x0 = 0.5 + 3/4 · 0.6.
    expected = torch.tensor([0.95, 1.0], dtype=torch.float64).expand(1, 3, 2)
    assert found.converged.all()
    torch.testing.assert_close(found.position, expected, rtol=0, atol=1e-3)
    left = 4 * 0.6**2 - 9 / 4 * 0.6**2
    torch.testing.assert_close(found.chi2, torch.full_like(found.chi2, 1 + left), rtol=0, atol=1e-5)


def test_starts_in_different_valleys_are_counted_as_different_minima():
    position = torch.tensor(
        [[[0.1, 0.5], [0.1, 0.5001], [0.9, 0.5]], [[0.2, 0.2], [0.2, 0.2], [0.2, 0.2]]], dtype=torch.float64
    )
    nothing = torch.zeros(2, 3)
    found = Minima(position, nothing, nothing, nothing.bool())
    assert found.distinct(0.01).tolist() == [2, 1]
    assert found.distinct(0.00001).tolist() == [3, 1]


# --- errors -----------------------------------------------------------------------------------------------


def test_errors_of_a_good_spectrum_are_the_cramer_rao_bound():
    root = torch.randn(8, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fisher = root @ root.mT * 1e6 + 1e6 * torch.eye(5)
    position = torch.full((8, 5), 0.4, dtype=torch.float64)
    expected = torch.linalg.inv(fisher).diagonal(dim1=1, dim2=2).sqrt()
    torch.testing.assert_close(label_std(position, fisher), expected, rtol=1e-4, atol=0)


def test_errors_without_information_are_those_of_a_uniform_label():
    position = torch.tensor([[0.5, 0.0, 1.0, 0.25]], dtype=torch.float64)
    expected = ((position**3 + (1 - position) ** 3) / 3).sqrt()
    nothing = torch.zeros(1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(label_std(position, nothing), expected, rtol=1e-3, atol=0)


def test_an_estimate_stopped_by_a_face_is_not_called_more_precise():
    fisher = torch.eye(2, dtype=torch.float64)[None] / 0.02**2
    on_face, inside = (torch.tensor([[x, 0.5]], dtype=torch.float64) for x in (0.0, 0.5))
    torch.testing.assert_close(label_std(on_face, fisher), label_std(inside, fisher))


def test_a_label_without_information_does_not_spoil_the_others():
    # Degenerate pair: information on the sum alone. The partner is known to 1/√12 by the box.
    fisher = torch.tensor([[[1e6, 1e6, 0.0], [1e6, 1e6, 0.0], [0.0, 0.0, 1e8]]], dtype=torch.float64)
    std = label_std(torch.full((1, 3), 0.5, dtype=torch.float64), fisher)
    cut = stats.truncnorm(-0.5 * 12**0.5, 0.5 * 12**0.5, loc=0.5, scale=12**-0.5).std()
    np.testing.assert_allclose(std[0, :2], cut, rtol=1e-4)
    np.testing.assert_allclose(std[0, 2], 1e-4, rtol=1e-6)


@given(position=st.floats(0, 1), sigma=st.floats(1e-3, 50))
def test_errors_are_those_of_a_cut_normal_distribution(position, sigma):
    fisher = torch.tensor([[[sigma**-2]]], dtype=torch.float64)
    found = float(label_std(torch.tensor([[position]], dtype=torch.float64), fisher))
    cut = stats.truncnorm(-position / sigma, (1 - position) / sigma, loc=position, scale=sigma)
    expected = np.sqrt(cut.var() + (cut.mean() - position) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert found <= sigma * (1 + 1e-9)
