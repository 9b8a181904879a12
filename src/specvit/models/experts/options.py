"""The options of a mixture of experts, as jobs set them and as a saved one states them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from specvit.documents import Section
from specvit.models.experts.expert_inputs import InputKind
from specvit.models.experts.gate_features import GROUPS
from specvit.models.experts.partition import parse_partition
from specvit.models.experts.routing import Routing

GateKind = Literal["logistic", "mlp", "lightgbm", "regression", "regression-mlp"]
ExpertKind = Literal["ridge", "conditional", "lightgbm", "mlp", "trunk"]
Outside = Literal["global", "expert", "nearest"]
Penalty = Annotated[float, Field(ge=0, le=1e30)]
Group = Annotated[str, Field(min_length=1, max_length=20)]


class ExpertsOptions(Section):
    """Options of `MixtureOfExperts`."""

    partition: str = Field(
        default="teff-mh",
        max_length=400,
        description="teff-mh, mh, teff, snr, whole; or axes such as 'teff:3750/4500/6000 m_h:q3'",
    )
    outside: Outside = Field(
        default="global",
        description="stars in no bin: by the model of all spectra, an expert of their own, or the nearest bin",
    )
    expert: ExpertKind = Field(
        default="ridge",
        description="ridge; lightgbm; mlp, a network per bin; trunk, one with a head per bin; conditional, Ridge on "
        "[x, m x] without bins",
    )
    inputs: InputKind = Field(
        default="auto",
        description="of the experts: pixels, or the coefficients of the noise-free subspace; auto: these where the "
        "training spectra say what they are without noise",
    )
    rebin: int = Field(default=1, ge=1, le=1000, description="pixels averaged before the experts")
    gate: GateKind = Field(
        default="logistic",
        description="logistic, mlp, lightgbm: which bin; regression, regression-mlp: weights of least squared error",
    )
    features: tuple[Group, ...] = Field(
        default=GROUPS, min_length=1, max_length=10, description=f"what the gate sees, of {', '.join(GROUPS)}"
    )
    components: int = Field(default=10, ge=1, le=200, description="principal components among the features")
    routing: Routing = Field(
        default="soft",
        description="soft, hard, top, fallback, pseudo, global; oracle is told the true labels and serves to compare",
    )
    top: int = Field(default=2, ge=1, le=100, description="experts that routing 'top' listens to")
    confidence: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="largest weight below which 'fallback' takes the model of all spectra",
    )
    condition: str = Field(default="m_h", max_length=80, description="the m of conditional experts")
    alphas: tuple[Penalty, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="penalties of Ridge to try; None takes its own",
    )
    width: int = Field(default=64, ge=2, le=4096, description="hidden units of experts that are networks")
    rounds: int = Field(default=300, ge=1, le=100_000, description="trees at most of experts that are trees")

    @field_validator("partition")
    @classmethod
    def _is_a_partition(cls, partition: str) -> str:
        try:
            parse_partition(partition)
        except ValueError as error:
            raise ValueError(str(error)) from None
        return partition

    @field_validator("features")
    @classmethod
    def _are_groups(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in features if name not in GROUPS]:
            raise ValueError(f"expected some of {', '.join(GROUPS)}, got '{unknown[0]}'")
        return tuple(dict.fromkeys(features))

    @property
    def weighs_errors(self) -> bool:
        """Whether the gate is trained on the errors of the estimates, instead of on the bins."""
        return self.gate.startswith("regression")
