"""Every number of every verdict is a macro, and no two are one."""

import re

import pytest

from made_results import made_result
from specvit.documents import dump_toml
from specvit.errors import ConfigError
from specvit.hub import read_knowledge
from specvit.paper import number_macros
from specvit.paper.numbers import letters, macro_name
from specvit.runs.study_result import write_study_result
from specvit.studies import read_study


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("kernel", "k9", "expected_r2"), "svKernelKNineExpectedRTwo"),
        (("data-scaling", "vit/few", "mae", "Low"), "svDataScalingVitFewMaeLow"),
        (("chunks", "EffectA"), "svChunksEffectA"),
    ],
)
def test_names_hold_letters_only(parts, name):
    assert macro_name(*parts) == name


def test_comparisons_have_letters_without_end():
    assert [letters(at) for at in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]


def test_every_number_of_a_verdict_is_there(knowledge):
    macros = number_macros(knowledge)
    assert all(re.fullmatch("sv[A-Za-z]+", name) for name in macros)
    for known in knowledge.judged:
        for variant, facts in known.result.variants.items():
            for measure, score in facts.scores["all"].items():
                text = macros[macro_name(known.id, variant, measure)]
                assert float(text.replace("$-$", "-")) == pytest.approx(score.value, abs=0.0006)
                assert macro_name(known.id, variant, measure, "High") in macros
        for at in range(len(known.result.claims)):
            assert macro_name(known.id, f"Effect{letters(at)}", "Detectable") in macros
    assert macros["svKernelVerdict"] == "refuted"
    assert macros["svKernelEffectA"] == "0.020"
    assert not any("Lattice" in name for name in macros)


def test_two_levels_of_one_name_are_told_apart_or_refused(studies, tmp_path):
    catalogue = tmp_path / "mine"
    catalogue.mkdir()
    values = studies["kernel"].model_dump(mode="json", exclude={"entries", "slices", "scales"})
    levels = values["factors"]["kernel"]
    values |= {"id": "mine", "factors": {"kernel": {**levels, "k-9": {}, "k.9": {}}}}
    (catalogue / "mine.toml").write_text(dump_toml(values), encoding="utf-8")
    result = made_result(read_study(catalogue / "mine.toml"), "supported")
    write_study_result(tmp_path / "results", result)
    with pytest.raises(ConfigError, match=r"would both be \\svMineKNine"):
        number_macros(read_knowledge(tmp_path / "results", "laptop", catalogue))
