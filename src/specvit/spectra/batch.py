"""A batch of spectra on one grid: the one object that flows from the simulator to the estimators.

`SpectraBatch` holds what an estimator may see; what only the simulator knows sits apart in `Truth`, so that
no estimator reads it by accident (the noise-free `sigma` is a copy of the spectrum). Real spectra have
neither labels nor truth; who needs them asks with `known_labels` and `known_truth`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from specvit.errors import DataError, LabelError
from specvit.numerics import to_device


@dataclass(frozen=True)
class Truth:
    """What the simulator knows and an observer does not.

    Args:
        flux: noise-free flux, shape (B, L), in the unit of the batch's flux.
        sigma: the standard deviation the noise was drawn with, shape (B, L), same unit.
        scale: batch flux = band-normalised flux (see `ObservedEmulator`) * scale, shape (B,).
    """

    flux: Tensor
    sigma: Tensor
    scale: Tensor


@dataclass(frozen=True)
class SpectraBatch:
    """B spectra on one grid of L pixels with P labels.

    Args:
        flux: observed (noisy) flux, shape (B, L), float32, relative to the stated normalisation.
        sigma: 1 σ per pixel as a pipeline knows it, shape (B, L), > 0; `inf` marks a dead pixel.
        labels: shape (B, P), in the order of the source's LabelSpace, NaN where one is unknown; None for
            spectra of which no label is known.
        conditions: name -> shape (B,): i magnitude `mag`, `seeing` (arcsec), `zenith_angle` (deg),
            `field_angle` (deg), `moon`, `exposure_time` (s), `exposure_count`; empty if nothing is known.
        snr: median over pixels of noise-free flux / true sigma, shape (B,): the one S/N definition used for
            bins, models and ceilings alike. Not for estimators; None if the noise-free flux is unknown.
        truth: simulator-only quantities, or None.
    """

    flux: Tensor
    sigma: Tensor
    labels: Tensor | None = None
    conditions: dict[str, Tensor] = field(default_factory=dict)
    snr: Tensor | None = None
    truth: Truth | None = None

    def __len__(self) -> int:
        return self.flux.shape[0]

    def known_labels(self) -> Tensor:
        """Return the labels, shape (B, P); LabelError if these spectra have none."""
        if self.labels is None:
            raise LabelError(
                f"labels: expected spectra with known labels, got {len(self)} without any; "
                "take spectra of known stars, or only predict for these"
            )
        return self.labels

    def known_snr(self) -> Tensor:
        """Return the S/N, shape (B,); DataError if it is not known for these spectra."""
        if self.snr is None:
            raise DataError(
                f"snr: expected spectra whose noise-free S/N is known, got {len(self)} without it; "
                "take simulated spectra, or estimate it with `median_snr(flux, sigma)`"
            )
        return self.snr

    def known_truth(self) -> Truth:
        """Return what only the simulator knows; DataError if these spectra come without it."""
        if self.truth is None:
            raise DataError(
                f"truth: expected spectra whose noise-free flux is known, got {len(self)} without it; "
                "draw or store them with truth"
            )
        return self.truth

    def to(self, device: torch.device | str) -> SpectraBatch:
        """Return the batch with every tensor on `device`."""
        return self._map(lambda tensor: to_device(tensor, device))

    def __getitem__(self, rows: slice | Tensor) -> SpectraBatch:
        """Return the selected rows as a batch (slices and index or mask tensors, not single integers)."""
        return self._map(lambda tensor: tensor[rows])

    def without_truth(self) -> SpectraBatch:
        """Return the batch as an estimator may see it."""
        return replace(self, truth=None)

    @property
    def fingerprint(self) -> str:
        """Hash of everything but the truth, 16 hexadecimal digits: equal only for equal spectra."""
        digest = hashlib.sha256()
        for name, values in sorted(self.without_truth()._tensors().items()):
            # Shape and type too: the same bytes can be other spectra.
            digest.update(f"{name} {tuple(values.shape)} {values.dtype} ".encode())
            digest.update(values.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are there, by name."""
        named = {"flux": self.flux, "sigma": self.sigma, "labels": self.labels, "snr": self.snr}
        named |= {f"conditions/{name}": values for name, values in self.conditions.items()}
        if self.truth is not None:
            named |= {f"truth/{f.name}": getattr(self.truth, f.name) for f in fields(Truth)}
        return {name: values for name, values in named.items() if values is not None}

    def _map(self, function: Callable[[Tensor], Tensor]) -> SpectraBatch:
        return _from_tensors({name: function(values) for name, values in self._tensors().items()})

    @staticmethod
    def concatenate(batches: Iterable[SpectraBatch]) -> SpectraBatch:
        """Return the batches joined along the spectrum axis; truth is kept if every batch has it.

        Raises:
            DataError: if there is no batch, or some have labels, S/N or a condition that others lack.
        """
        batches = list(batches)
        if not batches:
            raise DataError("concatenate: expected at least one batch of spectra, got none")
        # Half a truth is worse than none: it would be taken for that of all rows.
        if any(batch.truth is None for batch in batches):
            batches = [batch.without_truth() for batch in batches]
        parts = [batch._tensors() for batch in batches]
        _check_same_fields(parts)
        return _from_tensors({name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _from_tensors(named: dict[str, Tensor]) -> SpectraBatch:
    """Return the batch of what `SpectraBatch._tensors` names."""
    inner: dict[str, dict[str, Tensor]] = {"conditions": {}, "truth": {}, "": {}}
    for name, values in named.items():
        group, _, key = name.rpartition("/")
        inner[group][key] = values
    truth = Truth(**inner["truth"]) if inner["truth"] else None
    return SpectraBatch(**inner[""], conditions=inner["conditions"], truth=truth)


def _check_same_fields(parts: list[dict[str, Tensor]]) -> None:
    for number, part in enumerate(parts):
        if odd := sorted(part.keys() ^ parts[0].keys()):
            has, lacks = (number, 0) if odd[0] in part else (0, number)
            raise DataError(
                f"concatenate: batch {has} has {odd[0]}, batch {lacks} has not; "
                "give both (NaN where unknown) or none"
            )
