"""What a denoiser answers: `DenoisedSpectra`. Owns its shapes and the joining of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from specvit.errors import DataError, ShapeError
from specvit.models.prediction import Diagnostics


@dataclass(frozen=True)
class DenoisedSpectra:
    """Spectra with less noise, in the unit, float type and device of the flux that came in.

    Args:
        mean: shape (B, L).
        std: 1 σ error of `mean` per pixel, (B, L); None where none is stated, as below full strength.
        samples: draws from the posterior of the noise-free flux, shape (B, S, L), or None.
        diagnostics: `usable_share` of all, `effective_sample_size` and `converged` of those that sample.

    Raises:
        ShapeError: if the shapes do not fit together; names the array.
    """

    mean: Tensor
    std: Tensor | None = None
    samples: Tensor | None = None
    diagnostics: Diagnostics = field(default_factory=Diagnostics)

    def __post_init__(self) -> None:
        if self.mean.ndim != 2:
            raise ShapeError(
                f"denoised: expected mean of shape (spectra, pixels), got {tuple(self.mean.shape)}"
            )
        count, pixels = self.mean.shape
        if self.std is not None and self.std.shape != self.mean.shape:
            raise ShapeError(
                f"denoised: expected std of shape {(count, pixels)}, got {tuple(self.std.shape)}"
            )
        samples = self.samples
        if samples is not None and (samples.ndim != 3 or samples.shape[::2] != self.mean.shape):
            raise ShapeError(
                f"denoised: expected samples of shape ({count}, samples, {pixels}), got {tuple(samples.shape)}"
            )

    def __len__(self) -> int:
        return self.mean.shape[0]

    @staticmethod
    def concatenate(parts: Sequence[DenoisedSpectra]) -> DenoisedSpectra:
        """Return the parts as one, in their order.

        Raises:
            DataError: if there are none, or some lack what others have.
        """
        if not parts:
            raise DataError("denoised: nothing to concatenate, expected at least one part")
        known = [part.diagnostics.known() for part in parts]
        diagnostics = {name: torch.cat([one[name] for one in known]) for name in known[0]}
        return DenoisedSpectra(
            torch.cat([part.mean for part in parts]),
            _joined([part.std for part in parts]),
            _joined([part.samples for part in parts]),
            Diagnostics(**diagnostics),
        )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    if known and len(known) < len(parts):
        raise DataError("denoised: parts to concatenate must all have std and samples, or none")
    return torch.cat(known) if known else None
