"""Noise as somebody else has computed it: S/N, sigma, counts, outputs of the PFS calculator; and exposures for an S/N."""

import numpy as np
import pytest
import torch

from described import PLAIN, calculator_outputs, loaded, seen_through, written
from specvit.cli import main
from specvit.errors import ConfigError, DataError
from specvit.instrument import Instrument
from specvit.instrument.performance import curves, exposures_for
from specvit.library import Emulator

LABELS = torch.tensor([[5000.0, 3.0, 0.0, 0.0, 0.0]])
WITHOUT = ("object", "sky", "detector")
REFERENCE = {"mag": 18.0, "exposure_time": 600.0, "exposure_count": 4.0}
CURVE = np.linspace(20.0, 60.0, 200)
SPEED_OF_LIGHT_A_S = 2.99792458e18


def flat_snr(instrument, **conditions):
    return curves(instrument, conditions).snr


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("form", ["number", "nodes", "table"])
def test_stated_snr_is_what_comes_out(tmp_path, form, share):
    snr, expected = {
        "number": (50.0, np.full(200, 50.0)),
        "nodes": ({"wavelength": [8400.0, 8559.2], "value": [20.0, 60.0]}, CURVE),
        "table": ("snr", CURVE),
    }[form]
    noise = {**REFERENCE, "snr": snr, "source_share": share}
    instrument = loaded(tmp_path, without=WITHOUT, tables={"snr": CURVE}, noise=noise)
    np.testing.assert_allclose(flat_snr(instrument, **REFERENCE), expected, rtol=1e-6)
    # Independent exposures, and the star's photons beside the rest: S/N² = N² / (N + V).
    np.testing.assert_allclose(
        flat_snr(instrument, **REFERENCE | {"exposure_count": 16.0}), 2 * expected, rtol=1e-6
    )
    np.testing.assert_allclose(
        flat_snr(instrument, **REFERENCE | {"exposure_time": 1200.0}), np.sqrt(2) * expected, rtol=1e-6
    )
    fainter = 10 ** (-0.4 * 2)
    star = (expected / 2) ** 2 / share
    rest = star * (1 / share - 1)
    np.testing.assert_allclose(
        flat_snr(instrument, **REFERENCE | {"mag": 20.0}),
        2 * fainter * star / np.sqrt(fainter * star + rest),
        rtol=1e-6,
    )


def test_stated_sigma_is_what_comes_out(tmp_path):
    sigma = np.linspace(1e-17, 3e-17, 200)
    sigma[50] = np.inf
    instrument = loaded(
        tmp_path, without=WITHOUT, tables={"s": sigma}, noise={**REFERENCE, "sigma": "s", "source_share": 0.5}
    )
    np.testing.assert_allclose(curves(instrument, REFERENCE).sigma, sigma, rtol=1e-6)
    assert list(np.flatnonzero(~instrument.live)) == [50]


def test_stated_counts_with_and_without_the_detectors_part(tmp_path):
    electrons, variance = np.linspace(1e3, 2e3, 200), np.linspace(500.0, 900.0, 200)
    noise = {**REFERENCE, "exposure_count": 1.0, "electrons": "n", "variance": "v"}
    instrument = loaded(tmp_path, without=WITHOUT, tables={"n": electrons, "v": variance}, noise=noise)
    at = {**REFERENCE, "exposure_count": 1.0}
    np.testing.assert_allclose(
        flat_snr(instrument, **at), electrons / np.sqrt(electrons + variance), rtol=1e-6
    )
    # Read noise does not grow with the time of an exposure, the sky does.
    detector = {"read_noise": 4.0, "width": 5.0}
    with_detector = loaded(
        tmp_path,
        without=("object", "sky"),
        tables={"n": electrons, "v": variance},
        noise=noise,
        detector=detector,
    )
    np.testing.assert_allclose(flat_snr(with_detector, **at), flat_snr(instrument, **at), rtol=1e-6)
    longer = 2 * electrons / np.sqrt(2 * electrons + 2 * (variance - 80) + 80)
    np.testing.assert_allclose(flat_snr(with_detector, **at | {"exposure_time": 1200.0}), longer, rtol=1e-6)
    with pytest.raises(DataError, match=r"less than the detector's own 2000; set detector\.read_noise = 0"):
        loaded(tmp_path, without=("object", "sky"), tables={"n": electrons, "v": variance}, noise=noise,
               detector={"read_noise": 20.0, "width": 5.0})  # fmt: skip


