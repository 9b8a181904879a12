"""Information per pixel: its sum is the Schur complement, whatever the scale, order or dead pixels."""

import pytest
import torch

from specvit.errors import DataError, ShapeError
from specvit.limits import fisher_information, information_density, marginal_crlb


def problem(seed=0, batch=3, pixels=40, labels=4, nuisances=2):
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(batch, pixels, labels, generator=generator, dtype=torch.float64)
    ivar = torch.rand(batch, pixels, generator=generator, dtype=torch.float64) + 0.1
    nuisance = torch.randn(batch, pixels, nuisances, generator=generator, dtype=torch.float64)
    return jacobian, ivar, nuisance


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("with_nuisance", [True, False])
def test_density_sums_to_the_inverse_of_the_crlb(index, with_nuisance):
    jacobian, ivar, nuisance = problem()
    nuisance = nuisance if with_nuisance else None
    density = information_density(jacobian, ivar, index, nuisance)
    crlb = marginal_crlb(fisher_information(jacobian, ivar, nuisance), index)
    torch.testing.assert_close(density.sum(dim=1), 1 / crlb, rtol=1e-10, atol=0)
    assert (density >= 0).all()


def test_density_of_one_label_alone_is_its_squared_slope_over_the_noise():
    jacobian, ivar, _ = problem(labels=1)
    torch.testing.assert_close(information_density(jacobian, ivar, 0), jacobian[..., 0].square() * ivar)


def test_density_is_the_residual_of_the_weighted_fit_by_the_others():
    jacobian, ivar, nuisance = problem(batch=1)
    others = torch.cat([jacobian[0, :, [0, 1, 3]], nuisance[0]], dim=1)
    root = ivar[0].sqrt()[:, None]
    fit = torch.linalg.lstsq(others * root, jacobian[0, :, 2:3] * root).solution
    residual = jacobian[0, :, 2] - (others @ fit)[:, 0]
    density = information_density(jacobian, ivar, 2, nuisance)[0]
    torch.testing.assert_close(density, residual.square() * ivar[0])


def test_density_does_not_depend_on_the_unit_of_flux_or_of_other_labels():
    jacobian, ivar, nuisance = problem()
    density = information_density(jacobian, ivar, 0, nuisance)
    scaled = information_density(7 * jacobian, ivar / 49, 0, 7 * nuisance)
    torch.testing.assert_close(scaled, density)
    units = torch.tensor([1.0, 1e4, 1e-3, 2.0], dtype=torch.float64)
    torch.testing.assert_close(information_density(jacobian * units, ivar, 0, 1e6 * nuisance), density)


def test_a_dead_pixel_holds_nothing_and_a_pixel_the_others_explain_nothing():
    jacobian, ivar, _ = problem(labels=2)
    ivar[:, 5] = 0
    jacobian[:, 6:] = jacobian[:, 6:, :1]
    density = information_density(jacobian, ivar, 0)
    assert (density[:, 5] == 0).all()
    # Where both labels act alike, what is left is the same share of the slope everywhere.
    left = density[:, 6:] / (jacobian[:, 6:, 0].square() * ivar[:, 6:])
    torch.testing.assert_close(left, left[:, :1].expand_as(left))


def test_labels_that_cannot_be_told_apart_are_refused():
    jacobian, ivar, nuisance = problem()
    jacobian[1, :, 3] = -2 * jacobian[1, :, 0]
    with pytest.raises(DataError, match="spectrum 1 cannot be told apart"):
        information_density(jacobian, ivar, 2, nuisance)


def test_wrong_axes_and_weights_are_refused():
    jacobian, ivar, nuisance = problem()
    with pytest.raises(ShapeError, match=r"jacobian \(B, L, P\)"):
        information_density(jacobian[0], ivar, 0)
    with pytest.raises(ShapeError, match="nuisance"):
        information_density(jacobian, ivar, 0, nuisance[:, :7])
    with pytest.raises(DataError, match="ivar"):
        information_density(jacobian, -ivar, 0)
