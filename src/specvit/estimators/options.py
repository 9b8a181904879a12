"""Which options of an estimator a job may set, and in which ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import Field, ValidationError

from specvit.documents import Section
from specvit.documents.problems import explain
from specvit.errors import ConfigError
from specvit.inference.estimator import HIGHEST_ORDER
from specvit.models.options import unknown_option
from specvit.models.view import View

Penalty = Annotated[float, Field(ge=0, le=1e30)]
Components = Annotated[int, Field(ge=1, le=100_000)]


class ViewSection(Section):
    """Options of what an estimator sees of a spectrum, see `View`."""

    view: Annotated[str, Field(max_length=40)] | None = Field(
        default=None,
        description="form of the spectrum, as polynomial-3, spline-12, running-median-301, whitened",
    )
    seen: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="pixels that are seen: gravity, fisher-K or peaks-K; None for all"
    )
    noisiest: Annotated[float, Field(ge=0, le=0.9)] | None = Field(
        default=None, description="share of each spectrum's pixels, the noisiest, that are not seen"
    )


class RidgeSection(ViewSection):
    """Options of `Ridge`."""

    alphas: tuple[Penalty, ...] | None = Field(
        default=None, min_length=1, max_length=1000, description="penalties to try; None takes its own"
    )
    standardise: bool = Field(
        default=True, description="divide each pixel by its spread over the training set"
    )


class PCARidgeSection(RidgeSection):
    """Options of `PCARidge`."""

    components: tuple[Components, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="numbers of components to try; None takes its own",
    )


class PLSSection(ViewSection):
    """Options of `PLS`."""

    components: Components | None = Field(
        default=None, description="most components to try; None takes its own"
    )
    standardise: bool = Field(
        default=True, description="divide each pixel by its spread over the training set"
    )


class LightGBMSection(ViewSection):
    """Options of `LightGBM` that a job may set."""

    rounds: int = Field(
        default=2_500, ge=1, le=100_000, description="trees at most; fewer if validation stops improving"
    )
    learning_rate: float = Field(default=0.05, gt=0, le=1, description="shrinkage per tree")
    leaves: int = Field(default=31, ge=2, le=4096, description="leaves per tree")
    feature_fraction: float = Field(
        default=0.1, gt=0, le=1, description="share of pixels offered to each tree"
    )
    # LightGBM keeps up to 255 bins in a byte.
    max_bin: int = Field(default=63, ge=2, le=255, description="histogram bins per pixel")
    early_stopping: int = Field(
        default=60, ge=1, le=100_000, description="trees without improvement before stopping"
    )
    standardise: bool | None = Field(
        default=None, description="bring each pixel to unit deviation first; trees should not notice"
    )


class TemplateFitSection(Section):
    """Options of `TemplateFit`."""

    order: int = Field(default=0, ge=0, le=HIGHEST_ORDER, description="of the multiplicative continuum")
    starts: int = Field(default=4, ge=1, le=1000, description="per spectrum")


class PosteriorMeanSection(Section):
    """Options of `PosteriorMean`: none that a job sets."""


def with_view(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as the estimator takes them: those of `ViewSection` as one `View`, which may refuse them."""
    own = dict(options)
    form, seen, noisiest = own.pop("view", ""), own.pop("seen", ""), own.pop("noisiest", 0.0)
    view = View(form, seen, noisiest)
    return own if view.is_plain else {**own, "view": view}


def checked_options(who: str, kind: type[Section], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as `kind` reads them, without those that are left to the estimator.

    Several values may come as one text, separated by commas, as a command line gives them.

    Raises:
        ConfigError: for one that is not known or out of range; names it.
    """
    where = f"models.options.{who}"
    for name in options:
        if name not in kind.model_fields:
            raise unknown_option(where, name, list(kind.model_fields) or ["none"])
    options = {
        name: value.split(",") if isinstance(value, str) and _takes_several(kind, name) else value
        for name, value in options.items()
    }
    try:
        found = kind.model_validate(options)
    except ValidationError as error:
        raise ConfigError(explain(error, kind, options, lambda key: ".".join((where, *key)))) from None
    known = {name: value for name, value in dict(found).items() if value is not None}
    with_view(known)
    return known


def _takes_several(kind: type[Section], name: str) -> bool:
    annotation = kind.model_fields[name].annotation
    return any(get_origin(one) is tuple for one in (annotation, *get_args(annotation)))