def test_variance_beside_throughput(tmp_path):
    """As the calculator's noise files: the star by throughput and area, the rest by table."""
    variance = np.linspace(500.0, 900.0, 200)
    noise = {**REFERENCE, "exposure_count": 1.0, "variance": "v"}
    stated = loaded(tmp_path, without=("sky", "detector"), tables={"v": variance}, noise=noise)
    modelled = loaded(tmp_path)
    at = {**REFERENCE, "exposure_count": 1.0}
    star = curves(modelled, at).star
    np.testing.assert_allclose(curves(stated, at).star, star, rtol=1e-6)
    np.testing.assert_allclose(flat_snr(stated, **at), star / np.sqrt(star + variance), rtol=1e-6)


def test_stated_noise_replaces_what_is_extended(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(
        'extends = "gaia_rvs"\nname = "short"\n[noise]\nmag = 12.5\nexposure_time = 4.4167\nexposure_count = 123\nsnr = 40\n'
        "[detector]\nread_noise = 0\n"
    )
    instrument = Instrument.load(path)
    np.testing.assert_allclose(flat_snr(instrument, mag=12.5), 40.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("noise", "without", "message"),
    [
        ({"snr": 50.0, "sigma": 1e-17}, WITHOUT, "noise: give snr, or sigma, or electrons and variance"),
        ({}, WITHOUT, "noise: give snr, or sigma"),
        ({"electrons": 5.0}, WITHOUT, "noise: give snr, or sigma"),
        ({"variance": 50.0}, WITHOUT, r"object is missing; give \[object\]"),
        ({"snr": 50.0, "source_share": 0.0}, WITHOUT, r"noise: source_share 0\.0 is not above 0"),
        (None, ("object",), r"object is missing; give \[object\] with area and throughput, or \[noise\]"),
        (None, ("detector",), "detector is missing"),
    ],
)
def test_noise_that_says_too_much_or_too_little(tmp_path, noise, without, message):
    changes = {} if noise is None else {"noise": {**REFERENCE, **noise}}
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, without=without, **changes)


# --- outputs of the PFS calculator -------------------------------------------------------------------------


def calculated(folder, kind="snc", arm=3, **changes):
    described = {
        "tables": {"file": f"ref.{kind}.dat", "arm": arm},
        "grid": {"table": "wavelength"},
        "lsf": {"kind": "gaussian", "fwhm": 1.35 if arm == 3 else 2.7},
        "noise": {"mag": 0.0, "exposure_time": 450.0, "electrons": "electrons", "variance": "variance"},
        "conditions": {"mag": 22.5, "exposure_time": 450.0, "exposure_count": 8},
    }
    without = [key for key in WITHOUT if key not in changes]
    return written(folder, without=without, **described | changes)


@pytest.mark.parametrize("arm", [1, 3])
def test_the_calculators_snr_comes_out(tmp_path, arm):
    calculator_outputs(tmp_path)
    instrument, _ = seen_through(calculated(tmp_path, arm=arm), Emulator.builtin())
    rows = np.loadtxt(tmp_path / "ref.snc.dat")
    rows = rows[rows[:, 0] == arm]
    np.testing.assert_allclose(instrument.grid.wavelength, 10 * rows[:, 2])
    assert len(instrument.grid.segments) == 1
    # The source it was computed for is not flat: each pixel at its own magnitude.
    found = [flat_snr(instrument, mag=mag)[k] for k, mag in enumerate(rows[:, 7])]
    np.testing.assert_allclose(found, rows[:, 3], rtol=2e-4)


def test_the_calculators_noise_beside_a_throughput(tmp_path):
    calculator_outputs(tmp_path)
    path = calculated(
        tmp_path,
        "noise",
        object={"area": 50.0, "throughput": 0.1},
        noise={"mag": 0.0, "exposure_time": 450.0, "variance": "variance"},
    )
    seen = curves(Instrument.load(path), {})
    np.testing.assert_allclose(seen.sky, 8 * (200.0 + np.arange(200)), rtol=1e-5)


