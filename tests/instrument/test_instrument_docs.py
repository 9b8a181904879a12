"""docs/instrument.md says what is true: every key, the shipped example, and code that runs."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from specvit.instrument import instrument_names
from specvit.instrument.conditions import CONDITIONS
from specvit.instrument.description import INSTRUMENT
from specvit.instrument.schema import ApertureSection, InstrumentDescription, ObscurationSection

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
