"""Estimators of a user's own as a job sees them, for tests that bring their estimates along."""

import itertools
from pathlib import Path

from specvit.estimators import Choice, EstimatorSpec
from specvit.estimators.own import OTHER_MEANING
from specvit.estimators.table import free


def own_choice(key, title=None, meaning=OTHER_MEANING):
    """The choice of an estimator that is neither fitted nor loaded here."""

    def refuse(_):
        raise AssertionError("estimates are brought along")

    title = key if title is None else title
    return Choice(key, key, EstimatorSpec(key, title, meaning, "own", refuse, refuse, free, key), title)


DOCS = Path(__file__).parents[1] / "docs" / "survey.md"
_NUMBERS = itertools.count()


def own_class(folder, monkeypatch, right="", wrong=""):
    """Write the documentation's own class with `right` replaced by `wrong`, and return its module:Class."""
    text = DOCS.read_text().partition("```python\n")[2].partition("```")[0]
    assert right in text
    # A name of its own: Python imports a module once.
    module = f"own_class_{next(_NUMBERS)}"
    (folder / f"{module}.py").write_text(text.replace(right, wrong, 1))
    monkeypatch.syspath_prepend(folder)
    return f"{module}:Median"
