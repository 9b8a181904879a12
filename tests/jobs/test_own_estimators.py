"""Classes of a user's own in a survey: what they get wrong is theirs, and what they are is their content."""

import re

import pytest

from own_estimators import own_class
from small_surveys import settings
from specvit.errors import ConfigError, DataError
from specvit.estimators import choose
from specvit.jobs.survey import estimator_identity, run_survey

WRONG = {
    "def __init__(self, labels=None):": ("def __init__(self):", "__init__ raised TypeError"),
    "return self\n": ("raise RuntimeError('boom')\n", "fit raised RuntimeError: boom"),
    "self.values.expand(len(flux), -1).clone()": (
        "self.values.expand(len(flux), -1).numpy()",
        "returned mean as ndarray",
    ),
    "self.values.expand(len(flux), -1)": ("self.values.expand(2, -1)", "2 estimates for"),
    "return Prediction(": ("return list(", "predict raised TypeError"),
}


@pytest.mark.parametrize("right", WRONG)
def test_a_mistake_in_a_class_of_ones_own_is_named_with_the_class(right, tmp_path, monkeypatch):
    wrong, words = WRONG[right]
    name = own_class(tmp_path, monkeypatch, right, wrong)
    with pytest.raises(DataError, match=re.escape(name)) as caught:
        run_survey(settings(tmp_path / "runs", f'models.names=["{name}"]', "limits.bayes_stars=0"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_edited_class_of_ones_own_is_another_estimator(tmp_path, monkeypatch):
    name = own_class(tmp_path, monkeypatch)
    before = estimator_identity(choose(name))
    assert estimator_identity(choose(name)) == before
    path = tmp_path / f"{name.partition(':')[0]}.py"
    path.write_text(path.read_text().replace("median(dim=0).values", "mean(dim=0)"))
    assert estimator_identity(choose(name)) != before


def test_options_go_by_the_name_of_the_class(tmp_path, monkeypatch):
    name = own_class(tmp_path, monkeypatch, 'title = "Median"', 'name = "other"')
    choice = choose(name)
    assert choice.key == choice.spec.name == "Median"


def test_an_attribute_that_is_no_table_of_facts_is_none(tmp_path, monkeypatch):
    name = own_class(tmp_path, monkeypatch, 'title = "Median"', 'choice = "abc"')
    run = run_survey(settings(tmp_path / "runs", f'models.names=["{name}"]', "limits.bayes_stars=0"))
    assert run.finished


def test_a_module_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    name = own_class(tmp_path, monkeypatch, "import json", "import json\nundefined_name")
    with pytest.raises(ConfigError, match="name 'undefined_name' is not defined"):
        choose(name)
