"""docs/instrument.md says what is true: every key, the shipped example, and code that runs."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from described import calculator_outputs
from specvit.cli import main
from specvit.instrument import Instrument, instrument_names
from specvit.instrument.conditions import CONDITIONS
from specvit.instrument.description import INSTRUMENT
from specvit.instrument.performance import curves
from specvit.instrument.schema import ApertureSection, InstrumentDescription, ObscurationSection
from specvit.simulate import Simulator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "instrument.md"


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_every_key_is_documented(text):
    table = text[text.index("### Keys") :]
    for section, field in InstrumentDescription.model_fields.items():
        models = [m for m in (field.annotation, *get_args(field.annotation)) if hasattr(m, "model_fields")]
        keys = [key for model in models for key in model.model_fields]
        if section == "conditions":
            keys = []
        for key in keys:
            assert f"`{section}.{key}`" in table or f"`.{key}`" in table, f"{section}.{key}"
        assert keys or f"`{section}" in table, section
    for model in (ApertureSection, ObscurationSection):
        for key in model.model_fields:
            assert f"`{key}`" in table, key
    for name in CONDITIONS:
        assert f"`{name}`" in table, name


def test_every_preset_is_described(text):
    for name in instrument_names():
        assert f"| `{name}` |" in text


def test_the_example_is_the_shipped_preset(text):
    (example,) = (block for block in blocks(text, "toml") if 'name = "gaia_rvs"' in block)
    shipped = (INSTRUMENT.presets / "gaia_rvs.toml").read_text(encoding="utf-8")
    assert tomllib.loads(example) == tomllib.loads(shipped)


EXAMPLES = [
    block for block in blocks(PAGE.read_text(encoding="utf-8"), "toml") if block.startswith("format_version")
]


def test_there_are_six_complete_examples():
    assert len({tomllib.loads(example)["name"] for example in EXAMPLES}) == len(EXAMPLES) == 6


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: tomllib.loads(example)["name"])
def test_a_complete_example_is_an_instrument_that_sees_the_library(example, tmp_path, capsys):
    calculator_outputs(tmp_path)
    name = tomllib.loads(example)["name"]
    path = tmp_path / f"{name}.toml"
    path.write_text(example, encoding="utf-8")
    assert main(["instrument", "check", str(path)]) == 0
    assert name in capsys.readouterr().out
    simulator = Simulator.build(str(path))
    batch = simulator.draw("train", 1, 0, 8)
    assert bool(torch.isfinite(batch.flux).all())
    assert bool((batch.snr > 0.3).all())
    assert bool((batch.snr < 1000).all())
    grid = simulator.grid
    assert grid.medium == "vacuum"
    assert 6999 < grid.start < grid.stop < 8950
    if name == "desi_rz":
        assert [len(simulator.instrument.arms), len(grid.segments)] == [2, 2]
        assert grid.wavelength[grid.arms[0]] < grid.wavelength[grid.arms[0] - 1]
    if name == "weave_two_ccds":
        assert not grid.covers(7590, 7660)
    if name == "muse_cube":
        # 7010 Å in air, a multiple of the step from the start, is 7011.93 Å.
        assert np.abs(grid.wavelength - 7011.93).min() < 0.01
    if name == "lamost_snr":
        found = curves(simulator.instrument, {}).snr
        nodes = tomllib.loads(example)["noise"]["snr"]
        np.testing.assert_allclose(found, np.interp(grid.wavelength, *nodes.values()), rtol=1e-5)
    if name == "pfs_by_calculator":
        assert grid.size == 200


def test_an_extending_example_is_an_instrument(text, tmp_path):
    (example,) = (block for block in blocks(text, "toml") if block.startswith("extends"))
    (tmp_path / "mine.toml").write_text(example, encoding="utf-8")
    assert Instrument.load(tmp_path / "mine.toml").fixed_conditions(1)["exposure_count"].item() == 4


def test_the_python_example_runs(text):
    (example,) = blocks(text, "python")
    namespace = {}
    exec(example, namespace)
    assert namespace["sigma"].shape == namespace["visible"].shape == (1, 4096)
    assert 0.5 < float((namespace["visible"] / namespace["sigma"]).median()) < 2


def ranges_of(schema, node, key=""):
    """Yield every number of an instrument file with its range as the page writes it."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    for part in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from ranges_of(schema, part, key)
    if node.get("type") in ("number", "integer") and "const" not in node:
        low = f"{node['minimum']:g}" if "minimum" in node else f"above {node['exclusiveMinimum']:g}"
        high = f"{node['maximum']:g}" if "maximum" in node else f"below {node['exclusiveMaximum']:g}"
        yield f"| `{key}` | {low} to {high} |"
    for name, inner in node.get("properties", {}).items():
        if name not in ("conditions", "wavelength", "field_angle", "value"):
            yield from ranges_of(schema, inner, f"{key}.{name}".lstrip("."))


def test_every_range_is_documented(text):
    schema = InstrumentDescription.model_json_schema()
    expected = list(dict.fromkeys(ranges_of(schema, schema)))
    table = text[text.index("### Ranges") :].split("\n\n")[3].splitlines()
    assert table[2:] == expected
    assert len(expected) > 30
