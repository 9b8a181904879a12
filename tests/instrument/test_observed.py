"""The observed emulator against doing everything to the flux itself, and its Jacobian against differences."""

import numpy as np
import pytest
import torch
from scipy import sparse

from specvit.errors import DomainError
from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.spectra import LabelSpace

# torch's own forward-mode rules still use torch.jit.script, which announces its retirement once per process.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def emulator():
    return Emulator.builtin().double()


@pytest.fixture(scope="module")
def labels(emulator):
    space: LabelSpace = emulator.label_space
    low, high = torch.tensor(space.low), torch.tensor(space.high)
    draw = torch.rand(6, len(space), generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    return low + (high - low) * (0.05 + 0.9 * draw)


@pytest.mark.parametrize("name", ["pfs_mr_reference", "gaia_rvs"])
def test_folding_equals_observing_each_spectrum(emulator, labels, name):
    instrument = Instrument.load(name)
    native = emulator(labels).numpy()
    matrix = instrument.lsf_matrix(emulator.grid, emulator.resolution)
    assert sparse.issparse(matrix)
    expected = (matrix @ native.T).T / (native @ instrument.band.weights(emulator.grid))[:, None]
    observed = instrument.observe(emulator)
    np.testing.assert_allclose(observed(labels).numpy(), expected, rtol=1e-9)
    assert observed.grid.matches(instrument.grid)
    assert observed.label_space == emulator.label_space
    through = observed.from_coefficients(observed.coefficients(labels))
    torch.testing.assert_close(through, observed(labels))
    # Band-normalised: order one.
    assert 0.5 < float(observed(labels).median()) < 1.5


def test_jacobian_equals_central_differences(emulator, labels):
    observed = Instrument.load("pfs_mr_reference").observe(emulator)
    jacobian = observed.jacobian(labels)
    assert jacobian.shape == (6, 4096, 5)
    span = torch.tensor(emulator.label_space.high) - torch.tensor(emulator.label_space.low)
    for k in range(5):
        step = torch.zeros(5, dtype=torch.float64)
        step[k] = 1e-4 * span[k]
        slope = (observed(labels + step, check=False) - observed(labels - step, check=False)) / (2 * step[k])
        error = (jacobian[:, :, k] - slope).abs().max()
        assert float(error) < 1e-5 * float(slope.abs().max())


def test_magnitude_is_held_while_labels_change(emulator, labels):
    """The Jacobian is at constant magnitude: the band integral of every column vanishes."""
    instrument = Instrument.load("pfs_mr_reference")
    native = emulator(labels)
    weights = torch.from_numpy(instrument.band.weights(emulator.grid))
    band = (native @ weights)[:, None]
    normalised_jacobian = emulator.jacobian(labels) / band[:, :, None]
    shift = torch.einsum("blp,l->bp", normalised_jacobian, weights)
    held = normalised_jacobian - (native / band)[:, :, None] * shift[:, None, :]
    assert float(torch.einsum("blp,l->bp", held, weights).abs().max()) < 1e-12
    matrix = torch.from_numpy(instrument.lsf_matrix(emulator.grid, emulator.resolution).toarray())
    expected = torch.einsum("ml,blp->bmp", matrix, held)
    torch.testing.assert_close(instrument.observe(emulator).jacobian(labels), expected, rtol=1e-7, atol=1e-12)


def test_domain_is_the_emulators(emulator):
    observed = Instrument.load("pfs_mr_reference").observe(emulator)
    outside = torch.tensor([[5000.0, 9.0, 0.0, 0.0, 0.0]])
    with pytest.raises(DomainError, match="log_g"):
        observed(outside)
    with pytest.raises(DomainError, match="log_g"):
        observed.jacobian(outside)
    assert observed(outside, check=False).shape == (1, 4096)
