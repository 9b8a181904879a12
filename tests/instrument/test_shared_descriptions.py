"""Every description of a real spectrograph works, or is refused with a mend that works when it is applied."""

from pathlib import Path

import numpy as np
import pytest
import torch

from described import seen_through, works_or_is_mended
from specvit.errors import DataError, SpecvitError, WavelengthRangeError
from specvit.library import Emulator
from specvit.spectra import WavelengthGrid

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "instruments"
DESCRIPTIONS = sorted(FOLDER.glob("*.toml")) if FOLDER.is_dir() else []

#: Their table file is not there; the mend is to put it there.
WITHOUT_TABLES = {
    "boss_fwhmpix": 7010 * 10 ** (1e-4 * np.arange(1000)),
    "deimos_smallgap": np.delete(7010.0 + 0.33 * np.arange(3000), range(1000, 1004)),
    "lamost_full": 5700 * 10 ** (1e-4 * np.arange(1984)),
}
#: Wholly beyond the built-in library; the mend is a library of these wavelengths.
ELSEWHERE = {"4most_hrs_red"}

pytestmark = pytest.mark.skipif(not DESCRIPTIONS, reason="the shared descriptions are not here")


@pytest.fixture(scope="module")
def emulator():
    return Emulator.builtin()


def median_snr(instrument, observed):
    flux = observed(torch.tensor([[5000.0, 3.0, 0.0, 0.0, 0.0]]))
    sigma = instrument.noise_sigma(flux, instrument.fixed_conditions(1))
    assert not bool(torch.isnan(sigma).any())
    dead = torch.from_numpy(~instrument.live)
    assert bool(torch.isinf(sigma[:, dead]).all())
    assert bool(torch.isfinite(sigma[:, ~dead]).all())
    snr = (flux / sigma)[0, ~dead]
    # No pixel stands out, as one does that spans a gap: a flat throughput gives a flat S/N.
    assert float(snr.max() / snr.median()) < 1.5
    return float(snr.median())


@pytest.mark.parametrize("path", DESCRIPTIONS, ids=lambda path: path.stem)
def test_it_works_or_is_refused_with_a_mend_that_works(path, emulator, tmp_path):
    if path.stem in WITHOUT_TABLES:
        with pytest.raises(DataError, match=r"cannot read its table file .*; put the file there") as caught:
            seen_through(path, emulator)
        assert path.name in str(caught.value)
        content = path.read_text(encoding="utf-8")
        path = tmp_path / path.name
        path.write_text(content, encoding="utf-8")
        (name,) = (line.split('"')[1] for line in content.splitlines() if line.startswith("file ="))
        np.savez(tmp_path / name, wave=WITHOUT_TABLES[path.stem])
    if path.stem in ELSEWHERE:
        with pytest.raises(WavelengthRangeError, match="give a library of these wavelengths"):
            seen_through(path, emulator)
        # The same library, as if it lay there.
        moved = Emulator(
            emulator.regressor,
            emulator.mean,
            emulator.basis,
            WavelengthGrid(emulator.grid.wavelength * 6050 / 7000),
            21_000.0,
            emulator.label_space,
        )
        emulator = moved
    (tmp_path / "mended").mkdir()
    instrument, observed, refusals = works_or_is_mended(path, emulator, tmp_path / "mended")
    assert 1 < median_snr(instrument, observed) < 1e4
    assert instrument.grid.size >= 2
    assert len(refusals) <= 2
    if path.stem.endswith(("_cut", "_vac", "_gap", "_gap_np", "_left", "_right", "_zero")):
        assert refusals == []


def by_name(name, emulator, folder):
    (path,) = (path for path in DESCRIPTIONS if path.stem == name)
    return works_or_is_mended(path, emulator, folder)


@pytest.mark.parametrize("pair", [("deimos_gap", "deimos_left"), ("deimos_gap_np", "deimos_left_np")])
def test_a_gap_leaves_the_pixels_beside_it_as_they_are_without_the_other_ccd(pair, emulator, tmp_path):
    (whole, seen, _), (left, alone, _) = (by_name(name, emulator, tmp_path) for name in pair)
    labels = torch.tensor([[5000.0, 3.0, 0.0, 0.0, 0.0]])
    # The width of lines just beyond the edge is that of the nearest pixels, of which the whole has more.
    np.testing.assert_allclose(seen(labels)[:, : left.grid.size], alone(labels), rtol=1e-4)
    sigma, same = (
        one.noise_sigma(o(labels), one.fixed_conditions(1)) for one, o in ((whole, seen), (left, alone))
    )
    np.testing.assert_allclose(sigma[:, : left.grid.size], same, rtol=1e-4)


def test_overlapping_arms_of_one_table_are_two_arms(emulator, tmp_path):
    instrument, _, refusals = by_name("desi_rz", emulator, tmp_path)
    assert "set grid.arms = true" in refusals[0]
    assert len(instrument.arms) == 2
    assert instrument.grid.wavelength[763] < instrument.grid.wavelength[762]


def test_air_is_converted_and_the_product_is_in_vacuum(emulator, tmp_path):
    instrument, _, _ = by_name("muse_cut", emulator, tmp_path)
    assert instrument.grid.medium == "vacuum"
    # 7010 Å in air is 7011.93 Å in vacuum (Ciddor 1996; VALD's conversion agrees).
    assert instrument.grid.start == pytest.approx(7011.933, abs=0.002)


def test_every_refusal_is_of_the_kinds_that_are_known():
    assert {path.stem for path in DESCRIPTIONS} >= set(WITHOUT_TABLES) | ELSEWHERE
    assert len(DESCRIPTIONS) >= 30
    assert issubclass(WavelengthRangeError, SpecvitError)