@pytest.mark.parametrize(
    ("arm", "content", "message"),
    [
        (None, None, r"has arms 0, 1, 3; choose one, set tables\.arm = 3"),
        (2, None, r"has arms 0, 1, 3, not 2; set tables\.arm = 3"),
        (3, "1 2 3\n", "has 3 columns, expected 5"),
        (3, "a b c\n", "not a table of numbers"),
        (3, "", "holds nothing"),
    ],
)
def test_what_is_not_such_an_output(tmp_path, arm, content, message):
    calculator_outputs(tmp_path)
    if content is not None:
        (tmp_path / "ref.snc.dat").write_text(content)
    tables = {"file": "ref.snc.dat", **({} if arm is None else {"arm": arm})}
    with pytest.raises(DataError, match=message) as caught:
        Instrument.load(calculated(tmp_path, tables=tables))
    assert "ref.snc.dat" in str(caught.value)


def test_only_outputs_of_the_calculator_have_arms(tmp_path):
    path = written(tmp_path, tables={"wave": np.arange(8400.0, 8500.0)}, grid={"table": "wave"})
    path.write_text(path.read_text().replace("[tables]", "[tables]\narm = 1"))
    with pytest.raises(DataError, match=r"tables\.arm: mine\.toml\.npz has no arms"):
        Instrument.load(path)


# --- exposures and figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pfs_mr", "gaia_rvs", "weave_lr_red"])
@pytest.mark.parametrize("snr", [3.0, 8.0])
def test_so_many_exposures_give_the_snr(name, snr):
    instrument = Instrument.load(name)
    faint = {"mag": instrument.conditions.ranges["mag"][1]}
    count = exposures_for(instrument, snr, faint)
    reached = np.median(flat_snr(instrument, **faint, exposure_count=count))
    assert reached == pytest.approx(snr, rel=1e-4) if count > 1 else reached >= snr


def test_an_snr_that_no_exposure_gives(tmp_path):
    instrument = loaded(tmp_path, sky={"background": 5.0}, detector={"read_noise": 3.0, "sky_floor": 0.05})
    with pytest.raises(
        ConfigError, match=r"S/N 500 at magnitude 21 is out of reach: .*ask for at most ([\d.]+)"
    ) as caught:
        exposures_for(instrument, 500.0, {"mag": 21.0})
    most = float(str(caught.value).split("at most ")[1].split(",")[0])
    assert exposures_for(instrument, most, {"mag": 21.0}) > 1
    with pytest.raises(ConfigError, match="expected a number above 0"):
        exposures_for(instrument, 0.0, {})


def test_exposure_and_plot_on_the_command_line(capsys, tmp_path):
    assert main(["instrument", "exposure", "pfs_mr", "--snr", "20", "--mag", "19,21"]) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = [int(line.split()[1]) for line in lines[1:]]
    assert len(counts) == 2
    assert 1 <= counts[0] < counts[1]
    path = written(
        tmp_path,
        object=PLAIN["object"] | {"throughput": {"wavelength": [8400.0, 8450.0], "value": [0.0, 0.2]}},
    )
    image = tmp_path / "mine.png"
    assert main(["instrument", "plot", str(path), "-o", str(image)]) == 0
    assert image.read_bytes().startswith(b"\x89PNG")
    assert main(["instrument", "plot", str(path), "-o", str(tmp_path / "mine.jpg")]) == 2
    assert "expected the name of an image, e.g. -o mine.png" in capsys.readouterr().err


def test_an_effective_area_is_area_times_throughput(tmp_path):
    instrument = loaded(tmp_path, object={"area": 7.0, "throughput": 0.3, "aperture": 0.5})
    seen = curves(instrument, {})
    np.testing.assert_allclose(seen.effective_area, 7 * 0.3 * 0.5, rtol=1e-5)
    # Photons by hand, in the first pixel.
    at, seconds = instrument.grid.wavelength[0], 2 * 1200.0
    density = 3.631e-20 * SPEED_OF_LIGHT_A_S / at**2 * 10 ** (-0.4 * 18.5)
    photons = density * at / 1.98644586e-8 * 1e4 * 1.05 * instrument.grid.width[0] * seconds
    assert seen.star[0] == pytest.approx(photons, rel=1e-5)
