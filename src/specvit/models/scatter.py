"""Error bars from validation residuals, as a function of the noise level a pipeline knows. Owns nothing else.

A regressor without a noise model still errs more on noisier spectra. Its stated error is the root mean square
validation residual in bins of median(flux / sigma), interpolated between bins: a calibrated average over the
stars of that noise level, not a statement about one star.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.documents.tensors import Tensors
from specvit.spectra import median_snr

#: Validation spectra per bin: the error of each bin's standard deviation is then about 7 %.
PER_BIN = 100
MAX_BINS = 8
#: Observed S/N is floored here before its logarithm; a spectrum below it counts as the noisiest.
SNR_FLOOR = 1e-3


@dataclass(frozen=True)
class ResidualScatter:
    """Standard deviation of each label's residual against the logarithm of the observed S/N.

    Args:
        log_snr: bin centres (mean ln S/N), increasing, shape (K,).
        log_std: ln of the root mean square residual, shape (K, P).
    """

    log_snr: Tensor
    log_std: Tensor

    @classmethod
    def fit(cls, snr: Tensor, residual: Tensor) -> ResidualScatter:
        """Return the scatter of residuals (N, P) in up to 8 equally filled bins of observed S/N (N,)."""
        level, residual = _log_level(snr).cpu(), residual.cpu()
        order = level.argsort()
        bins = min(MAX_BINS, max(1, len(level) // PER_BIN))
        log_snr, log_std = [], []
        for rows in order.tensor_split(bins):
            log_snr.append(level[rows].mean())
            mean_square = residual[rows].to(torch.float64).square().mean(dim=0)
            # A fit without any residual has no logarithm.
            log_std.append(0.5 * mean_square.clamp(min=torch.finfo(torch.float64).tiny).log())
        return cls(torch.stack(log_snr), torch.stack(log_std))

    @classmethod
    def read(cls, tensors: Tensors) -> ResidualScatter:
        """Return the scatter stored as `to_tensors` gives it; axis "P" of `tensors` is the labels.

        Raises:
            DataError: if an array is missing, of another type or shape, or the bins do not increase.
        """
        log_snr = tensors.take("scatter_log_snr", "K", torch.float64)
        log_std = tensors.take("scatter_log_std", "KP", torch.float64)
        if not len(log_snr) or bool((log_snr.diff() < 0).any()):
            raise tensors.problem("tensor 'scatter_log_snr' does not increase")
        return cls(log_snr, log_std)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by the names they are stored under."""
        return {"scatter_log_snr": self.log_snr, "scatter_log_std": self.log_std}

    def std(self, flux: Tensor, sigma: Tensor) -> Tensor:
        """Return 1 σ errors, shape (B, P), float64 on the CPU; constant beyond the first and last bin."""
        level = _log_level(median_snr(flux, sigma)).cpu()
        if len(self.log_snr) == 1:
            return self.log_std.exp().expand(len(level), -1).clone()
        level = level.clamp(self.log_snr[0], self.log_snr[-1])
        right = torch.searchsorted(self.log_snr, level).clamp(1, len(self.log_snr) - 1)
        left = right - 1
        # Spectra of one noise level put two bins at one place.
        span = (self.log_snr[right] - self.log_snr[left]).clamp(min=1e-12)
        weight = ((level - self.log_snr[left]) / span)[:, None]
        return torch.lerp(self.log_std[left], self.log_std[right], weight).exp()


def _log_level(snr: Tensor) -> Tensor:
    return snr.to(torch.float64).clamp(min=SNR_FLOOR).log()
