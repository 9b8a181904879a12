"""The simulated world: prior -> clean flux -> noise -> what an observer sees, in batches on one device.

`Simulator` owns the order of operations and the two normalisations, `World` the few choices in words from which one
can be rebuilt anywhere: shards, runs and worker processes carry a `World`, never a pickled simulator. The physics sits
below (`library`, `instrument`); storing spectra is the business of `writer`, drawing them fast on a CPU that of `tiles`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from specvit.documents.problems import wrong_entry
from specvit.errors import ConfigError, ShapeError
from specvit.instrument import Instrument, ObservedEmulator
from specvit.library import Emulator
from specvit.numerics import to_device
from specvit.simulate import splits
from specvit.simulate.confined_prior import confined
from specvit.simulate.identity import emulator_fingerprint, instrument_fingerprint
from specvit.simulate.observer import Normalisation, Observer, Records, VisibleSigma
from specvit.simulate.priors import Prior, PriorWithHoles, make_prior
from specvit.simulate.seeding import (
    BLOCK,
    STARS,
    check_seed,
    label_generator,
    noise_seeds,
)
from specvit.simulate.simulated_source import SimulatedSource
from specvit.simulate.tiles import TiledDrawing
from specvit.simulate.widening import NOISE_FACTOR, Widening, WiderConditions
from specvit.spectra import SpectraBatch, WavelengthGrid

#: Spectra computed at once on an accelerator, where small batches would be all launch overhead.
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
        visible_sigma: "pipeline" gives estimators the sigma a pipeline could know; "tilted" the same with a
            continuum that follows the slope of the observed flux, for bright stars; "true" gives the sigma the
            noise was drawn with, which contains a noise-free copy of the spectrum: only for showing the leak.
        world: the recipe this simulator was built from, if any (provenance).
        widening: for training: brightness and noise beyond those of the instrument, see `Widening`.

    Raises:
        ConfigError: for an unknown option, a negative noise level, or a widening the instrument cannot give.
        DomainError: if the prior reaches outside the emulator's domain; names the label. From a hole of the library
            nothing is drawn.
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
        widening: Widening | None = None,
    ) -> None:
        self.observer = Observer(noise_level, normalisation, visible_sigma)
        space = prior.label_space
        if space.names != observed.label_space.names:
            raise ConfigError(
                f"prior: labels {', '.join(space.names)} are not those of the emulator "
                f"({', '.join(observed.label_space.names)})"
            )
        observed.label_space.check(torch.tensor([space.low, space.high], dtype=torch.float64), "prior")
        self.observed, self.instrument = observed.eval(), instrument
        self.prior = confined(prior, observed.coverage)
        self.noise_level, self.normalisation, self.visible_sigma = noise_level, normalisation, visible_sigma
        self.world, self.widening = world, widening
        self._wider = None if widening is None else WiderConditions(widening, instrument, noise_level)
        self._on_device: dict[torch.device, tuple[ObservedEmulator, Instrument]] = {}
        self._tiled: TiledDrawing | None = None
        self._latest: tuple[tuple[str, int, int], tuple[Tensor, dict[str, Tensor]]] | None = None

    @classmethod
    def build(cls, instrument: str = "pfs_mr_reference", **options: Any) -> Simulator:
        """Return the simulator of a named world; `options` are the fields of `World`."""
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
            conditions: name -> shape (B,), see `Instrument`; `NOISE_FACTOR` multiplies the noise level.
            noise: shape (B, L), standard normal.
            truth: also return what only the simulator knows.
        """
        observed, instrument = self._modules(labels.device)
        with torch.no_grad():
            flux = observed(labels, check=False)
            seen = Records.empty(flux.shape, truth, flux.new_empty)
            terms = instrument.noise_terms(conditions, flux.dtype)
            continuum = instrument.continuum.to(flux.dtype)
            # A copy, as `record` overwrites it.
            factor, live = conditions.get(NOISE_FACTOR), instrument.live_pixels(labels.device)
            self.observer.record(flux, terms, continuum, noise.clone(), seen, factor, live)
        return SpectraBatch(seen.flux, seen.sigma, labels, conditions, seen.snr, seen.truth)

    def labels_and_conditions(self, split: str, seed: int, group: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return labels (STARS, P) and conditions of the stars of a split from `group` · STARS on; CPU."""
        generator = label_generator(seed, split, group)
        labels = self.prior.sample(STARS, generator)
        self._check_drawn(labels)
        # Conditions are drawn by PyTorch; seeded from the group's generator they belong to its stars.
        weather = torch.Generator().manual_seed(int(generator.integers(2**62)))
        conditions = self.instrument.sample_conditions(STARS, weather)
        # Drawn after them: the survey's own stars are the same with and without a widening.
        return labels, conditions if self._wider is None else self._wider.widened(conditions, weather)

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
        splits.split_number(split)
        check_seed(seed)
        if not 0 <= start < stop:
            raise ConfigError(f"draw: expected 0 <= start < stop, got {start} and {stop}")
        device = torch.device(device)
        if device.type == "cpu":
            if self._tiled is None:
                self._tiled = TiledDrawing(
                    self.observed, self.instrument, self.observer, self.labels_and_conditions
                )
            with torch.no_grad():
                return self._tiled.draw(split, seed, start, stop, epoch, truth)
        # Whole blocks, cut afterwards: noise is keyed by block.
        first, last = start // BLOCK * BLOCK, -(-stop // BLOCK) * BLOCK
        parts = []
        for low in range(first, last, DEVICE_CHUNK):
            high = min(low + DEVICE_CHUNK, last)
            part = self._draw_on_device(split, seed, low, high, epoch, device, truth)
            parts.append(part[max(start - low, 0) : stop - low])
        return parts[0] if len(parts) == 1 else SpectraBatch.concatenate(parts)

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

    def _draw_on_device(
        self, split: str, seed: int, start: int, stop: int, epoch: int, device: torch.device, truth: bool
    ) -> SpectraBatch:
        """Return whole blocks of spectra, all at once."""
        labels, conditions = self._stars_on_device(split, seed, start, stop, device)
        noise = torch.empty(stop - start, self.grid.size, device=device)
        # One generator, set anew for every block: making one costs as much as a launch.
        generator = torch.Generator(device=device)
        seeds = noise_seeds(seed, split, epoch, range(start // BLOCK, -(-stop // BLOCK)))
        for values, number in zip(noise.split(BLOCK), seeds, strict=True):
            values.normal_(generator=generator.manual_seed(number))
        # Before `observe`, which may be compiled: a compiler cannot follow how modules are copied.
        self._modules(labels.device)
        return self.observe(labels, conditions, noise, truth)

    def _stars_on_device(
        self, split: str, seed: int, start: int, stop: int, device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return labels (B, P) and conditions of some stars on an accelerator."""
        groups = range(start // STARS, -(-stop // STARS))
        drawn = [self._group(split, seed, group) for group in groups]
        rows = slice(start - groups.start * STARS, stop - groups.start * STARS)
        names, count = list(drawn[0][1]), len(self.prior.label_space)
        # One table, so one copy.
        tables = [torch.cat([labels.T, torch.stack([c[name] for name in names])]) for labels, c in drawn]
        table = to_device(torch.cat(tables, dim=1)[:, rows].contiguous(), device)
        return table[:count].T.contiguous(), dict(zip(names, table[count:], strict=True))

    def _group(self, split: str, seed: int, group: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what `labels_and_conditions` does; the last group is kept, as small batches ask for it again."""
        key, latest = (split, seed, group), self._latest
        if latest is None or latest[0] != key:
            latest = self._latest = (key, self.labels_and_conditions(split, seed, group))
        return latest[1]

    def _check_drawn(self, labels: Tensor) -> None:
        """Raise unless a prior, which may be a user's own, keeps its word: the emulator would not notice."""
        space = self.prior.label_space
        if labels.shape != (STARS, len(space)) or labels.dtype != torch.float32:
            raise ShapeError(
                f"{type(self.prior).__name__}.sample: expected float32 labels of shape ({STARS}, {len(space)}), "
                f"got {labels.dtype} of shape {tuple(labels.shape)}"
            )
        space.check(labels, f"{type(self.prior).__name__}.sample")
        self.observed.emulator.check(labels, f"{type(self.prior).__name__}.sample")

    def with_compiled_observe(self) -> Simulator:
        """Return the same simulator whose `observe` is compiled for accelerators; slow to start."""
        fast = copy.copy(self)
        fast.observe = torch.compile(self.observe)  # type: ignore[method-assign]
        return fast

    def describe(self) -> dict[str, Any]:
        """Return the choices that spectra depend on, JSON-ready; `world` is None for one built by hand."""
        return {
            "world": self.world.to_dict() if self.world is not None else None,
            "emulator": emulator_fingerprint(self.observed),
            "instrument": self.instrument.name,
            "instrument_fingerprint": instrument_fingerprint(self.instrument),
            "prior": {"name": type(self.prior).__name__, **self.prior.label_space.to_dict(), **self._cut()},
            "grid": self.grid.fingerprint,
            "noise_level": self.noise_level,
            "normalisation": self.normalisation,
            "visible_sigma": self.visible_sigma,
            # Only where there is one: what was identified before there were any keeps its identity.
            **({} if self.widening is None else {"widening": asdict(self.widening)}),
        }

    @property
    def cut(self) -> str | None:
        """How much of the box of labels no star is drawn from, in one line for people; None where all of it is."""
        return self.prior.coverage.describe_cut() if isinstance(self.prior, PriorWithHoles) else None

    def _cut(self) -> dict[str, Any]:
        """Return what is not drawn of the prior's box; nothing where all is, so that identities stay what they were."""
        return self.prior.coverage.to_dict() if isinstance(self.prior, PriorWithHoles) else {}

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies these spectra, JSON-ready: as `describe`, without names and paths of files."""
        return {name: value for name, value in self.describe().items() if name not in ("world", "instrument")}

    def _modules(self, device: torch.device) -> tuple[ObservedEmulator, Instrument]:
        if device.type == "cpu":
            return self.observed, self.instrument
        if device not in self._on_device:
            self._on_device[device] = (
                # Copies, as `to` moves a module in place and the CPU needs it too.
                copy.deepcopy(self.observed).to(device),
                copy.deepcopy(self.instrument).to(device),
            )
        return self._on_device[device]


@dataclass(frozen=True)
class World:
    """Library, instrument, prior and noise conventions of a simulated survey.

    Args:
        library: "builtin", or the path of an emulator file made by `specvit library build`.
        instrument: preset name or path of an instrument file.
        prior: "uniform" (continuous box) or "lattice" (the reference work's snapping).
        bounds: label name -> (low, high), replacing the emulator's own box for that label.
        noise_level, normalisation, visible_sigma, widening: see `Simulator`.
    """

    library: str = "builtin"
    instrument: str = "pfs_mr_reference"
    prior: str = "uniform"
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    noise_level: float = 1.0
    normalisation: str = "observed_median"
    visible_sigma: str = "pipeline"
    widening: Widening | None = None

    def build(self) -> Simulator:
        """Return the simulator of this world.

        Raises:
            ConfigError, DataError: naming the field or the file that is wrong.
        """
        emulator = self.emulator()
        instrument = Instrument.load(self.instrument).clipped_to(emulator.grid)
        space = emulator.label_space.replace(**{k: (v[0], v[1]) for k, v in self.bounds.items()})
        return Simulator(
            instrument.observe(emulator),
            instrument,
            make_prior(self.prior, space, emulator.coverage),
            self.noise_level,
            self.normalisation,  # type: ignore[arg-type]  # Simulator checks the name
            self.visible_sigma,  # type: ignore[arg-type]
            world=self,
            widening=self.widening,
        )

    def emulator(self) -> Emulator:
        """Return the emulator on the library's own grid."""
        return Emulator.builtin() if self.library == "builtin" else Emulator.load(Path(self.library))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> World:
        """Return the world described by `to_dict`; ConfigError names an unknown or wrong field."""
        if isinstance(data, dict) and (unknown := set(data) - set(cls.__dataclass_fields__)):
            raise ConfigError(f"world: unknown field '{sorted(unknown)[0]}'; written by a newer specvit?")
        try:
            return TypeAdapter(cls).validate_python(data)
        except ValidationError as error:
            raise ConfigError(f"world: {wrong_entry(error)}; correct it or simulate again") from error
