"""What was identified by its content before there were newer keys keeps its identity."""

import json
from importlib.resources import files

import pytest

from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.simulate.identity import emulator_fingerprint, instrument_fingerprint

#: Of the presets before there were arms, segments and stated noise: pixels, spectrograph, library as it sees it.
KNOWN = {
    "gaia_rvs": ("45928c30b6d07b7e", "63c561109460552f", "ae0494d6ed6304c2"),
    "pfs_mr": ("2cd00ce611568cd4", "793e7715aaee0026", "10884e8788a64fa0"),
    "pfs_mr_etc": ("2cd00ce611568cd4", "6fd9af4816007ca7", "10884e8788a64fa0"),
    "pfs_mr_reference": ("2cd00ce611568cd4", "07bb50abc5705bd1", "10884e8788a64fa0"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_presets_keep_their_identity(name):
    instrument = Instrument.load(name)
    found = (
        instrument.grid.fingerprint,
        instrument_fingerprint(instrument),
        emulator_fingerprint(instrument.observe(Emulator.builtin())),
    )
    assert found == KNOWN[name]


@pytest.mark.parametrize("bundle", ["vit", "subspace"])
def test_the_networks_that_come_with_specvit_are_for_the_instrument_there_is(bundle):
    manifest = files("specvit.estimators") / "bundles" / bundle / "manifest.json"
    said = json.loads(manifest.read_text(encoding="utf-8"))
    world = said["training"]["train"]
    instrument = Instrument.load(world["instrument"])
    assert said["grid"]["fingerprint"] == instrument.grid.fingerprint == world["grid"]
    assert world["instrument_fingerprint"] == instrument_fingerprint(instrument)
    assert world["emulator"] == emulator_fingerprint(instrument.observe(Emulator.builtin()))
    assert said["lsf"] == instrument.lsf_nodes()
