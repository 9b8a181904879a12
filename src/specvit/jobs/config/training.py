"""The sections of a training's configuration, as `specvit train` writes it into the run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from specvit.documents import PathText, Section
from specvit.documents.problems import explain
from specvit.errors import ConfigError
from specvit.jobs.config.sections import (
    CONFIG_VERSION,
    MOST_LABELS,
    MOST_SPECTRA,
    Bound,
    EvaluateSection,
    InstrumentSection,
    LabelName,
    LibrarySection,
    OptionName,
    OptionValue,
    RunSection,
    SnrEdge,
    StarsSection,
)
from specvit.simulate import Widening

#: Endings of the reference work's files; a stored set of `specvit simulate` is a folder.
HDF5 = (".h5", ".hdf5")
DeviceName = Annotated[str, Field(max_length=40)]


class TrainingStarsSection(StarsSection):
    """The simulated stars of a training."""

    train: int = Field(
        default=0, ge=0, le=MOST_SPECTRA, description="different training stars; 0 never repeats one"
    )
    validation: int = Field(
        default=2_000, ge=10, le=MOST_SPECTRA, description="validation spectra, which select the weights"
    )
    test: int = Field(default=2_000, ge=10, le=MOST_SPECTRA, description="test spectra, which are scored")
    widened: float = Field(
        default=Widening.share,
        ge=0,
        le=1,
        description="share of the training stars with S/N and noise beyond those of the survey; 0: none",
    )
    snr: tuple[SnrEdge, SnrEdge] = Field(
        default=Widening.snr, description="their S/N, [low, high]: their magnitudes are chosen for it"
    )
    noise_factor: tuple[SnrEdge, SnrEdge] = Field(
        default=Widening.noise_factor,
        description="[low, high]: multiplies the noise of half of them, uniform in the logarithm",
    )
    mag: tuple[Bound, Bound] | None = Field(
        default=Widening.mag, description="[low, high]: no magnitudes beyond, whatever S/N is asked for"
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> TrainingStarsSection:
        for name in ("snr", "noise_factor", "mag"):
            low, high = getattr(self, name) or (1.0, 1.0)
            if not (low <= high and (name == "mag" or low > 0)):
                raise ValueError(
                    f"{name}: expected {'' if name == 'mag' else '0 < '}low <= high, got {low:g} to {high:g}"
                )
        return self

    @property
    def widening(self) -> Widening | None:
        """The wider ranges; None for a training on the survey's own spectra alone."""
        return Widening(self.widened, self.snr, self.noise_factor, self.mag) if self.widened else None


class DataSection(Section):
    """Stored spectra to be read instead of simulating them; empty: simulate.

    A path is a folder of `specvit simulate`, or a dataset.h5 of the reference work; several of the latter for
    training are read one after the other.
    """

    train: tuple[PathText, ...] = Field(default=(), max_length=1000, description="training spectra")
    validation: PathText | None = Field(default=None, description="validation spectra")
    test: PathText | None = Field(default=None, description="test spectra")

    @model_validator(mode="after")
    def _can_be_meant(self) -> DataSection:
        reference = [is_reference(path) for path in self.train]
        if len(self.train) > 1 and not all(reference):
            raise ValueError("several are read only of the reference work's .h5 files; give one folder")
        # Their library and instrument are not in the files.
        if any(reference) and (self.validation is None or self.test is None):
            raise ValueError(
                "the reference work's files come without a world to simulate from; give validation and test spectra too"
            )
        return self

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be simulated."""
        return bool(self.train) and self.validation is not None and self.test is not None


class NetworkSection(Section):
    """The network, and how it is trained."""

    model: OptionName = Field(default="subspace", description="kind of network")
    size: Annotated[str, Field(max_length=80)] = Field(default="", description="of it; empty: the kind's own")
    labels: tuple[LabelName, ...] = Field(
        default=(), max_length=MOST_LABELS, description="labels to estimate; none: all of the training set"
    )
    options: dict[OptionName, OptionValue] = Field(
        default_factory=dict, max_length=100, description="of architecture or recipe, by name"
    )
    device: DeviceName | None = Field(
        default=None, description="cpu, cuda, ...; None takes a GPU if there is one"
    )


class TrainingConfig(Section):
    """The whole configuration of `specvit train`."""

    config_version: int = Field(
        default=CONFIG_VERSION, ge=1, le=CONFIG_VERSION, description="format of this file"
    )
    library: LibrarySection = Field(
        default=LibrarySection(), description="where noise-free spectra come from"
    )
    instrument: InstrumentSection = Field(default=InstrumentSection(), description="the spectrograph")
    simulate: TrainingStarsSection = Field(default=TrainingStarsSection(), description="the simulated stars")
    data: DataSection = Field(default=DataSection(), description="stored spectra")
    network: NetworkSection = Field(default=NetworkSection(), description="the network")
    evaluate: EvaluateSection = Field(default=EvaluateSection(), description="the scores")
    run: RunSection = Field(default=RunSection(name="train"), description="folder and machine")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, ready for TOML or JSON."""
        return self.model_dump(mode="json")

    def science(self) -> dict[str, Any]:
        """Return what determines the results: everything but where it runs."""
        values = self.to_dict()
        del values["run"], values["network"]["device"]
        return values


def is_reference(path: str) -> bool:
    """Return whether a path is that of a file of the reference work."""
    return path.lower().endswith(HDF5)


def training_config(tables: dict[str, Any]) -> TrainingConfig:
    """Return a configuration made of nested plain values; ConfigError names the key that cannot be meant."""
    try:
        return TrainingConfig.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(explain(error, TrainingConfig, tables, lambda key: "specvit train")) from None
