"""An instrument file that is accepted gives finite S/N under all conditions it states; others get one line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.documents import dump_toml
from specvit.errors import ConfigError, SpecvitError
from specvit.instrument import Instrument
from specvit.instrument.schema import InstrumentDescription

FULL = {
    "format_version": 1,
    "name": "toy",
    "description": "every term of the noise",
    "grid": {"start": 8000.0, "step": 0.5, "pixels": 12},
    "lsf": {"kind": "gaussian", "resolving_power": 5000.0},
    "band": {"name": "toy", "blue": 7900.0, "red": 8300.0, "edge_width": 50.0},
    "object": {
        "area": 1.0,
        "throughput": 0.3,
        "trace_fraction": 0.9,
        "transmission": 0.9,
        "extinction": 0.1,
        "aperture": 0.7,
        "vignetting": {"field_angle": [0.0, 0.4, 0.8], "value": [1.0, 0.8, 0.5]},
        "obscuration": {"centre": 0.1, "edge": 0.3, "edge_field_angle": 1.0, "reference": 0.9},
    },
    "sky": {
        "background": 0.1,
        "line_rate": 0.2,
        "continuum": 0.3,
        "line_airmass": 1.1,
        "fibre_radius_um": 60.0,
        "focal_length": 20.0,
        "throughput": 0.3,
        "extinction": 0.1,
    },
    "detector": {
        "read_noise": 3.0,
        "dark": 0.01,
        "width": 5.0,
        "stray": 0.02,
        "trace_pitch_pix": 6.0,
        "sky_floor": 0.01,
        "variance_factor": 1.0,
    },
    "pipeline": {"continuum_temperature": 4875.0},
    "conditions": {
        "mag": {"low": 15.0, "high": 17.0},
        "seeing": {"low": 0.5, "high": 1.0},
        "zenith_angle": {"low": 0.0, "high": 45.0},
        "field_angle": {"low": 0.0, "high": 0.7},
        "exposure_time": 600.0,
        "exposure_count": 2,
    },
}


def numbers(tables, prefix=()):
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from numbers(value, (*prefix, key))
        elif isinstance(value, float | int) and key not in ("pixels", "format_version"):
            yield (*prefix, key)


def with_changes(changes):
    """Return the full instrument with numbers replaced, key -> value."""
    tables = {**FULL}
    for (*table, key), value in changes.items():
        inner = tables
        for name in table:
            inner[name] = {**inner[name]}
            inner = inner[name]
        inner[key] = value
    return tables


def load(folder, tables):
    path = folder / "toy.toml"
    path.write_text(dump_toml(tables), encoding="utf-8")
    return Instrument.load(path)


def snr_of(instrument, count=64):
    conditions = instrument.sample_conditions(count, torch.Generator().manual_seed(1))
    flux = torch.from_numpy(instrument.flat_source()).float().expand(count, -1)
    sigma = instrument.noise_sigma(flux, conditions, check=True)
    level = flux.median(1).values
    return torch.cat([flux / sigma, flux / instrument.pipeline_sigma(level, conditions)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("instruments")


def test_the_full_instrument_is_sound(folder):
    assert 1 < float(snr_of(load(folder, FULL)).median()) < 1e4


magnitudes = st.floats(-320, 308).map(lambda exponent: 10.0**exponent)
values = st.one_of(magnitudes, st.sampled_from([0.0, 1.0, -1.0, 60.0]), st.floats(0.0, 2.0))
changes = st.dictionaries(st.sampled_from(sorted(numbers(FULL))), values, min_size=1, max_size=4)


def check_finite_or_refused(folder, changes):
    try:
        snr = snr_of(load(folder, with_changes(changes)))
    except SpecvitError as error:
        refusal = str(error)
    else:
        assert bool(torch.isfinite(snr).all())
        assert bool((snr > 0).all())
        return
    assert refusal.isprintable()
    assert "toy.toml" in refusal


@settings(deadline=None)
@given(changes)
def test_an_accepted_instrument_gives_finite_snr_and_others_one_line(folder, changes):
    check_finite_or_refused(folder, changes)


@st.composite
def extremes(draw):
    """Values at the very ends of what the schema allows, where combinations go wrong."""
    keys = draw(st.lists(st.sampled_from(sorted(numbers(FULL))), min_size=1, max_size=6, unique=True))
    schema = InstrumentDescription.model_json_schema()
    found = {}
    for key in keys:
        ends = ends_of(schema, key)
        if ends is not None:
            found[key] = draw(st.sampled_from(ends))
    return found


def ends_of(schema, key):
    """Return the bounds of the number `key`, or None where only the instrument knows them (conditions)."""
    if key[0] in ("conditions", "lsf") or "vignetting" in key:
        return None
    node = schema
    for part in key:
        node = resolved(schema, node)["properties"][part]
    while several := node.get("anyOf", node.get("oneOf")):
        node = several[0]
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    return [float(low), float(high)]


def resolved(schema, node):
    """Return what a reference in a JSON schema stands for."""
    node = next((one for one in node.get("anyOf", ()) if "$ref" in one), node)
    return schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


@settings(deadline=None)
@given(extremes())
def test_the_ends_of_the_ranges_give_finite_snr_or_one_line(folder, changes):
    check_finite_or_refused(folder, changes)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({("sky", "extinction"): 1e5}, "sky.extinction"),
        ({("detector", "variance_factor"): 1e308}, "detector.variance_factor"),
        ({("object", "aperture"): 0.0}, "object.aperture"),
        ({("object", "obscuration", "edge_field_angle"): 0.1}, "object.obscuration"),
        ({("pipeline", "continuum_temperature"): 1.0}, "pipeline.continuum_temperature"),
        ({("sky", "background"): 1e8, ("conditions", "exposure_time"): 1e6, ("conditions", "exposure_count"): 1e6,
          ("detector", "variance_factor"): 1e4}, "sky.background"),
        ({("conditions", "mag"): 40.0, ("conditions", "exposure_time"): 1e-3, ("detector", "read_noise"): 1e5,
          ("detector", "width"): 1e5, ("detector", "variance_factor"): 1e4}, "detector.read_noise"),
        ({("object", "vignetting", "value"): [1.0, 0.0, 1.0]}, "object.vignetting"),
    ],
)  # fmt: skip
def test_the_fields_at_fault_are_named(folder, changes, fields):
    with pytest.raises(ConfigError, match=fields) as caught:
        load(folder, with_changes(changes))
    assert "toy.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("object.extinction", 1e3),
        ("sky.line_rate", 1e300),
        ("sky.background", -1.0),
        ("object.throughput", 2.0),
    ],
)
@pytest.mark.parametrize("form", ["number", "nodes", "table"])
def test_a_range_holds_whichever_way_a_quantity_is_given(folder, key, value, form):
    section, name = key.split(".")
    forms = {
        "number": value,
        "nodes": {"wavelength": [8000.0, 8100.0], "value": [value, value]},
        "table": "bad",
    }
    np.savez(folder / "toy.npz", bad=np.full(12, value))
    tables = with_changes({(section, name): forms[form], ("tables",): {"file": "toy.npz"}})
    with pytest.raises(SpecvitError, match=rf"{key}.*: .*(less|greater|outside|negative)"):
        load(folder, tables)
