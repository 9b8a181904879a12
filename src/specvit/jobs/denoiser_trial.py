"""The trial of a denoiser, for studies: it is fitted once, and scored by the flux of the test stars, star by star.

A denoiser has options of its own (those of `specvit train --model NAME`), and three that say how it is asked:
`strength`, 0 for the noisy spectra themselves; `draws`, by which its posterior is scored; and `noise_share`, which gives
it test spectra with that share of their noise, and the sigma of all of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specvit.denoise import Denoiser
from specvit.denoise.learned.config import RECIPE
from specvit.denoise.making import FITTED, WIENER, make_denoiser, strongest
from specvit.errors import ConfigError
from specvit.estimators import Choice
from specvit.estimators.spec import EstimatorSpec, Setting
from specvit.instrument import ObservedEmulator
from specvit.jobs.config.trial import TrialConfig
from specvit.jobs.sources import Sources
from specvit.jobs.stages import DrawTestStars, TestStars
from specvit.jobs.trial import Trial, simulator_of
from specvit.jobs.watch import Update
from specvit.jobs.work import Record, Work
from specvit.jobs.worlds import world_of
from specvit.runs import FluxScores, RunFolder
from specvit.simulate import splits
from specvit.spectra import MemorySource, SpectraBatch, collect

#: Name of the stage in a run folder.
FLUX = "flux scores"

#: How a denoiser is asked.
ASKED = {"strength": 1.0, "draws": 0, "noise_share": 1.0}

#: Spectra scored at once.
PIECE = 100


def is_denoiser_trial(config: TrialConfig) -> bool:
    """Return whether a trial is one of a denoiser."""
    return config.estimator.name in FITTED


def _own(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are the denoiser's, without those that say how it is asked."""
    # One recipe serves all trials of a study; a closed form has no use for it.
    others = (*ASKED, *RECIPE) if name == WIENER else ASKED
    return {key: value for key, value in options.items() if key not in others}


@dataclass(frozen=True)
class DenoiserTrial(Trial):
    """A trial whose estimator is a denoiser."""

    @property
    def _training_set(self) -> tuple[int, bool]:
        return splits.ENDLESS, False

    def sources(self) -> Sources:
        """Return its spectra; those that choose its weights with their truth, and test stars of the world asked for."""
        found = super().sources()
        simulator, stars = simulator_of(self.world), self.config.simulate
        drawn = simulator.source(splits.VALIDATION, stars.seed, stars.validation, truth=True)
        held_out = MemorySource(collect(drawn), drawn.grid, drawn.label_space, drawn.lsf)
        return replace(found, validation=held_out, test=self.yardstick(exact=False).source)

    @property
    def identity(self) -> dict[str, Any]:
        """What its scores depend on."""
        return {**super().identity, "job": "denoiser trial", "judged": self.yardstick(exact=False).spectra}

    @property
    def is_in_own_world(self) -> bool:
        """True: it is scored in one world only, whichever that is."""
        return True

    def carry_out(self, work: Work) -> None:
        """Fit and score."""
        sources = self.sources()
        test = work.do(DrawTestStars(sources.test))
        work.do(ScoreFlux(self.choice.title, self.config.estimator.name, self.options, sources, test))

    def flux(self, run: RunFolder) -> FluxScores:
        """Return its scores, from its run folder."""
        return FluxScores.read(run)


def prepare_denoiser_trial(config: TrialConfig) -> DenoiserTrial:
    """Return the trial of a configuration, checked without drawing a spectrum.

    Raises:
        ConfigError, DataError: for what cannot be meant; names the key.
    """
    name = config.estimator.name
    world = replace(
        world_of(config.library, config.instrument, config.simulate),
        visible_sigma=config.simulate.visible_sigma,
    )
    general = {key: value for key, value in config.training.options.items() if key in RECIPE}
    length = {"steps": config.training.updates, "minutes": 0.0, "seed": config.simulate.seed}
    options = {**general, **config.estimator.options, **length}
    made = make_denoiser(name, _own(name, options), lambda: simulator_of(world).observed, device="cpu")
    strength, draws, share = asked(options)
    if strength > strongest(made):
        raise ConfigError(
            f"estimator.options: strength {strength:g} is more of the noise than high = {strongest(made):g}, with which it is trained"
        )
    if not 0 <= strength <= 1 or draws < 0 or (draws and strength < 1) or not 0 < share <= 1:
        raise ConfigError(
            "estimator.options: expected strength from 0 to 1, draws at strength 1 alone, and a noise_share of 0 to 1"
        )
    title = f"{name} {options.get('objective', '')}".rstrip()
    return DenoiserTrial(config, Choice(name, name, _spec(name, title), title), options, world)


