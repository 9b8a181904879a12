"""Estimators of a user's own, `module:Class`: found, asked for what they must have, and blamed by name."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from specvit.errors import ConfigError, DataError, SpecvitError
from specvit.estimators.spec import EstimatorSpec, Setting
from specvit.estimators.table import free
from specvit.models.prediction import Prediction

#: What every estimator has to have; see `specvit.models.Estimator`.
METHODS = ("fit", "predict", "save", "load")

#: Of an estimator that says nothing about itself.
OTHER_MEANING = (
    "An estimator of your own, fitted on the training spectra. The line is its R² on test spectra it has never "
    "seen, with the bootstrap interval."
)


def own_spec(name: str, key: str) -> tuple[EstimatorSpec, Path | None]:
    """Return the row of `module:Class`, that `key` names, and the file the class is written in; None if that is no file.

    Raises:
        ConfigError: if it cannot be imported or lacks a method of the protocol.
    """
    module, _, attribute = name.partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise ConfigError(
            f"{key}: '{name}' cannot be imported ({error}); give module:Class of a module on Python's path, "
            "e.g. with PYTHONPATH=."
        ) from error
    missing = [part for part in METHODS if not hasattr(cls, part)]
    if missing:
        raise ConfigError(
            f"{key}: {name} has no '{missing[0]}'; see specvit.models.Estimator for the protocol"
        )

    def build(setting: Setting) -> Any:
        with blamed(name, "__init__"):
            return cls(setting.labels, **setting.options)

    title, meaning = getattr(cls, "title", attribute), getattr(cls, "meaning", OTHER_MEANING)
    cost = getattr(cls, "cost", free)
    source = inspect.getsourcefile(cls) if inspect.isclass(cls) else None
    spec = EstimatorSpec(attribute, title, meaning, "own", build, cls.load, cost, attribute)
    return spec, None if source is None else Path(source)


@contextmanager
def blamed(name: str, method: str) -> Iterator[None]:
    """Say that a class of the user's own raised, and where: it is no bug in specvit.

    Raises:
        DataError: for anything the class raises that is no error of specvit's.
    """
    try:
        yield
    except SpecvitError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(
            f"{name}: {method} raised {type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
        ) from error


def check_prediction(name: str, prediction: object, spectra: int) -> None:
    """Raise DataError unless a class of the user's own answered with a prediction for every spectrum."""
    if not isinstance(prediction, Prediction):
        raise DataError(
            f"{name}: predict returned {type(prediction).__name__}, expected specvit.models.Prediction"
        )
    for part, values in (("mean", prediction.mean), ("std", prediction.std)):
        if values is not None and not isinstance(values, torch.Tensor):
            raise DataError(
                f"{name}: predict returned {part} as {type(values).__name__}, expected a tensor; see torch.as_tensor"
            )
    if len(prediction) != spectra:
        raise DataError(f"{name}: predict returned {len(prediction)} estimates for {spectra} spectra")
