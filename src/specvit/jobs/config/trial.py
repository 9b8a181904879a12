"""The sections of a trial's configuration: one estimator, its training spectra, the stars it is judged by.

Trials are what studies compare (`specvit.studies`); a level of a study's factor is a set of these keys.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from specvit.documents import PathText, Section
from specvit.documents.problems import explain
from specvit.errors import ConfigError
from specvit.jobs.config.sections import (
    CONFIG_VERSION,
    MOST_LABELS,
    MOST_SPECTRA,
    InstrumentSection,
    LabelName,
    LibrarySection,
    Options,
    RunSection,
    StarsSection,
)

PriorName = Literal["uniform", "lattice"]
#: Å.
Wavelength = Annotated[float, Field(gt=0, le=1e7)]


class TrialStarsSection(StarsSection):
    """The simulated stars that an estimator learns from."""

    train: int = Field(
        default=20_000, ge=10, le=MOST_SPECTRA, description="training stars, of the set that is fixed"
    )
    validation: int = Field(
        default=1_000,
        ge=10,
        le=MOST_SPECTRA,
        description="validation spectra, for every choice made in a fit",
    )
    fresh_noise: bool = Field(
        default=True,
        description="networks that learn from the set see its stars with new noise in every pass",
    )
    visible_sigma: Literal["pipeline", "true"] = Field(
        default="pipeline",
        description="the sigma estimators are given; 'true' holds a noise-free copy of the spectrum, to show that leak",
    )


class EstimatorSection(Section):
    """The estimator."""

    name: PathText = Field(
        description="as in `specvit run --estimators`: an estimator, MODEL-SIZE of a network, the folder of a saved "
        "one, or module:Class of your own",
    )
    labels: tuple[LabelName, ...] = Field(
        default=("log_g",), max_length=MOST_LABELS, description="labels to estimate; none: all of the library"
    )
    options: Options = Field(default_factory=dict, description="of the estimator, by name")


class UpdatesSection(Section):
    """How long a network learns, and from which stars; other estimators read the training set whole."""

    updates: int = Field(default=1_000, ge=1, le=100_000_000, description="optimiser steps")
    from_set: bool = Field(
        default=False,
        description="learn from the stars of the set, again and again; else no star is seen twice",
    )
    options: Options = Field(
        default_factory=dict, description="of every network; those of the estimator come before these"
    )


class JudgedStarsSection(Section):
    """The test stars, the same for all trials of a study, and their exact posteriors."""

    stars: int = Field(default=2_000, ge=10, le=MOST_SPECTRA, description="test spectra")
    seed: int = Field(default=42, ge=0, lt=2**63, description="of test stars and posteriors")
    noise_level: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        default=None, description="factor on sigma of the test spectra; None: as in training"
    )
    prior: PriorName | None = Field(default=None, description="of the test stars; None: as in training")
    span: tuple[Wavelength, Wavelength] | None = Field(
        default=None,
        description="first and last wavelength (Å) of the test spectra; what lies outside is dead; None: all",
    )
    bank: int = Field(
        default=1 << 16,
        ge=64,
        le=1 << 24,
        description="points of the label box from which the sampler of posteriors starts",
    )

    @field_validator("span")
    @classmethod
    def _rises(cls, span: tuple[float, float] | None) -> tuple[float, float] | None:
        if span is not None and not span[0] < span[1]:
            raise ValueError(f"expected first < last, got {span[0]:g} and {span[1]:g}")
        return span


class TrialConfig(Section):
    """The whole configuration of a trial."""

    config_version: int = Field(
        default=CONFIG_VERSION, ge=1, le=CONFIG_VERSION, description="format of this file"
    )
    library: LibrarySection = Field(
        default=LibrarySection(), description="where noise-free spectra come from"
    )
    instrument: InstrumentSection = Field(default=InstrumentSection(), description="the spectrograph")
    simulate: TrialStarsSection = Field(default=TrialStarsSection(), description="the stars learnt from")
    estimator: EstimatorSection = Field(description="the estimator")
    training: UpdatesSection = Field(default=UpdatesSection(), description="the training of a network")
    test: JudgedStarsSection = Field(default=JudgedStarsSection(), description="the stars it is judged by")
    run: RunSection = Field(default=RunSection(name="trial", threads=1), description="folder and machine")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, ready for TOML or JSON."""
        return self.model_dump(mode="json")


def trial_config(tables: dict[str, Any], where: str) -> TrialConfig:
    """Return a configuration made of nested plain values.

    Args:
        tables: section -> key -> value.
        where: what messages call the place they come from.

    Raises:
        ConfigError: naming the key that cannot be meant, with the nearest that is known.
    """
    try:
        return TrialConfig.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(explain(error, TrialConfig, tables, lambda key: where)) from None
