"""Small run folders with every part a report can show."""

import pytest

from made_runs import write_run
from own_estimators import own_choice


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A finished run; tests read it and do not change it."""
    return write_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def many_models(tmp_path_factory):
    """A finished run of eight models, five of which state errors; tests do not change it."""
    names = ("ridge", "pls", "lightgbm", "mlp-nano", "cnn-nano", "vit-nano", "template", "posterior")
    return write_run(tmp_path_factory.mktemp("many"), models=names, count=800)


@pytest.fixture(scope="session")
def three_labels(tmp_path_factory):
    """A finished run of three labels, one of whose estimators knows the target only; tests do not change it."""
    return write_run(
        tmp_path_factory.mktemp("labels"),
        labels=("log_g", "teff", "m_h"),
        models=("ridge", "lightgbm", "vit-nano"),
        shorter=("lightgbm",),
    )


@pytest.fixture(scope="session")
def training_run(tmp_path_factory):
    """A finished training: one network, no ceiling, no examples; tests do not change it."""
    return write_run(tmp_path_factory.mktemp("training"), models=("vit-nano",), ceiling=False, examples=False)


@pytest.fixture(scope="session")
def leaky(tmp_path_factory):
    """A finished run of which one estimator sees the truth; tests do not change it."""
    return write_run(tmp_path_factory.mktemp("leak"), models=("ridge", own_choice("leak")), examples=False)


@pytest.fixture
def make_run(tmp_path):
    """Write a run with some parts changed into a folder of the test's own."""

    def make(**parts):
        return write_run(tmp_path, **parts)

    return make
