"""A user's spectrograph is one file; a wrong one gives one clear line."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.errors import ConfigError, DataError, SpecvitError
from specvit.instrument import Instrument, instrument_names
from specvit.instrument.description import INSTRUMENT
from specvit.library import Emulator

GOOD = """
format_version = 1
name = "toy"
description = "a toy"
[grid]
start = 8000.0
step = 0.5
pixels = 400
[lsf]
kind = "gaussian"
resolving_power = 5000
[band]
name = "toy"
blue = 7900.0
red = 8300.0
[object]
area = 1.0
throughput = 0.3
[detector]
read_noise = 3.0
[conditions]
mag = { low = 15.0, high = 17.0 }
exposure_time = 600.0
exposure_count = 2
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="toy.toml", **arrays):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        if arrays:
            np.savez(tmp_path / "toy.npz", **arrays)
        return path

    return write


def test_a_users_file_is_an_instrument(write):
    instrument = Instrument.load(write(GOOD))
    assert instrument.grid.size == 400
    observed = instrument.observe(Emulator.builtin())
    flux = observed(torch.tensor([[5000.0, 3.0, 0.0, 0.0, 0.0]]))
    conditions = instrument.fixed_conditions(1, mag=16.0)
    # The photon arithmetic by hand, at the first pixel.
    photons = float(flux[0, 0]) * instrument.band.flux_ab0 * 10 ** (-0.4 * 16) * 8000.0 / 1.98644586e-8
    electrons = photons * 1e4 * 0.3 * 0.5 * 600.0
    expected = np.sqrt(2) * electrons / np.sqrt(electrons + 3.0**2)
    assert float((flux / instrument.noise_sigma(flux, conditions))[0, 0]) == pytest.approx(expected, rel=1e-5)
    drawn = instrument.sample_conditions(100, torch.Generator().manual_seed(0))
    assert float(drawn["mag"].min()) >= 15.0
    assert instrument.fixed_conditions(1)["mag"].item() == 16.0


def test_tables_beside_the_file_and_quantities_by_nodes(write):
    centres = 8000.0 + 0.5 * np.arange(400)
    rate = np.linspace(0.01, 0.2, 400)
    text = GOOD.replace("start = 8000.0\nstep = 0.5\npixels = 400", 'table = "wave"')
    text = text.replace(
        "throughput = 0.3", "throughput = { wavelength = [8000.0, 8199.5], value = [0.2, 0.4] }"
    )
    text = text.replace("[grid]", '[tables]\nfile = "toy.npz"\n[grid]') + '\n[sky]\nbackground = "rate"\n'
    instrument = Instrument.load(write(text, wave=centres, rate=rate))
    np.testing.assert_array_equal(instrument.grid.wavelength, centres)
    conditions = instrument.fixed_conditions(1, exposure_time=100.0)
    np.testing.assert_allclose(instrument.noise.sky_counts(conditions)[0].numpy(), rate * 100, rtol=1e-6)
    response = instrument.noise_terms(conditions).response[0].numpy()
    assert response[-1] / response[0] == pytest.approx(2 * centres[-1] / centres[0], rel=1e-5)


