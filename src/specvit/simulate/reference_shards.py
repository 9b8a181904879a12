"""The reference work's stored datasets as a ready-made `SpectraSource`.

Owns streaming, noise and normalisation; the files are read by `reference_file`, the visible σ comes from
`sigma_template`. A shard of 19 GB is never loaded: rows are read as they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from specvit.errors import ConfigError, DataError
from specvit.numerics import row_median
from specvit.runs.identity import content_digest
from specvit.simulate import splits
from specvit.simulate.reference_file import LABEL_COLUMNS, ReferenceFile, Repairs
from specvit.simulate.seeding import BLOCK, noise_generator
from specvit.simulate.sigma_template import MAXIMUM_BINS, SigmaTemplate
from specvit.spectra import LOW_T_BOX, LabelSpace, SpectraBatch, Truth, check_rows, in_batches, median_snr

#: As in the simulator: an observed median is not believed below this share of the true level.
MINIMUM_LEVEL = 0.1

_TEMPLATE_CHUNKS = 4 * MAXIMUM_BINS


class ReferenceShards:
    """A `SpectraSource` over dataset files of the reference work, with noise added on reading.

    A spectrum is the same whatever the batch it is read in; only with `fresh_noise` do epochs differ.
    `repairs` counts what was changed since the last pass over all spectra began.

    Args:
        paths: dataset files on one wavelength grid, read one after the other.
        split: name that keys the noise: two splits of one seed do not share any.
        seed: seed of the noise.
        count: use the first `count` spectra only.
        noise_level: multiplies σ; 0 gives noise-free flux.
        noise: "drawn" adds our reproducible noise; "stored" takes the noisy flux kept in test files.
        fresh_noise: each epoch has noise of its own (training).
        normalisation: "observed_median" divides by the median of the noisy flux, "noise_free_median" by that
            of the clean flux, as the reference work does (it then multiplies by 0.5).
        visible_sigma: "pipeline" replaces σ by a template scaled by one number; "true" passes the stored σ,
            which contains a noise-free copy of the spectrum: only for showing the leak.
        truth: give batches their truth (`Truth.scale` is NaN: the stored spectra have no absolute level).
        label_space: names (a choice of the five labels) and bounds; labels outside raise.

    Raises:
        DataError: if a file cannot be used or the grids differ; names the file.
        ConfigError: for an unknown or impossible option.
        DomainError: if a label lies outside `label_space`.
    """

    #: The line-spread function is not written in the files.
    lsf: dict[str, list[float]] | None = None

    def __init__(
        self,
        paths: Sequence[str | Path] | str | Path,
        split: str = splits.TRAIN,
        seed: int = 42,
        count: int | None = None,
        noise_level: float = 1.0,
        noise: Literal["drawn", "stored"] = "drawn",
        fresh_noise: bool = False,
        normalisation: Literal["observed_median", "noise_free_median"] = "observed_median",
        visible_sigma: Literal["pipeline", "true"] = "pipeline",
        truth: bool = False,
        label_space: LabelSpace = LOW_T_BOX,
    ) -> None:
        _check_options(noise_level, noise, fresh_noise, normalisation, visible_sigma)
        splits.split_number(split)
        paths = [paths] if isinstance(paths, str | Path) else list(paths)
        if not paths:
            raise DataError("reference shards: no file given; name at least one dataset.h5")
        self.files = [ReferenceFile(Path(path)) for path in paths]
        self.grid, self.label_space = self.files[0].grid, label_space
        for file in self.files[1:]:
            self.grid.check_matches(file.grid, file.path.name)
        self.starts = np.cumsum([0, *(file.count for file in self.files)])
        available = int(self.starts[-1])
        self.count = available if count is None else count
        if not 1 <= self.count <= available:
            raise ConfigError(f"reference shards: asked for {self.count} spectra, the files hold {available}")
        columns = [list(LABEL_COLUMNS).index(name) for name in label_space.names]
        self.labels = np.concatenate([file.labels for file in self.files])[: self.count, columns]
        label_space.check(self.labels, self.files[0].path.name)
        self.split, self.seed, self.noise_level, self.noise = split, seed, noise_level, noise
        self.fresh_noise, self.normalisation, self.truth = fresh_noise, normalisation, truth
        self.visible_sigma, self.repairs = visible_sigma, Repairs()
        self.template = self._fit_template() if visible_sigma == "pipeline" else None

    def __len__(self) -> int:
        return self.count

    @property
    def provenance(self) -> dict[str, Any]:
        """Files, noise and conventions; the labels' hash tells files of one name apart."""
        own = {
            "labels": hashlib.sha256(self.labels.tobytes()).hexdigest()[:16],
            "label_space": self.label_space.to_dict(),
            "split": self.split,
            "seed": self.seed,
            "spectra": self.count,
            "noise": self.noise,
            "noise_level": self.noise_level,
            "fresh_noise": self.fresh_noise,
            "normalisation": self.normalisation,
            "visible_sigma": self.visible_sigma,
            "content": [file.fingerprint for file in self.files],
        }
        files = [{"path": str(file.path), "spectra": file.count} for file in self.files]
        return {"files": files, **own, "identity": content_digest(own)}

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield all spectra in order, `batch_size` at a time."""
        self.repairs = Repairs()
        yield from in_batches(self.draw, self.count, batch_size, epoch)

    def reserve(self, count: int) -> None:
        """Return None: there are no stars but those of the files."""
        return None

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop); `epoch` changes the noise if it is fresh, and nothing else."""
        check_rows(start, stop, self.count, epoch)
        epoch = epoch if self.fresh_noise else 0
        parts = [(file, low, high) for file, low, high in self._pieces(start, stop)]
        read = [file.read(low, high, self.repairs) for file, low, high in parts]
        flux = torch.from_numpy(np.concatenate([f for f, _ in read]))
        sigma = torch.from_numpy(np.concatenate([s for _, s in read]))
        if self.noise == "stored":
            noisy = torch.from_numpy(np.concatenate([f.read_noisy(low, high) for f, low, high in parts]))
        else:
            noisy = torch.addcmul(flux, sigma, self._noise(start, stop, epoch), value=self.noise_level)
        labels = torch.from_numpy(self.labels[start:stop].astype(np.float32))
        names = parts[0][0].conditions
        conditions = {
            name: torch.from_numpy(np.concatenate([f.conditions[name][low:high] for f, low, high in parts]))
            for name in names
        }
        return self._observed(flux, sigma, noisy, labels, conditions)

    def _observed(
        self, flux: Tensor, sigma: Tensor, noisy: Tensor, labels: Tensor, conditions: dict[str, Tensor]
    ) -> SpectraBatch:
        level = row_median(flux)
        sigma_drawn = sigma * self.noise_level
        snr = median_snr(flux, sigma_drawn) if self.noise_level > 0 else torch.full_like(level, torch.inf)
        visible = (
            sigma_drawn if self.template is None else self.template(row_median(sigma)) * self.noise_level
        )
        observed = self.normalisation == "observed_median"
        scale = 1 / (torch.maximum(row_median(noisy), MINIMUM_LEVEL * level) if observed else level)
        truth = None
        if self.truth:
            truth = Truth(
                flux * scale[:, None], sigma_drawn * scale[:, None], torch.full_like(scale, torch.nan)
            )
        return SpectraBatch(noisy * scale[:, None], visible * scale[:, None], labels, conditions, snr, truth)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[ReferenceFile, int, int]]:
        for file, first in zip(self.files, self.starts, strict=False):
            low, high = max(start - int(first), 0), min(stop - int(first), file.count)
            if low < high:
                yield file, low, high

    def _noise(self, start: int, stop: int, epoch: int) -> Tensor:
        # Whole blocks: the noise of a spectrum must not depend on where a request begins.
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        noise = torch.empty(len(blocks) * BLOCK, self.grid.size)
        for i, block in enumerate(blocks):
            generator = noise_generator(self.seed, self.split, epoch, block)
            noise[i * BLOCK : (i + 1) * BLOCK].normal_(generator=generator)
        first = blocks.start * BLOCK
        return noise[start - first : stop - first]

    def _fit_template(self) -> SigmaTemplate:
        """Fit on chunks of 64 spectra spread over the set: 2048 spectra, a few seconds of reading."""
        starts = np.unique(np.linspace(0, max(self.count - BLOCK, 0), _TEMPLATE_CHUNKS).astype(int))
        if self.count <= _TEMPLATE_CHUNKS * BLOCK:
            starts = np.arange(0, self.count, BLOCK)
        sigma = [
            file.read(low, high, Repairs())[1]
            for start in starts
            for file, low, high in self._pieces(int(start), min(int(start) + BLOCK, self.count))
        ]
        return SigmaTemplate.fit(np.concatenate(sigma))


def _check_options(
    noise_level: float, noise: str, fresh_noise: bool, normalisation: str, visible_sigma: str
) -> None:
    if not noise_level >= 0:
        raise ConfigError(f"noise_level: expected a number >= 0, got {noise_level}")
    for name, value, known in (
        ("noise", noise, ("drawn", "stored")),
        ("normalisation", normalisation, ("observed_median", "noise_free_median")),
        ("visible_sigma", visible_sigma, ("pipeline", "true")),
    ):
        if value not in known:
            raise ConfigError(f"{name}: '{value}' is not known; choose {' or '.join(known)}")
    if noise == "stored" and (noise_level != 1 or fresh_noise):
        raise ConfigError("noise: the stored noise has level 1 and one realisation; use noise='drawn'")
