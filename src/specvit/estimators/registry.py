"""Which saved name belongs to which estimator. Owns the list; each estimator knows its own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from specvit.errors import DataError
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.inference import PosteriorMean, TemplateFit
from specvit.models.bundle import load_bundle
from specvit.models.linear import PLS, PCARidge, Ridge
from specvit.models.protocol import Estimator
from specvit.models.trees import LightGBM

_CLASSES = (Ridge, PCARidge, PLS, LightGBM, TemplateFit, PosteriorMean)
ESTIMATORS: dict[str, Any] = {cls.name: cls for cls in _CLASSES} | {"network": NetworkEstimator}


def load_estimator(folder: Path) -> Estimator:
    """Read whichever estimator `folder` holds; DataError if it is unknown, changed or incomplete."""
    name = load_bundle(folder).estimator
    if name not in ESTIMATORS:
        raise DataError(f"{folder}: unknown estimator '{name}'; this specvit knows {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name].load(folder)
