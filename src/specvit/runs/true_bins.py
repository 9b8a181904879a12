"""Scores by the true value of a label: what reports, cards and saved networks state of the pull of the prior."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from specvit.documents import Section

#: Why estimates of the ends of a range are off, in one sentence for readers.
WHY = (
    "Estimates shrink towards the middle of the prior the less a spectrum says: at a given true value they are "
    "biased inwards near the ends of its range and intervals there hold less than they state, although over all "
    "stars with a given estimate both are right."
)

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


class TrueBin(Section):
    """Scores of the spectra whose true label lies in [low, high), in the last bin of a range [low, high].

    What cannot be computed is None: of no spectrum anything, of one its error, of an estimator without intervals
    their coverage.
    """

    low: float
    high: float
    spectra: int = Field(ge=0, description="those with an estimate")
    bias: float | None = Field(description="mean of estimate - truth, label unit")
    bias_error: NotNegative | None = Field(description="its standard error")
    rms: NotNegative | None = Field(description="root mean square of estimate - truth, label unit")
    coverage_68: Share | None = Field(
        default=None, description="share of true values in the central 68 % intervals"
    )
    coverage_68_error: NotNegative | None = Field(default=None, description="its standard error")

    @model_validator(mode="after")
    def _belongs_together(self) -> TrueBin:
        if not self.low < self.high:
            raise ValueError(f"bin: low {self.low:g} is not below high {self.high:g}")
        if (self.spectra == 0) != (self.bias is None) or (self.bias is None) != (self.rms is None):
            raise ValueError(
                f"bin: {self.spectra} spectra do not go with bias {self.bias} and rms {self.rms}"
            )
        if (self.coverage_68 is None) != (self.coverage_68_error is None):
            raise ValueError("bin: a coverage and its error belong together")
        return self


def _rising(bins: tuple[TrueBin, ...]) -> tuple[TrueBin, ...]:
    for one, following in itertools.pairwise(bins):
        if one.high != following.low:
            raise ValueError(f"bins: one ends at {one.high:g}, the next begins at {following.low:g}")
    return bins


#: The bins of one label, side by side.
TrueBins = Annotated[tuple[TrueBin, ...], AfterValidator(_rising)]
