"""For which other stars the errors of a trained network were corrected: the record of it, and the weighting by a prior.

The training is what it was; this says what came after it. The work is `jobs.recalibration`'s.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import Field, field_validator

from specvit.documents import Section
from specvit.errors import ConfigError, DataError
from specvit.models.network import SpectrumNetwork
from specvit.models.origin import Origin
from specvit.models.reweighting import Reweighting
from specvit.simulate import Prior
from specvit.spectra import LabelSpace

#: Priors of worlds under which labels are independent and uniform in their box.
UNIFORM = ("uniform",)


class Change(Section):
    """A score of a label before and after, on spectra that corrected nothing."""

    before: float
    after: float


class Changes(Section):
    """Of one label: shares of truths inside stated central intervals (not in %), and the RMSE of its estimates."""

    coverage_68: Change
    coverage_95: Change
    rmse: Change


class Recalibration(Section):
    """By which spectra the stated errors of a network were corrected after its training."""

    date: str = Field(description="ISO 8601")
    spectra: int = Field(ge=1, description="that corrected the errors")
    measured_spectra: int = Field(ge=1, description="further ones, of which the scores are")
    source: dict[str, Any] = Field(
        description="what the spectra say of themselves; simulated ones their world"
    )
    labels: LabelSpace = Field(description="box of the stars")
    scores: dict[str, Changes] = Field(description="by label")

    @field_validator("source")
    @classmethod
    def _world_has_entries(cls, source: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(source.get("world"), dict | None):
            raise ValueError("world: expected entries by name, or null")
        return source

    @property
    def world(self) -> dict[str, Any] | None:
        """The simulated world of the spectra, if they state one."""
        return self.source.get("world")


def reweighted(network: SpectrumNetwork, origin: Origin, prior: Prior, where: str) -> SpectrumNetwork:
    """Return a copy of a network whose stated distributions are those under `prior`.

    Args:
        network: as it was trained, or reweighted before; that is replaced.
        origin: says under which prior it was trained.
        prior: of all its labels.
        where: what messages call the network.

    Raises:
        ConfigError: if the head states no distributions, or the prior of the training was not uniform or is not known.
        DomainError: if the prior reaches outside the training; names the label.
    """
    if network.head.kind != "ordinal":
        raise ConfigError(
            f"{where}: its {network.head.kind} head states no distributions that another prior could weigh; correct "
            "its errors alone (`specvit calibrate --no-reweight`), or train one with head=ordinal"
        )
    trained = (origin.training.world or {}).get("prior")
    if trained not in UNIFORM:
        known = "is not known" if trained is None else f"was '{trained}', not uniform in independent labels"
        raise ConfigError(
            f"{where}: the prior of its training {known}, so another cannot be set in its place; correct its "
            "errors alone (`specvit calibrate --no-reweight`), or train one with prior=uniform"
        )
    unknown = [name for name in network.label_space.names if name not in prior.label_space.names]
    if unknown:
        raise DataError(
            f"{where}: the prior does not say how {unknown[0]} is distributed; it knows "
            f"{', '.join(prior.label_space.names)}"
        )
    found = copy.deepcopy(network)
    head = found.head
    reweighting = Reweighting(head.bin_edges).set(network.label_space.names, prior)
    # A network of the same prior answers as it did, to the last digit.
    head.reweighting = None if reweighting.is_trivial else reweighting
    return found
