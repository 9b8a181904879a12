"""What a fitted estimator was made for and from: pixels, labels, line-spread function, and how it was trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, field_validator
from torch import Tensor

from specvit.documents import Section
from specvit.models.domain import InputDomain
from specvit.models.prediction import Diagnostics
from specvit.spectra import LabelSpace, SpectraSource, WavelengthGrid


class TrainingRecord(Section):
    """How an estimator was fitted; what is not known, or does not apply, is None.

    `train` and `validation` are what the sources of the spectra say of themselves (`provenance`), JSON-ready;
    simulated spectra state their `world` there.
    """

    train_spectra: int | None = Field(default=None, ge=0, description="spectra seen, with repeats")
    validation_spectra: int | None = Field(default=None, ge=0)
    train: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    start: str | None = Field(default=None, description="what the first layer began with")
    steps: int | None = Field(default=None, ge=0, description="optimiser steps")
    seconds: float | None = Field(default=None, ge=0, description="wall time")
    best_step: int | None = Field(default=None, ge=0, description="step whose weights were kept")
    best_weights: str | None = Field(default=None, description="raw or average")
    validation_r2: float | None = None
    recipe: dict[str, Any] | None = None
    device: str | None = None
    processes: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    date: str | None = Field(default=None, description="ISO 8601")
    calibration_spectra: int | None = Field(
        default=None, ge=0, description="spectra that corrected the stated errors"
    )
    facts: dict[str, Any] = Field(default={}, description="anything else worth keeping, JSON-ready")

    @field_validator("train", "validation")
    @classmethod
    def _world_has_entries(cls, source: dict[str, Any] | None) -> dict[str, Any] | None:
        if source is not None and not isinstance(source.get("world"), dict | None):
            raise ValueError("world: expected entries by name, or null")
        return source

    @property
    def world(self) -> dict[str, Any] | None:
        """The simulated world of the training spectra, if they state one."""
        return (self.train or {}).get("world")

    def with_entries(self, entries: dict[str, Any]) -> TrainingRecord:
        """Return the record with entries replaced, checked like all others."""
        # `model_copy` would not check the new entries.
        return TrainingRecord(**{**self.to_dict(), **entries})

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as JSON-ready values."""
        return {name: value for name, value in self if value is not None and value != {}}


@dataclass(frozen=True)
class Origin:
    """What a fitted estimator was made for and from.

    Args:
        grid: the pixels it expects.
        label_space: names, units and bounds of the training labels.
        training: how it was fitted.
        lsf: line-spread function of the training spectra, {"wavelength": [Å], "fwhm": [Å]}; None if unknown.
        domain: judges whether spectra are like those of the training; None if these do not say what they are
            without noise, as the subspace it judges by is found from that.
    """

    grid: WavelengthGrid
    label_space: LabelSpace
    training: TrainingRecord = field(default_factory=TrainingRecord)
    lsf: dict[str, list[float]] | None = None
    domain: InputDomain | None = None

    @classmethod
    def of(cls, train: SpectraSource, validation: SpectraSource) -> Origin:
        """Describe two sources by their size, provenance, what the spectra of the first look like, and its LSF."""
        training = TrainingRecord(
            train_spectra=len(train),
            validation_spectra=len(validation),
            train=train.provenance,
            validation=validation.provenance,
        )
        domain = InputDomain.fit(train, validation)
        return cls(train.grid, train.label_space, training, train.lsf, domain)


def judged(origin: Origin, flux: Tensor, sigma: Tensor) -> Diagnostics | None:
    """Return the verdict on spectra (B, L), each in any one unit; None for an estimator without a domain."""
    return None if origin.domain is None else origin.domain.judge(flux, sigma)
