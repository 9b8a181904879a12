"""Whatever stands in a result's file: it is told, or left out with a line, and never ends a view."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_results import made_result
from specvit.hub import hub_pages, read_knowledge
from specvit.hub.addresses import addresses_from
from specvit.hub.markdown import page_markdown
from specvit.paper import latex_problems, make_exhibits, number_macros, read_outline
from specvit.paper.outline import SHIPPED
from specvit.paper.project import project_files
from specvit.report.latex import latex_text

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
)


def places(value, path=()):
    """Every place in nested values."""
    if path:
        yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


@pytest.fixture(scope="module")
def whole(studies):
    return made_result(studies["classical"], "supported").model_dump(mode="json")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_result_with_anything_in_it_ends_nothing(whole, tmp_path, data):
    values = copy.deepcopy(whole)
    *way, last = data.draw(st.sampled_from(list(places(whole))))
    inside = values
    for key in way:
        inside = inside[key]
    if data.draw(st.booleans()):
        inside[last] = data.draw(JUNK)
    else:
        del inside[last]
    (tmp_path / "laptop").mkdir(exist_ok=True)
    (tmp_path / "laptop" / "classical.json").write_text(json.dumps(values), encoding="utf-8")
    knowledge = read_knowledge(tmp_path, "laptop")
    for page in hub_pages(knowledge):
        assert page_markdown(page, addresses_from(page.depth, ".md"))
    outline = read_outline(SHIPPED, knowledge)
    # Figures take time, and draw what tables hold.
    tables = tuple(one for one in outline.exhibits if one.kind in ("scores", "findings", "settings"))
    made, missing = make_exhibits(outline.model_copy(update={"exhibits": tables}), knowledge)
    files = project_files(outline, knowledge, made, missing)
    assert latex_problems(files) == []
    assert number_macros(knowledge) or knowledge.studies["classical"].counted is None


@given(st.text(max_size=60))
def test_any_text_is_sound_latex(text):
    body = f"\\begin{{document}}\n{latex_text(text)}\n\\end{{document}}"
    assert latex_problems({"main.tex": body}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source": {"work": "a", "claim": "b"}}, "no entry 'source.number'"),
        ({"made": {}}, "no entry 'made.date'"),
        ({"rule": "excess(vit) <="}, "entry 'rule'"),
    ],
)
def test_what_pages_quote_has_to_be_there(whole, tmp_path, change, told):
    (tmp_path / "laptop").mkdir()
    (tmp_path / "laptop" / "classical.json").write_text(json.dumps({**whole, **change}), encoding="utf-8")
    (problem,) = read_knowledge(tmp_path, "laptop").problems
    assert told in problem
    assert "specvit study run" in problem