def asked(options: Mapping[str, Any]) -> tuple[float, int, float]:
    """Return strength, draws and share of the noise by which a denoiser is asked; ConfigError for no numbers."""
    try:
        strength, draws, share = (float(options.get(key, usual)) for key, usual in ASKED.items())
    except (TypeError, ValueError):
        raise ConfigError(f"estimator.options: expected numbers for {', '.join(ASKED)}") from None
    return strength, int(draws), share


def _spec(name: str, title: str) -> EstimatorSpec:
    """Return what plans are told of a denoiser; it estimates no labels, so no table of estimators has it."""

    def refuse(asked: Setting | Path) -> Any:
        raise ConfigError(f"{name}: estimates flux, not labels")

    return EstimatorSpec(name, title, "", "network", refuse, refuse, lambda model: {}, name)


@dataclass(frozen=True)
class ScoreFlux:
    """Fit a denoiser and keep its errors of every test star.

    Args:
        who: what a watcher is told.
        model, options: see `make_denoiser`.
        sources: of the trial.
        test: the test stars, with their truth.
    """

    who: str
    model: str
    options: dict[str, Any]
    sources: Sources
    test: TestStars

    name = FLUX

    @property
    def title(self) -> str:
        """What a watcher is told."""
        return f"fit and score {self.who}"

    def make(self, run: RunFolder, record: Record, update: Update) -> FluxScores:
        """Fit, save and score."""
        denoiser = make_denoiser(self.model, _own(self.model, self.options), self._observed, device="cpu")
        denoiser.fit(self.sources.drawn, self.sources.validation, update)
        denoiser.save(run.path / "models" / self.model)
        facts = denoiser.origin.training
        record |= {
            "options": json.loads(json.dumps(self.options)),
            "last_scores": facts.facts.get("last_scores"),
        }
        found = flux_scores(denoiser, self.test.batch, *asked(self.options))
        found.write(run)
        return found

    def _observed(self) -> ObservedEmulator:
        simulator = self.sources.simulator
        if simulator is None:
            raise ConfigError(
                f"{self.model}: mixes stars of the simulated world, and these spectra have none"
            )
        return simulator.observed

    def read(self, run: RunFolder) -> FluxScores:
        """Return what an earlier start kept."""
        return FluxScores.read(run)


def flux_scores(
    denoiser: Denoiser, stars: SpectraBatch, strength: float = 1.0, draws: int = 0, noise_share: float = 1.0
) -> FluxScores:
    """Return the errors of N spectra whose noise-free flux is known, over the pixels of each that are not dead."""
    parts: list[dict[str, Tensor]] = []
    for first in range(0, len(stars), PIECE):
        some = stars[first : first + PIECE]
        clean, live = some.known_truth().flux, torch.isfinite(some.sigma)
        flux = some.flux if noise_share == 1 else clean + noise_share * (some.flux - clean)
        found = denoiser.denoise(flux, some.sigma, strength, draws, seed=first)
        off = (found.mean - clean).double()
        part = {"error": _mean(off.square(), live), "weighed": _mean(off.abs() / some.sigma, live)}
        if found.samples is not None:
            part |= {f"inside_{share}": _inside(found.samples, clean, live, share) for share in (68, 95)}
        parts.append(part)
    joined: dict[str, Any] = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    return FluxScores(**joined)


def _inside(samples: Tensor, clean: Tensor, live: Tensor, share: int) -> Tensor:
    """Return the share of pixels whose truth is in the central `share` per cent of S samples, shape (B,).

    The rank of a truth among S samples of its own posterior is uniform on S + 1 places; the places at both ends of the
    interval count by the part of them that lies inside it.
    """
    places = samples.shape[1] + 1
    rank = (samples < clean[:, None]).sum(dim=1).double()
    edge = (1 - share / 100) / 2 * places
    low, high = rank.clamp(min=edge), (rank + 1).clamp(max=places - edge)
    return _mean((high - low).clamp(min=0), live)


def _mean(values: Tensor, live: Tensor) -> Tensor:
    return torch.where(live, values, 0.0).double().sum(dim=1) / live.sum(dim=1).clamp(min=1)
