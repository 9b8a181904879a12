"""The sections of a configuration file and their defaults.

One frozen model per section; every field says what it is, in which unit and in which range. Reading files and
command lines is the business of `resolve`; what the values do is that of the packages they are named for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from specvit.documents import PathText, Section
from specvit.evaluate.slices import SHARED, SNR_QUANTILE
from specvit.runs import ALL

#: Format of the configuration. Raised, with a migration in `resolve`, when a key is renamed or moved.
CONFIG_VERSION = 2


def _worded(pattern: str, words: str) -> Callable[[str], str]:
    """Return a check of names; what it refuses is told in words, which a regular expression is not."""

    def check(name: str) -> str:
        if re.fullmatch(pattern, name) is None:
            raise ValueError(f"expected {words}")
        return name

    return check


#: Ten times the largest set ever made for the reference work; more would fill any disk.
MOST_SPECTRA = 100_000_000
MOST_LABELS = 100
LabelName = Annotated[str, Field(min_length=1, max_length=80)]
#: K or dex; what a library covers it says itself.
Bound = Annotated[float, Field(ge=-1e6, le=1e6)]
Bounds = tuple[Bound, Bound]
SnrEdge = Annotated[float, Field(ge=0, le=1e6)]
#: A run's name becomes a folder's name, so it holds nothing a shell or a file system could take amiss.
RunName = Annotated[
    str,
    Field(min_length=1, max_length=80),
    AfterValidator(
        _worded(r"[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, '.', '_' and '-', first a letter or digit")
    ),
]
OptionName = Annotated[str, Field(min_length=1, max_length=80)]
#: Whole numbers that survive a reader of JSON which only has float64; finite floats.
OptionNumber = Annotated[int, Field(ge=-(2**53), le=2**53)] | Annotated[float, Field(ge=-1e300, le=1e300)]
OptionText = Annotated[str, Field(max_length=200)]
OptionValue = (
    bool | OptionNumber | OptionText | Annotated[list[OptionNumber | OptionText], Field(max_length=1000)]
)
Options = Annotated[dict[OptionName, OptionValue], Field(max_length=100)]
SliceName = Annotated[
    str,
    Field(min_length=1, max_length=40),
    AfterValidator(
        _worded(r"[A-Za-z][A-Za-z0-9 _.-]*", "letters, digits, spaces, '.', '_' and '-', first a letter")
    ),
]
Box = Annotated[dict[LabelName, Bounds], Field(max_length=MOST_LABELS)]
#: What observers ask for apart: the spectra with most light, and the stars with weakest lines.
SLICES: dict[str, dict[str, tuple[float, float]]] = {
    "low noise": {"snr_quantile": (0.8, 1.0)},
    "metal-poor": {"m_h": (-10.0, -1.0)},
}
#: The bins of the reference work's final figure, ends moved to hold every star under its median S/N.
REFERENCE_SNR_EDGES = (2.0, 3.5, 4.5, 5.5, 6.5, 8.5, 12.5, 20.0)


class LibrarySection(Section):
    """Where noise-free spectra come from."""

    name: PathText = Field(default="builtin", description="'builtin', or the path of an emulator file")


class InstrumentSection(Section):
    """The spectrograph."""

    name: PathText = Field(
        default="pfs_mr_reference", description="instrument preset, or the path of an instrument file"
    )


class StarsSection(Section):
    """The simulated stars and their spectra: which stars, with which noise."""

    seed: int = Field(default=42, ge=0, lt=2**63, description="seed of labels, conditions and noise")
    prior: Literal["uniform", "lattice"] = Field(
        default="uniform",
        description="'uniform' in the label box, or the reference work's snapping to a 'lattice'",
    )
    bounds: dict[LabelName, Bounds] = Field(
        default_factory=dict,
        max_length=MOST_LABELS,
        description="label -> [low, high] in K or dex, replacing the library's own box for that label",
    )
    normalisation: Literal["observed_median", "noise_free_median"] = Field(
        default="observed_median", description="median by which flux and sigma of a spectrum are divided"
    )
    noise_level: float = Field(
        default=1.0, ge=0, le=1e6, description="factor on sigma; 1 is the instrument's own noise"
    )

    @field_validator("bounds")
    @classmethod
    def _low_below_high(cls, bounds: dict[str, Bounds]) -> dict[str, Bounds]:
        for label, (low, high) in bounds.items():
            if not low < high:
                raise ValueError(f"{label}: low {low:g} is not below high {high:g}")
        return bounds


class SimulateSection(StarsSection):
    """The simulated survey: how many spectra, of which stars, with which noise."""

    train: int = Field(default=20_000, ge=10, le=MOST_SPECTRA, description="training spectra")
    validation: int = Field(
        default=1_000,
        ge=10,
        le=MOST_SPECTRA,
        description="validation spectra, for every choice made in a fit",
    )
    test: int = Field(
        default=2_000, ge=10, le=MOST_SPECTRA, description="test spectra, touched by the evaluation only"
    )


class NetworksSection(Section):
    """How long networks that are trained in the run are, on spectra drawn on the fly."""

    minutes: float = Field(
        default=5.0, gt=0, le=43_200, description="time budget of each; the schedule follows the clock"
    )
    steps: int = Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="length in optimiser steps instead, which repeats exactly; 0: by minutes",
    )


class ModelsSection(Section):
    """Which estimators are fitted, for which labels."""

    names: tuple[PathText, ...] = Field(
        default=("ridge", "lightgbm"),
        min_length=1,
        max_length=100,
        description="estimators, in the order of the report: those of `specvit run --estimators`, MODEL-SIZE for "
        "a network trained in the run, the folder of a saved estimator, or module:Class of your own",
    )
    labels: tuple[LabelName, ...] = Field(
        default=("log_g",),
        min_length=1,
        max_length=MOST_LABELS,
        description="labels of estimators fitted in the run, first the target",
    )
    options: dict[OptionName, Options] = Field(
        default_factory=dict,
        max_length=100,
        description="estimator (a network without its size) -> option -> value, replacing the estimator's own",
    )
    networks: NetworksSection = Field(default=NetworksSection(), description="networks trained in the run")

    @model_validator(mode="after")
    def _nothing_twice(self) -> ModelsSection:
        for what, values in (("names", self.names), ("labels", self.labels)):
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ValueError(f"{what}: '{twice[0]}' is given twice")
        return self

    def options_of(self, name: str, draws_spectra: bool) -> dict[str, Any]:
        """Return the options of one estimator; with the length of its training if it draws its spectra."""
        networks = self.networks
        length = (
            {"steps": networks.steps, "minutes": 0.0} if networks.steps else {"minutes": networks.minutes}
        )
        return {**(length if draws_spectra else {}), **self.options.get(name, {})}


class EvaluateSection(Section):
    """How estimates are scored."""

    bootstrap: int = Field(
        default=1_000, ge=20, le=100_000, description="bootstrap resamples behind every interval"
    )
    explain_stars: int = Field(
        default=64,
        ge=0,
        le=100_000,
        description="test spectra, from the first, in which what a network looks at is shown; 0 leaves it out",
    )
    snr_edges: tuple[SnrEdge, ...] = Field(
        default=REFERENCE_SNR_EDGES,
        min_length=2,
        max_length=101,
        description="edges of the S/N bins (median flux / sigma per pixel)",
    )

    slices: dict[SliceName, Box] = Field(
        default=SLICES,
        max_length=50,
        description="name -> box of the test spectra that is scored apart: label, snr, snr_quantile or mag -> "
        "[low, high]",
    )

    @field_validator("snr_edges")
    @classmethod
    def _increasing(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in pairwise(edges)):
            raise ValueError("expected increasing numbers >= 0")
        return edges

    @field_validator("slices")
    @classmethod
    def _boxes_can_be_told_apart(
        cls, slices: dict[str, dict[LabelName, Bounds]]
    ) -> dict[str, dict[LabelName, Bounds]]:
        for name, box in slices.items():
            if name in (ALL, SHARED):
                raise ValueError(f"'{name}' is a slice of every run; choose another name")
            if not box:
                raise ValueError(
                    f"{name}: expected at least one of label, snr, snr_quantile or mag = [low, high]"
                )
            for key, (low, high) in box.items():
                if low > high:
                    raise ValueError(f"{name}.{key}: low {low:g} is above high {high:g}")
                if key == SNR_QUANTILE and (low >= 1 or high <= 0):
                    raise ValueError(f"{name}.{key}: expected a part of 0 to 1, got {low:g} to {high:g}")
        return slices


class LimitsSection(Section):
    """The information ceiling."""

    ceiling_stars: int = Field(
        default=2_000,
        ge=1,
        le=MOST_SPECTRA,
        description="test spectra, from the first, for which the CRLB is computed",
    )
    bayes_stars: int = Field(
        default=0,
        ge=0,
        le=MOST_SPECTRA,
        description="of these, how many get the exact Bayes ceiling; 0 leaves it out",
    )


class RunSection(Section):
    """Where the run is kept and how much of the machine it takes; does not change the results."""

    name: RunName = Field(default="laptop", description="name of the run folder")
    folder: PathText = Field(default="runs", description="folder that holds the run folders")
    threads: int = Field(default=0, ge=0, le=4096, description="CPU threads; 0 takes all")


class Config(Section):
    """The whole configuration of `specvit run`."""

    config_version: int = Field(
        default=CONFIG_VERSION, ge=1, le=CONFIG_VERSION, description="format of this file"
    )
    library: LibrarySection = Field(
        default=LibrarySection(), description="where noise-free spectra come from"
    )
    instrument: InstrumentSection = Field(default=InstrumentSection(), description="the spectrograph")
    simulate: SimulateSection = Field(default=SimulateSection(), description="the simulated survey")
    models: ModelsSection = Field(default=ModelsSection(), description="the estimators")
    evaluate: EvaluateSection = Field(default=EvaluateSection(), description="the scores")
    limits: LimitsSection = Field(default=LimitsSection(), description="the information ceiling")
    run: RunSection = Field(default=RunSection(), description="folder and machine")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, ready for TOML or JSON."""
        return self.model_dump(mode="json")

    def science(self) -> dict[str, Any]:
        """Return what determines the results: everything but the `run` section."""
        return {name: value for name, value in self.to_dict().items() if name != "run"}
