"""The simulated world: prior -> clean flux -> noise -> what an observer sees, in batches on one device.

Owns the order of operations and the two normalisations. The physics sits below (`library`, `instrument`);
storing spectra is the business of `store`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.instrument import Instrument, ObservedEmulator
from specvit.simulate.priors import Prior
from specvit.simulate.seeding import BLOCK, label_generator, noise_generator, split_number
from specvit.spectra import SpectraBatch, Truth, WavelengthGrid, median_snr, row_median

if TYPE_CHECKING:
    from specvit.simulate.world import World

Normalisation = Literal["observed_median", "noise_free_median"]
VisibleSigma = Literal["pipeline", "true"]

#: A pipeline knows the magnitude from photometry, so the continuum level it assumes cannot collapse: it is at
#: least this share of the flat-AB level, even where noise makes the observed median tiny (SNR << 1).
MINIMUM_LEVEL = 0.1

#: Spectra computed at once on an accelerator, where small blocks would be all launch overhead.
DEVICE_CHUNK = 4096


class Simulator:
    """Draws noisy spectra with known labels.

    Args:
        observed: the emulator folded with the instrument.
        instrument: pixel grid, conditions and noise.
        prior: distribution of the labels; must lie in the emulator's domain.
        noise_level: multiplies sigma, as in the reference work; 0 gives noise-free flux.
        normalisation: "observed_median" divides flux and sigma by the median of the noisy flux, as a loader
            of real spectra would; "noise_free_median" by that of the clean flux, as the reference work does.
        visible_sigma: "pipeline" gives estimators the sigma a pipeline could know; "true" gives the sigma the
            noise was drawn with, which contains a noise-free copy of the spectrum: only for showing the leak.
        world: the recipe this simulator was built from, if any (provenance).

    Raises:
        ConfigError: for an unknown option or a negative noise level.
        DomainError: if the prior reaches outside the emulator's domain; names the label.
    """

    def __init__(
        self,
        observed: ObservedEmulator,
        instrument: Instrument,
        prior: Prior,
        noise_level: float = 1.0,
        normalisation: Normalisation = "observed_median",
        visible_sigma: VisibleSigma = "pipeline",
        world: World | None = None,
    ) -> None:
        if not noise_level >= 0:
            raise ConfigError(f"noise_level: expected a number >= 0, got {noise_level}")
        if normalisation not in ("observed_median", "noise_free_median"):
            raise ConfigError(
                f"normalisation: '{normalisation}' is not known; choose observed_median or noise_free_median"
            )
        if visible_sigma not in ("pipeline", "true"):
            raise ConfigError(f"visible_sigma: '{visible_sigma}' is not known; choose pipeline or true")
        space = prior.label_space
        if space.names != observed.label_space.names:
            raise ConfigError(
                f"prior: labels {', '.join(space.names)} are not those of the emulator "
                f"({', '.join(observed.label_space.names)})"
            )
        observed.label_space.check(torch.tensor([space.low, space.high], dtype=torch.float64), "prior")
        self.observed, self.instrument, self.prior = observed.eval(), instrument, prior
        self.noise_level, self.normalisation, self.visible_sigma = noise_level, normalisation, visible_sigma
        self.world = world
        self._on_device: dict[torch.device, tuple[ObservedEmulator, Instrument]] = {}

    @classmethod
    def build(cls, instrument: str = "pfs_mr_reference", **options) -> Simulator:
        """Return the simulator of a named world; `options` are the fields of `World`."""
        from specvit.simulate.world import World

        return World(instrument=instrument, **options).build()

    @property
    def grid(self) -> WavelengthGrid:
        """Pixel grid of the spectra."""
        return self.instrument.grid

    def observe(
        self, labels: Tensor, conditions: dict[str, Tensor], noise: Tensor, truth: bool = True
    ) -> SpectraBatch:
        """Return the spectra of given labels under given conditions and unit-variance noise.

        Args:
            labels: shape (B, P), inside the emulator's domain (not checked here).
            conditions: name -> shape (B,), see `Instrument`.
            noise: shape (B, L), standard normal.
            truth: also return what only the simulator knows.
        """
        observed, instrument = self._modules(labels.device)
        with torch.no_grad():
            flux = observed(labels, check=False)
            terms = instrument.noise_terms(conditions, flux.dtype)
            sigma = self._scaled(terms.sigma(flux))
            noisy = torch.addcmul(flux, sigma, noise)
            snr = median_snr(flux, sigma) if self.noise_level > 0 else torch.full_like(flux[:, 0], torch.inf)
            level = row_median(noisy)
            known = level.clamp(min=MINIMUM_LEVEL)
            scale = 1 / (known if self.normalisation == "observed_median" else row_median(flux))
            visible = sigma
            if self.visible_sigma == "pipeline":
                continuum = known[:, None] * instrument.continuum.to(flux.dtype)
                visible = self._scaled(terms.sigma(continuum))
            visible, noisy = visible * scale[:, None], noisy.mul_(scale[:, None])
            if not truth:
                return SpectraBatch(noisy, visible, labels, conditions, snr)
            known_only_here = Truth(flux * scale[:, None], sigma * scale[:, None], scale)
            return SpectraBatch(noisy, visible, labels, conditions, snr, known_only_here)

    def _scaled(self, sigma: Tensor) -> Tensor:
        return sigma if self.noise_level == 1 else sigma * self.noise_level

    def labels_and_conditions(self, split: str, seed: int, block: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what block `block` of a split is made of: labels (BLOCK, P) and conditions, on the CPU."""
        generator = label_generator(seed, split, block)
        labels = self.prior.sample(BLOCK, generator)
        weather = torch.Generator().manual_seed(int(generator.integers(2**62)))
        return labels, self.instrument.sample_conditions(BLOCK, weather)

    def draw(
        self,
        split: str,
        seed: int,
        start: int,
        stop: int,
        epoch: int = 0,
        device: torch.device | str = "cpu",
        truth: bool = True,
    ) -> SpectraBatch:
        """Return spectra `start` to `stop` (exclusive) of a split.

        On the CPU a spectrum is bitwise the same whatever range it is drawn in; on an accelerator it is the
        same to float32 rounding. `epoch` changes the noise only; without `truth` less is copied.
        """
        split_number(split)
        if not 0 <= start < stop:
            raise ConfigError(f"draw: expected 0 <= start < stop, got {start} and {stop}")
        device = torch.device(device)
        first, last = start // BLOCK, -(-stop // BLOCK)
        together = 1 if device.type == "cpu" else max(1, DEVICE_CHUNK // BLOCK)
        parts = (
            self._draw_blocks(split, seed, range(b, min(b + together, last)), epoch, device, truth)
            for b in range(first, last, together)
        )
        # Rows are copied out block by block while they are in the cache, not joined at the end.
        whole: SpectraBatch | None = None
        at = 0
        for b, part in zip(range(first, last, together), parts, strict=True):
            rows = part[max(start - b * BLOCK, 0) : stop - b * BLOCK]
            if len(rows) == stop - start:
                return rows
            whole = rows.empty_like(stop - start) if whole is None else whole
            whole.copy_rows(at, rows)
            at += len(rows)
        assert whole is not None
        return whole

    def stream(
        self, split: str, seed: int, batch: int, device: torch.device | str = "cpu", start: int = 0
    ) -> Iterator[SpectraBatch]:
        """Yield spectra `start`, `start` + 1, ... of a split for ever, `batch` at a time, without truth."""
        while True:
            yield self.draw(split, seed, start, start + batch, device=device, truth=False)
            start += batch

    def source(
        self,
        split: str,
        seed: int,
        count: int,
        truth: bool = False,
        fresh_noise: bool = False,
        device: torch.device | str = "cpu",
    ) -> SimulatedSource:
        """Return the first `count` spectra of a split as a re-iterable source, drawn when asked for."""
        return SimulatedSource(self, split, seed, count, truth, fresh_noise, torch.device(device))

    def _draw_blocks(
        self, split: str, seed: int, blocks: range, epoch: int, device: torch.device, truth: bool
    ) -> SpectraBatch:
        drawn = [self.labels_and_conditions(split, seed, b) for b in blocks]
        labels = torch.cat([labels for labels, _ in drawn])
        conditions = {name: torch.cat([c[name] for _, c in drawn]) for name in drawn[0][1]}
        noise = torch.empty(len(blocks) * BLOCK, self.grid.size, device=device)
        for i, b in enumerate(blocks):
            noise[i * BLOCK : (i + 1) * BLOCK].normal_(
                generator=noise_generator(seed, split, epoch, b, device)
            )
        moved = {name: value.to(device) for name, value in conditions.items()}
        return self.observe(labels.to(device), moved, noise, truth)

    def _modules(self, device: torch.device) -> tuple[ObservedEmulator, Instrument]:
        if device.type == "cpu":
            return self.observed, self.instrument
        if device not in self._on_device:
            self._on_device[device] = (
                copy.deepcopy(self.observed).to(device),
                copy.deepcopy(self.instrument).to(device),
            )
        return self._on_device[device]


class SimulatedSource:
    """A finite `SpectraSource` over one split of a simulator.

    With `fresh_noise` each pass draws new noise on the same stars (training); otherwise every pass yields the
    same spectra (validation, test).
    """

    def __init__(
        self,
        simulator: Simulator,
        split: str,
        seed: int,
        count: int,
        truth: bool,
        fresh_noise: bool,
        device: torch.device,
    ) -> None:
        split_number(split)
        if count < 1:
            raise ConfigError(f"{split}: expected at least 1 spectrum, got {count}")
        self.simulator, self.split, self.seed, self.count = simulator, split, seed, count
        self.truth, self.fresh_noise, self.device = truth, fresh_noise, device
        self.epoch = 0
        self.grid, self.label_space = simulator.grid, simulator.prior.label_space

    def __len__(self) -> int:
        return self.count

    def batches(self, batch_size: int) -> Iterator[SpectraBatch]:
        """Yield all spectra in order, `batch_size` at a time."""
        epoch = self.epoch
        if self.fresh_noise:
            self.epoch += 1
        for start in range(0, self.count, batch_size):
            stop = min(start + batch_size, self.count)
            yield self.simulator.draw(self.split, self.seed, start, stop, epoch, self.device, self.truth)
