"""The emulator's derivatives against direct synthesis of neighbouring spectra, which no fit has seen.

The Fisher matrix is made of these derivatives; a small error of the flux alone would not prove them.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from specvit.library import Emulator
from specvit.spectra import WavelengthGrid

SLOPES = Path(__file__).parent / "data" / "synthesis_slopes.npz"
#: Where a step of 0.1 dex changes the spectrum by less than this (rms), the label is not measurable: carbon
#: in hot metal-poor stars.
NEGLIGIBLE = 1e-4


@pytest.fixture(scope="module")
def compared() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return synthesised and emulated slopes (12, 5, L / 8) per `step`, and the two fluxes (12, L / 8)."""
    stored, emulator = np.load(SLOPES), Emulator.builtin().double()
    means_of_8 = np.kron(np.eye(emulator.grid.size // 8), np.full(8, 1 / 8))
    coarse = emulator.fold(means_of_8, WavelengthGrid(means_of_8 @ emulator.grid.wavelength), 6000.0)
    labels, step = torch.from_numpy(stored["labels"]), stored["step"]
    true = stored["slope_codes"] * stored["slope_unit"].astype(np.float64) * step[:, None]
    # The stored slopes are central differences over ±step: compare with the same, not with their limit.
    emulated = np.stack(
        [
            ((coarse(labels + d, check=False) - coarse(labels - d, check=False)) / 2).numpy()
            for d in torch.diag(torch.from_numpy(step))
        ],
        axis=1,
    )
    return true, emulated, stored["flux"].astype(np.float64), coarse(labels).numpy()


def test_slopes_follow_direct_synthesis(compared):
    true, emulated, _, _ = compared
    size = np.sqrt((true**2).mean(axis=-1))
    miss = np.sqrt(((emulated - true) ** 2).mean(axis=-1))
    relative = (miss / size)[size > NEGLIGIBLE]
    assert len(relative) >= 40
    assert np.median(relative) < 0.03
    assert relative.max() < 0.10
    assert miss[size <= NEGLIGIBLE].max() < 2e-5


def test_information_on_each_label_follows_direct_synthesis(compared):
    true, emulated, _, _ = compared
    size = np.sqrt((true**2).mean(axis=-1))
    ratio = np.sqrt((emulated**2).mean(axis=-1)) / size
    np.testing.assert_allclose(ratio[size > NEGLIGIBLE], 1.0, atol=0.06)


def test_flux_follows_direct_synthesis(compared):
    _, _, true, emulated = compared
    rms = np.sqrt(np.mean((emulated / true - 1) ** 2, axis=1))
    assert np.median(rms) < 3e-4
    assert rms.max() < 2e-3


def test_the_cliff_where_carbon_takes_the_oxygen_is_as_steep_as_in_the_synthesis():
    stored, emulator = np.load(SLOPES), Emulator.builtin()
    for labels, true in zip(stored["crossing_labels"], stored["crossing_flux"], strict=True):
        emulated = emulator(torch.from_numpy(labels)).numpy().reshape(len(labels), -1, 8).mean(axis=-1)
        interval = np.diff(labels[:, 4])[:, None]
        steep, found = np.diff(true, axis=0) / interval, np.diff(emulated, axis=0) / interval
        size = np.sqrt((steep**2).mean(axis=1))
        miss = np.sqrt(((found - steep) ** 2).mean(axis=1))
        assert size.max() > 10 * size[0]
        assert miss.max() < 0.2 * size.max()
        assert np.sqrt(np.mean((emulated / true - 1) ** 2)) < 0.008
