"""Every field of every document people write says what it is and how large it may be."""

import importlib
import json
from pathlib import Path

import pytest

import specvit
from specvit.documents import Section

#: Where the sections of documents that people write are; what specvit itself writes (manifests, records) is
#: checked for its kinds alone.
WRITTEN_BY_PEOPLE = (
    "specvit.jobs.config.",
    "specvit.instrument.",
    "specvit.estimators.options",
    "specvit.studies.",
    "specvit.hub.",
    "specvit.paper.",
)


def all_sections():
    """Return every section of the documents that people write."""
    source = Path(specvit.__file__).parent
    for path in source.rglob("*.py"):
        if "(Section)" in path.read_text(encoding="utf-8"):
            importlib.import_module(".".join(path.relative_to(source.parent).with_suffix("").parts))
    waiting, found = [Section], []
    while waiting:
        subclasses = [one for one in waiting.pop().__subclasses__() if one.__module__.startswith("specvit.")]
        found += subclasses
        waiting += subclasses
    written = {one for one in found if one.__module__.startswith(WRITTEN_BY_PEOPLE)}
    return sorted(written, key=lambda one: one.__qualname__)


def nodes_of(schema, path=()):
    """Yield every part of a JSON schema that speaks of a value, with its path."""
    if isinstance(schema, dict):
        if "type" in schema:
            yield path, schema
        for key in ("properties", "anyOf", "oneOf", "items", "prefixItems", "additionalProperties"):
            inner = schema.get(key)
            yield from nodes_of(
                list(inner.values()) if key == "properties" and inner else inner, (*path, key)
            )
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from nodes_of(inner, (*path, index))


def unbounded(model):
    """Return the parts of a model that may be of any size."""
    limits = {
        "integer": (("minimum", "exclusiveMinimum", "const"), ("maximum", "exclusiveMaximum", "const")),
        "number": (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")),
        "array": (("maxItems",),),
        "string": (("maxLength", "enum", "const"),),
    }
    found = []
    for path, node in nodes_of(model.model_json_schema()):
        needed = limits.get(node["type"], ())
        if (
            node["type"] == "object"
            and "additionalProperties" in node
            and node["additionalProperties"] is not False
        ):
            needed = (("maxProperties",),)
        if not all(any(key in node for key in keys) for keys in needed):
            found.append((path, json.dumps(node, ensure_ascii=False)))
    return found


SECTIONS = all_sections()


def test_there_are_sections_of_every_kind():
    assert {"Config", "TrainingConfig", "InstrumentDescription", "Nodes", "LightGBMSection"} <= {
        model.__name__ for model in SECTIONS
    }


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_count_size_and_number_is_bounded(model):
    assert unbounded(model) == []
    assert model.model_config["allow_inf_nan"] is False
    assert model.model_config["extra"] == "forbid"


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_field_says_what_it_is(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_an_unbounded_field_is_seen():
    class Careless(Section):
        count: int
        share: float
        names: list[str]
        by_name: dict[str, int]

    assert [json.loads(node)["type"] for _, node in unbounded(Careless)] == [
        *("integer", "number", "array", "string", "object", "integer")
    ]
