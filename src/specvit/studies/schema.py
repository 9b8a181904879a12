"""What a study declares, before anything is run: variants, rule, and what each outcome would mean.

A file of the catalogue, or of a folder of your own, is one study; unknown keys are errors with the nearest known one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from specvit.documents import DocumentKind, Format, Section
from specvit.documents.words import did_you_mean, shown
from specvit.errors import ConfigError
from specvit.jobs.config.sections import MOST_LABELS, SLICES, Bounds, LabelName
from specvit.runs import ALL
from specvit.runs.identity import content_digest
from specvit.studies.measures import MEASURES, Measure
from specvit.studies.rule import Contrast, Rule, claims_of, parse_rule, parse_sum

STUDY_VERSION = 1
SCALES = ("smoke", "laptop", "reference")
ScaleName = Literal["smoke", "laptop", "reference"]

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Line = Annotated[str, Field(min_length=1, max_length=200)]
#: Names of levels stand in rules and files.
Level = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=40)]
StudyId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
PartName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.+/-]*$", max_length=40)]
#: Keys of a trial's configuration; checked where they are put together (`variants`).
Overrides = Annotated[dict[str, Any], Field(max_length=20)]
Levels = Annotated[dict[Level, Overrides], Field(max_length=50)]
Factors = Annotated[dict[Level, Levels], Field(max_length=6)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=100)]


class SourceSection(Section):
    """The published claim that a study tests."""

    work: Line = Field(description="who published it")
    claim: Text = Field(description="what was claimed")
    number: Line = Field(description="the number it was claimed with")


class StudyScaleSection(Section):
    """What one scale changes in a study."""

    seeds: Seeds | None = Field(default=None, description="of the trainings; None: those of the scale")
    settings: Overrides = Field(default_factory=dict, description="keys of all its trials")
    factors: Factors = Field(
        default_factory=dict, description="factor -> level -> keys, over those of the study itself"
    )


class ShareSection(Section):
    """A share that is stated beside the verdict, as published ones are: one difference over another."""

    text: Line = Field(description="what it is the share of")
    part: Text = Field(description="a sum of measures of variants, as in a rule")
    whole: Text = Field(description="the sum it is a share of")
    slice: PartName = Field(default=ALL, description="which stars")
    published: Annotated[float, Field(ge=-1e3, le=1e3)] | None = Field(
        default=None, description="the share that was published"
    )


class OutcomeSection(Section):
    """What each verdict would mean."""

    supported: Text = Field(description="if the rule holds")
    refuted: Text = Field(description="if it does not")
    undecided: Text = Field(description="if the trials cannot tell")


class Study(Section):
    """A declared study."""

    study_version: int = Field(
        default=STUDY_VERSION, ge=1, le=STUDY_VERSION, description="format of this file"
    )
    id: StudyId = Field(description="the name of its file")
    title: Line = Field(description="one line")
    track: Line = Field(description="the part of the programme it belongs to")
    entries: Annotated[tuple[Line, ...], Field(max_length=20)] = Field(
        default=(), description="its names on the roadmap"
    )
    question: Text = Field(description="what is asked")
    hypothesis: Text = Field(description="what is expected")
    source: SourceSection = Field(description="the published claim it tests")
    label: LabelName = Field(
        default="log_g", description="the label that is judged, unless the rule says `for`"
    )
    metric: Line = Field(default="excess", description="the measure that tables show first")
    base: Overrides = Field(default_factory=dict, description="keys of all its trials")
    factors: Factors = Field(min_length=1, description="factor -> level -> keys of a trial's configuration")
    slices: Annotated[
        dict[PartName, Annotated[dict[LabelName, Bounds], Field(max_length=MOST_LABELS)]],
        Field(max_length=20),
    ] = Field(
        default_factory=dict,
        description="name -> box of test stars, as `evaluate.slices`; beside all, low_noise and metal_poor",
    )
    rule: Text = Field(description="what has to hold for the claim to be supported")
    shares: Annotated[dict[Level, ShareSection], Field(max_length=20)] = Field(
        default_factory=dict, description="name -> a share that is stated beside the verdict"
    )
    outcomes: OutcomeSection = Field(description="what each verdict would mean")
    scales: Annotated[dict[ScaleName, StudyScaleSection], Field(max_length=3)] = Field(
        default_factory=dict, description="what a scale changes"
    )

    @field_validator("metric")
    @classmethod
    def _is_a_measure(cls, metric: str) -> str:
        if metric not in MEASURES:
            raise ValueError(f"expected one of {', '.join(MEASURES)}")
        return metric

    @model_validator(mode="after")
    def _fits_together(self) -> Study:
        try:
            parsed = parse_rule(self.rule)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        for claim in claims_of(parsed):
            self._check("rule", claim.contrasts, claim.slice)
        for name, share in self.shares.items():
            self._check(f"shares.{name}", self._sums(name, share), share.slice)
        if len({bool(measure.flux) for measure in self._measures}) > 1:
            raise ValueError(
                "rule, metric: a study judges estimates of labels or the flux of denoisers, not both"
            )
        for scale, changes in self.scales.items():
            for factor, levels in changes.factors.items():
                known = self.factors.get(factor, {})
                for level in levels:
                    if level not in known:
                        raise ValueError(f"scales.{scale}.factors: the study has no {factor} '{level}'")
        return self

    def _check(self, key: str, contrasts: Sequence[Contrast], part: str) -> None:
        for contrast in contrasts:
            for term in contrast.terms:
                if term.variant not in self.variants:
                    raise ValueError(
                        f"{key}: the study has no variant '{term.variant}'{did_you_mean(term.variant, self.variants)}"
                    )
        if part not in (ALL, *self.boxes):
            raise ValueError(
                f"{key}: the study has no slice '{part}'{did_you_mean(part, (ALL, *self.boxes))}"
            )

    @staticmethod
    def _sums(name: str, share: ShareSection) -> tuple[Contrast, Contrast]:
        try:
            return parse_sum(share.part), parse_sum(share.whole)
        except ConfigError as error:
            raise ValueError(f"shares.{name}: {error}") from None

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of all combinations of levels, the first factor slowest: `vit`, or `vit/small` of two factors."""
        names = [""]
        for levels in self.factors.values():
            names = [f"{name}/{level}" if name else level for name in names for level in levels]
        return tuple(names)

    @property
    def boxes(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Slice -> box: those of every run, by names that a rule can say, and the study's own."""
        everywhere = {re.sub(r"[^A-Za-z0-9]", "_", name): box for name, box in SLICES.items()}
        return {**everywhere, **self.slices}

    @property
    def parsed(self) -> Rule:
        """The rule."""
        return parse_rule(self.rule)

    @property
    def digest(self) -> str:
        """Of all that is declared; what is left out counts as it did before there was such a key."""
        declared = self.model_dump(mode="json")
        return content_digest({key: value for key, value in declared.items() if key != "shares" or value})

    @property
    def is_exact(self) -> bool:
        """Whether anything it asks for needs the exact posteriors."""
        return any(measure.exact for measure in self._measures)

    @property
    def needs_bounds(self) -> bool:
        """Whether anything it asks for needs the Cramér-Rao bounds of the stars."""
        return any(measure.bounds for measure in self._measures)

    @property
    def needs_focus(self) -> bool:
        """Whether anything it asks for is what a network looks at."""
        return any(measure.focus for measure in self._measures)

    @property
    def judges_flux(self) -> bool:
        """Whether what it compares are denoisers."""
        return any(measure.flux for measure in self._measures)

    @property
    def _measures(self) -> list[Measure]:
        contrasts = [contrast for claim in claims_of(self.parsed) for contrast in claim.contrasts]
        contrasts += [one for name, share in self.shares.items() for one in self._sums(name, share)]
        names = {term.measure for contrast in contrasts for term in contrast.terms}
        return [MEASURES[name] for name in (*sorted(names), self.metric)]

    def scale(self, name: str) -> StudyScaleSection:
        """Return what a scale changes."""
        return self.scales.get(name, StudyScaleSection())  # type: ignore[call-overload, no-any-return]


class Scale(Section):
    """How large the trials of all studies are, in updates and spectra: a loaded machine changes no verdict."""

    scale_version: int = Field(default=1, ge=1, le=1, description="format of this file")
    seeds: Seeds = Field(
        description="of training stars, weights and order; the test stars have one of their own"
    )
    settings: Overrides = Field(description="keys of all trials")
    is_evidence: bool = Field(
        default=True,
        description="whether its verdicts say anything of the world, not only that everything works",
    )


_HERE = Path(str(files("specvit.studies")))
CATALOGUE = DocumentKind(
    noun="study",
    model=Study,
    presets=_HERE / "catalogue",
    format=Format("study_version", STUDY_VERSION),
    whole=("factors",),
)
SCALE_FILES = DocumentKind(
    noun="scale", model=Scale, presets=_HERE / "scales", format=Format("scale_version", 1)
)


def read_scale(name: str) -> Scale:
    """Return one of `SCALES`; ConfigError with the nearest for another name."""
    path = SCALE_FILES.preset(name)
    scale = SCALE_FILES.read(path).value
    spectrograph = scale.settings.get("instrument", {}).get("name", "")
    if not spectrograph.endswith(".toml"):
        return scale
    # Beside the scale that says so, not where the command was given.
    beside = {**scale.settings, "instrument": {"name": str((path.parent / spectrograph).resolve())}}
    return scale.model_copy(update={"settings": beside})


def read_study(path: Path) -> Study:
    """Return the study of a file; ConfigError names key, file and line of what cannot be meant."""
    study = CATALOGUE.read(path).value
    if study.id != path.stem:
        raise ConfigError(f"{shown(path)}: id is '{study.id}'; a study has the name of its file")
    return study


def read_studies(folder: Path | None = None) -> dict[str, Study]:
    """Return id -> study, of the catalogue, or of a folder of your own."""
    place = folder or CATALOGUE.presets
    if not place.is_dir():
        raise ConfigError(f"--catalogue: {shown(place)} is no folder")
    if folder is not None and not any(place.glob("*.toml")):
        raise ConfigError(f"--catalogue: {shown(place)} holds no study (NAME.toml)")
    return {path.stem: read_study(path) for path in sorted(place.glob("*.toml"))}


def choose_studies(names: Sequence[str], folder: Path | None, everything: bool) -> list[Study]:
    """Return the studies of these ids or files, or all of them.

    Raises:
        ConfigError: for no or an unknown name, with the nearest.
    """
    if everything:
        return list(read_studies(folder).values())
    if not names:
        raise ConfigError("name a study (`specvit study list` shows them), or give --all")
    return [_one(name, folder) for name in dict.fromkeys(names)]


def _one(name: str, folder: Path | None) -> Study:
    if name.endswith(".toml"):
        return read_study(CATALOGUE.find(name))
    place = folder or CATALOGUE.presets
    known = [path.stem for path in sorted(place.glob("*.toml"))]
    if name not in known:
        raise ConfigError(
            f"study {shown(name)} is not known{did_you_mean(name, known)}; `specvit study list` shows them, and a file "
            "of your own is named by its path (NAME.toml)"
        )
    return read_study(place / f"{name}.toml")
