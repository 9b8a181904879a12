"""What a saved linear estimator says of itself beside its arrays: options, labels and choices, typed."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from specvit.documents import Section
from specvit.models.view import View


class LinearOptions(Section):
    """Options all linear estimators have."""

    labels: tuple[str, ...] | None
    standardise: bool
    #: Absent in those that see spectra as they are.
    view: View | None = None


class RidgeOptions(LinearOptions):
    """Options of `Ridge`."""

    alphas: tuple[float, ...]


class PCARidgeOptions(RidgeOptions):
    """Options of `PCARidge`."""

    components: tuple[int, ...]


class PLSOptions(LinearOptions):
    """Options of `PLS`."""

    components: int


Options = TypeVar("Options", bound=LinearOptions)


class LinearSettings(Section, Generic[Options]):
    """The settings of a saved linear estimator."""

    names: tuple[str, ...]
    options: Options
    choice: dict[str, dict[str, Any]]
