"""What a fitted estimator was made for and from: pixels, labels, line-spread function, and how it was trained."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from specvit.documents import Section
from specvit.models.domain import InputDomain
from specvit.models.prediction import Diagnostics
from specvit.spectra import LabelSpace, SpectraBatch, SpectraSource, WavelengthGrid, take

Positive = Annotated[float, Field(gt=0)]


class TrainingRecord(Section):
    """How an estimator was fitted; what is not known, or does not apply, is None.

    `train` and `validation` are what the sources of the spectra say of themselves (`provenance`), JSON-ready;
    simulated spectra state their `world` there.
    """

    train_spectra: int | None = Field(default=None, ge=0, description="spectra seen, with repeats")
    validation_spectra: int | None = Field(default=None, ge=0)
    snr: tuple[Positive, Positive] | None = Field(
        default=None,
        description="smallest and largest S/N of the validation spectra, as the training ones have it",
    )
    train: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    start: str | None = Field(default=None, description="what the first layer began with")
    steps: int | None = Field(default=None, ge=0, description="optimiser steps")
    seconds: float | None = Field(default=None, ge=0, description="wall time")
    best_step: int | None = Field(default=None, ge=0, description="step whose weights were kept")
    best_weights: str | None = Field(default=None, description="raw or average")
    validation_r2: float | None = None
    validation_negative_loss: float | None = Field(
        default=None, description="where the loss chose the weights"
    )
    recipe: dict[str, Any] | None = None
    device: str | None = None
    processes: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    date: str | None = Field(default=None, description="ISO 8601")
    pretraining: dict[str, Any] | None = Field(
        default=None, description="what the body learnt before labels: task, steps, spectra, score"
    )
    refinement: dict[str, Any] | None = Field(
        default=None, description="how its step for bright stars was learnt: sizes, spectra, steps, gain"
    )
    calibration_spectra: int | None = Field(
        default=None, ge=0, description="spectra that corrected the stated errors"
    )
    facts: dict[str, Any] = Field(default={}, description="anything else worth keeping, JSON-ready")

    @field_validator("snr")
    @classmethod
    def _from_low_to_high(cls, snr: tuple[float, float] | None) -> tuple[float, float] | None:
        if snr is not None and snr[0] > snr[1]:
            raise ValueError(f"snr: {snr[0]:g} is above {snr[1]:g}")
        return snr

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

    @property
    def stars(self) -> str | None:
        """The prior of the training stars by its name; None if they state no world."""
        prior = (self.world or {}).get("prior")
        return None if prior is None else f"{prior}"

    def with_entries(self, entries: dict[str, Any]) -> TrainingRecord:
        """Return the record with entries replaced, checked like all others."""
        # `model_copy` would not check the new entries.
        return TrainingRecord(**{**self.to_dict(), **entries})

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as JSON-ready values."""
        return {
            name: value for name, value in self.model_dump(mode="json").items() if value not in (None, {})
        }


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

    @property
    def purpose(self) -> str:
        """Which spectra it is for, in one line: frame, pixels, S/N, and the stars it knows."""
        space, snr = self.label_space, self.training.snr
        boxes = ", ".join(
            f"{name} {low:g} to {high:g} {unit}".rstrip()
            for name, unit, low, high in zip(space.names, space.units, space.low, space.high, strict=True)
        )
        seen = "" if snr is None else f", S/N {snr[0]:.3g} to {snr[1]:.3g} per pixel"
        prior = "" if self.training.stars is None else f"prior {self.training.stars}, "
        return f"spectra in the rest frame, {self.grid.describe()}{seen}, of stars like its training's: {prior}{boxes}"

    @classmethod
    def of(cls, train: SpectraSource, validation: SpectraSource) -> Origin:
        """Describe two sources by their size, provenance, what the spectra of the first look like, and its LSF."""
        training = TrainingRecord(
            train_spectra=len(train),
            validation_spectra=len(validation),
            train=train.provenance,
            validation=validation.provenance,
        )
        return cls(train.grid, train.label_space, training, train.lsf, _domain_of(train, validation))


#: Domains of the last sources described: all estimators of a survey learn from the same.
_DOMAINS: OrderedDict[str, InputDomain | None] = OrderedDict()
DOMAINS_KEPT = 4

#: Spectra by which sources are compared beside what they say of themselves.
COMPARED = 32


def sources_digest(train: SpectraSource, validation: SpectraSource) -> str:
    """Return a digest of what two sources say of themselves and of their first spectra."""
    seen = hashlib.sha256()
    for source in (train, validation):
        seen.update(f"{source.provenance.get('identity')} {len(source)}".encode())
        # A source that says the same of other spectra, as one of a user's own may, is found out by some of them.
        first = take(source, COMPARED)
        none = torch.empty(0)
        clean = none if first.truth is None else first.truth.flux
        for values in (first.flux, first.sigma, none if first.labels is None else first.labels, clean):
            seen.update(values.cpu().contiguous().numpy().tobytes())
    return seen.hexdigest()


def _domain_of(train: SpectraSource, validation: SpectraSource) -> InputDomain | None:
    """Return what `InputDomain.fit` does, without doing again what it did for the same spectra."""
    key = sources_digest(train, validation)
    if key not in _DOMAINS:
        _DOMAINS[key] = InputDomain.fit(train, validation)
    _DOMAINS.move_to_end(key)
    while len(_DOMAINS) > DOMAINS_KEPT:
        _DOMAINS.popitem(last=False)
    return _DOMAINS[key]


def judged(origin: Origin, flux: Tensor, sigma: Tensor) -> Diagnostics | None:
    """Return the verdict on spectra (B, L), each in any one unit; None for an estimator without a domain."""
    return None if origin.domain is None else origin.domain.judge(flux, sigma)


def snr_range(spectra: SpectraBatch) -> tuple[float, float] | None:
    """Return the smallest and the largest S/N of spectra; None where it is unknown or has no bounds."""
    if spectra.snr is None:
        return None
    known = spectra.snr[torch.isfinite(spectra.snr) & (spectra.snr > 0)].double()
    # Noise-free spectra have an infinite one.
    return (float(known.min()), float(known.max())) if len(known) else None
