"""What stored sets say of their spectra is that of their spectrograph: nothing stays the same when it changes but what must."""

import json

import h5py
import pytest

from specvit.simulate import World, WriteJob

#: Neither the spectrograph nor its band, pixels or line-spread function are in these.
OF_EVERY_SET = {
    "@format", "@format_version", "@specvit_version", "@split", "@seed", "@start", "@stop", "@label_space", "@medium",
    "flux@unit", "sigma@unit", "labels@unit", "snr@unit", "wavelength@unit",
    *(f"conditions/{name}@unit" for name in
      ("seeing", "zenith_angle", "field_angle", "moon", "exposure_time", "exposure_count")),
}  # fmt: skip


def words_of(instrument, folder):
    WriteJob(folder, World(instrument=instrument), "train", 1, 40).run()
    (shard,) = folder.glob("*.h5")
    said = {}
    with h5py.File(shard) as file:

        def keep(name, node):
            said.update({f"{name}@{key}": str(value) for key, value in node.attrs.items()})

        keep("", file)
        file.visititems(keep)
    return said, json.loads((folder / "manifest.json").read_text())


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return {
        name: words_of(name, folder / name) for name in ("pfs_mr_reference", "gaia_rvs", "lamost_lrs_red")
    }


@pytest.mark.parametrize("other", ["gaia_rvs", "lamost_lrs_red"])
def test_what_is_said_changes_with_the_spectrograph(sets, other):
    (mine, manifest), (theirs, their_manifest) = sets["pfs_mr_reference"], sets[other]
    same = {key for key in mine if mine[key] == theirs[key]}
    assert mine.keys() == theirs.keys()
    assert same == OF_EVERY_SET
    for key in ("emulator", "instrument_fingerprint", "world"):
        assert manifest[key] != their_manifest[key]


def test_the_magnitudes_name_their_band(sets):
    units = {name: said["conditions/mag@unit"] for name, (said, _) in sets.items()}
    assert units == {"pfs_mr_reference": "AB, HSC-i", "gaia_rvs": "AB, RVS", "lamost_lrs_red": "AB, i"}
