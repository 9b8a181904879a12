"""Estimators of a user's own as a job sees them, for tests that bring their estimates along."""

from specvit.estimators import Choice, EstimatorSpec
from specvit.estimators.choice import OTHER_MEANING
from specvit.estimators.table import free


def own_choice(key, title=None, meaning=OTHER_MEANING):
    """The choice of an estimator that is neither fitted nor loaded here."""

    def refuse(_):
        raise AssertionError("estimates are brought along")

    title = key if title is None else title
    return Choice(key, key, EstimatorSpec(key, title, meaning, "own", refuse, refuse, free, key), title)