def test_a_file_may_extend_a_preset_or_another_file(write):
    write('extends = "pfs_mr"\nname = "short"\n[conditions]\nexposure_count = 4\nmag = 20.0\n', "short.toml")
    path = write(
        'extends = "short.toml"\nname = "shorter"\n[conditions]\nexposure_time = 300.0\n', "shorter.toml"
    )
    instrument, parent = Instrument.load(path), Instrument.load("pfs_mr")
    conditions = instrument.fixed_conditions(1)
    assert [float(conditions[k][0]) for k in ("mag", "exposure_count", "exposure_time")] == [20.0, 4.0, 300.0]
    same = {**conditions}
    flux = torch.ones(1, 4096)
    torch.testing.assert_close(instrument.noise_sigma(flux, conditions), parent.noise_sigma(flux, same))
    assert instrument.name == "shorter"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("resolving_power", "resolvingpower"),
            r"lsf\.resolvingpower: unknown key; did you mean 'resolving_power'\? \(.*toy\.toml:11\)",
        ),
        (
            ("[detector]", "[detectors]"),
            r"detectors: unknown key; did you mean 'detector'|detector: is missing",
        ),
        (
            ("read_noise", "readnoise"),
            r"detector\.read(_)?noise: (unknown key; did you mean 'read_noise'\?|is missing)",
        ),
        (
            ("resolving_power = 5000", "resolving_power = -5"),
            r"lsf\.resolving_power: input should be greater than or equal to 1, got -5",
        ),
        (
            ("resolving_power = 5000", "resolving_power = nan"),
            r"lsf\.resolving_power: .*finite number, got nan",
        ),
        (("resolving_power = 5000", ""), r"lsf: give exactly one of resolving_power, fwhm, fwhm_pix"),
        (
            ("resolving_power = 5000", "fwhm = true"),
            r"lsf\.fwhm: expected a number, the name of a table, or \{ wavelength",
        ),
        (('kind = "gaussian"', 'kind = "lorentz"'), r"lsf: .*'gaussian', 'profile'"),
        (
            ("throughput = 0.3", "throughput = { wavelength = [2.0, 1.0], value = [1.0, 1.0] }"),
            r"object\.throughput: its nodes must increase",
        ),
        (
            ("throughput = 0.3", "throughput = { wavelength = [1.0, 2.0], values = [1.0, 1.0] }"),
            r"object\.throughput\.value(s)?: (unknown key; did you mean 'value'|is missing)",
        ),
        (("step = 0.5", ""), r"grid: give either start, pixels and one of step"),
        (("area = 1.0", ""), r"object\.area: is missing"),
        (
            ("low = 15.0", "lwo = 15.0"),
            r"conditions\.mag\.(lwo: unknown key; did you mean 'low'|low: is missing)",
        ),
        (
            ("low = 15.0, high = 17.0", "low = 17.0, high = 15.0"),
            r"conditions\.mag: low 17\.0 is not below high 15\.0",
        ),
        (("exposure_time = 600.0", 'exposure_time = "long"'), r"conditions\.exposure_time: .*got 'long'"),
        (
            ("exposure_count = 2", "exposure_count = 0"),
            r"conditions\.exposure_count = 0 .* is not inside 1 to",
        ),
        (("format_version = 1", "format_version = 2"), r"format_version: .*got 2"),
        (("[grid]", "[grid"), r"not valid TOML"),
    ],
)
def test_wrong_keys_and_values_name_file_and_key(write, change, message):
    assert change[0] in GOOD
    with pytest.raises(ConfigError, match=message) as caught:
        Instrument.load(write(GOOD.replace(*change)))
    assert "\n" not in str(caught.value)
    assert "toy.toml" in str(caught.value)


CENTRES = 8000.0 + 0.5 * np.arange(400)
WITH_TABLES = (
    GOOD.replace("start = 8000.0\nstep = 0.5\npixels = 400", 'table = "wave"')
    .replace("[grid]", '[tables]\nfile = "toy.npz"\n[grid]')
    .replace("throughput = 0.3", 'throughput = "eff"')
)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"wave": CENTRES}, r"object\.throughput: no table 'eff' in toy\.npz; tables there: wave"),
        (
            {"wave": CENTRES[::-1], "eff": np.full(400, 0.3)},
            r"table 'wave' in toy\.npz: wavelength: does not increase at pixel 1",
        ),
        (
            {"wave": CENTRES, "eff": np.full(399, 0.3)},
            r"table 'eff' in toy\.npz has shape \(399,\), expected \(400\)",
        ),
        (
            {"wave": CENTRES, "eff": np.where(CENTRES > 8100, np.nan, 0.3)},
            r"table 'eff' in toy\.npz is nan at index \(201,\)",
        ),
        (
            {"wave": CENTRES, "eff": np.where(CENTRES > 8100, -0.1, 0.3)},
            r"object\.throughput: -0\.1 at index 201 is negative",
        ),
        ({"wave": CENTRES, "eff": np.zeros(400)}, r"no light reaches any pixel"),
        ({"wave": CENTRES, "eff": np.full(400, "a")}, r"does not hold numbers"),
    ],
)
def test_wrong_tables_name_file_and_key(write, arrays, message):
    with pytest.raises(DataError, match=message):
        Instrument.load(write(WITH_TABLES, **arrays))


def test_missing_broken_or_changed_table_file(write, tmp_path):
    path = write(WITH_TABLES)
    with pytest.raises(DataError, match=r"toy\.toml: cannot read its table file .*toy\.npz"):
        Instrument.load(path)
    (tmp_path / "toy.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"toy\.npz is damaged: not a numpy npz file"):
        Instrument.load(path)
    write(WITH_TABLES, wave=CENTRES, eff=np.full(400, 0.3))
    good = hashlib.sha256((tmp_path / "toy.npz").read_bytes()).hexdigest()
    Instrument.load(write(WITH_TABLES.replace('"toy.npz"', f'"toy.npz"\nsha256 = "{good}"')))
    with pytest.raises(DataError, match="checksum is not the one stated"):
        Instrument.load(write(WITH_TABLES.replace('"toy.npz"', f'"toy.npz"\nsha256 = "{good[::-1]}"')))


@settings(deadline=None)
@given(st.data())
def test_a_damaged_table_file_is_read_or_refused_in_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    (folder / "damaged.toml").write_text(WITH_TABLES.replace("toy.npz", "damaged.npz"), encoding="utf-8")
    np.savez_compressed(folder / "damaged.npz", wave=CENTRES, eff=np.full(400, 0.3))
    content = bytearray((folder / "damaged.npz").read_bytes())
    for at, value in data.draw(
        st.dictionaries(st.integers(0, len(content) - 1), st.integers(0, 255), min_size=1, max_size=4)
    ).items():
        content[at] = value
    (folder / "damaged.npz").write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        Instrument.load(folder / "damaged.toml")
    except SpecvitError as error:
        refusal = str(error)
    else:
        return
    assert refusal.isprintable()
    assert "damaged" in refusal


def test_a_table_file_that_never_ends_is_refused(write, tmp_path, monkeypatch):
    monkeypatch.setattr("specvit.instrument.tables.LARGEST_TABLES", 10_000)
    with pytest.raises(DataError, match="is a folder or device"):
        Instrument.load(write(WITH_TABLES.replace("toy.npz", "/dev/zero")))
    path = write(WITH_TABLES)
    with zipfile.ZipFile(tmp_path / "toy.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wave.npy", bytes(10_001))
    with pytest.raises(DataError, match="unpacks to"):
        Instrument.load(path)


def test_pixel_wider_than_the_stated_line_is_refused(write):
    with pytest.raises(DataError, match=r"leaves no width for the optics beside a pixel of 0\.5 Å"):
        Instrument.load(write(GOOD.replace("resolving_power = 5000", "fwhm = 0.3")))
    Instrument.load(write(GOOD.replace("resolving_power = 5000", "fwhm = 0.3\nincludes_pixel = false")))


def test_pixels_far_narrower_than_a_line_are_a_mistyped_step(write):
    with pytest.raises(DataError, match=r"is 1600\d pixels of 0\.0001 Å.*larger grid\.step"):
        Instrument.load(write(GOOD.replace("step = 0.5", "step = 0.0001"))).observe(Emulator.builtin())


def test_unknown_instrument_is_named_with_its_nearest(tmp_path):
    with pytest.raises(
        ConfigError, match=r"'pfs_mx' is not known; choose .*gaia_rvs, .*pfs_mr.*; did you mean 'pfs_mr'\?$"
    ):
        Instrument.load("pfs_mx")
    with pytest.raises(ConfigError, match=r"nowhere\.toml does not exist"):
        Instrument.load(tmp_path / "nowhere.toml")


def test_a_file_that_extends_itself_is_refused(write):
    path = write('extends = "toy.toml"\nname = "toy"\n')
    with pytest.raises(ConfigError, match="cannot extend itself"):
        Instrument.load(path)


@pytest.mark.parametrize("name", instrument_names())
def test_presets_load_and_say_where_their_numbers_are_from(name):
    instrument = Instrument.load(name)
    assert instrument.name == name
    assert instrument.description
    assert instrument.source
    assert bool(np.isfinite(instrument.flat_source()).all())


def test_preset_tables_carry_their_provenance(checks):
    with np.load(INSTRUMENT.presets / "pfs_red_mr.npz") as tables:
        provenance = json.loads(str(tables["provenance"]))
        np.testing.assert_array_equal(tables["throughput"][checks["pixel"]], checks["throughput"])
    assert provenance["source_sha256"] == str(checks["source_sha256"])
    assert "MIT" in provenance["licence"]
