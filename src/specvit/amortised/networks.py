"""`SetupNetwork`: a network for the spectra of one setup, trained when it is first needed and then kept.

It is kept by the digest of everything it depends on: setup, library, settings of the fit, kind of network, length of the
training. What was trained for the spectra of one night serves those of the next.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from specvit.amortised.draws import SetupSpectra
from specvit.amortised.nuisances import Nuisances
from specvit.amortised.quick_velocity import QuickVelocity
from specvit.amortised.rest_frame import RestFrame
from specvit.amortised.setup import Setup
from specvit.errors import ConfigError, DataError
from specvit.estimators.architectures import architecture_of
from specvit.estimators.making import make_estimator
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.library import Emulator
from specvit.models.inputs import Progress
from specvit.runs.identity import content_digest
from specvit.runs.user_cache import user_cache
from specvit.simulate import splits
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.templates import WidthTemplates

#: Raised when the same inputs make other networks: those of before are not taken for them.
NETWORKS = 1
#: Spectra by which weights are chosen, and those that show what the quick velocity leaves.
VALIDATION, SHOWN = 2_000, 2_048
#: Settings of the fit that a network depends on, beside the windows, which are the setup's.
OURS = (
    *("flat_error", "core_error", "core_width", "alpha_sigma", "carbon_sigma", "width_sigma"),
    *("velocity", "continuum_order"),
)
#: km/s: more is no error of a velocity that was found, but one that was not.
FOUND = 120.0
#: Kind of network unless another is asked for.
USUAL = "subspace"
#: Processor time of a training spectrum over that of drawing it: of the usual kind, and of others.
EFFORT, MOST_EFFORT = 1.8, 8.0
#: Spectra that are drawn whatever the number of updates: domain, validation, correction of the errors.
EXTRA_SPECTRA = 30_000
#: A library that gets nothing wrong, relative to the flux.
NO_ERROR = 1e-4
#: Levels of S/N at which errors of velocities are stated.
LEVELS = 12


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained.

    Args:
        model: kind of network.
        size: of it; "" takes the kind's own.
        updates: steps of the optimiser.
        seed: of weights and spectra.
        nuisances: what training spectra have.
        options: of the architecture and the recipe, by name.

    Raises:
        ConfigError: for an unknown kind or size, or too few updates.
    """

    model: str = USUAL
    size: str = "nano"
    updates: int = 3_000
    seed: int = 1
    nuisances: Nuisances = field(default_factory=Nuisances)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        architecture_of(self.model).split_options(self.size, self.options)
        if not 1 <= self.updates <= 1_000_000:
            raise ConfigError(f"updates: expected 1 to 1,000,000, got {self.updates}")

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "model": self.model,
            "size": self.size,
            "updates": self.updates,
            "seed": self.seed,
            "nuisances": dict(self.nuisances.to_dict()),
            "options": dict(self.options),
        }


@dataclass(frozen=True)
class SetupNetwork:
    """A trained network with what prepares its spectra.

    Args:
        estimator: of the labels, on the pixels of `frame`.
        frame: brings spectra to the rest frame.
        velocities: finds their velocities.
        templates: of the library at the resolution of the setup.
        velocity_errors: ln(S/N), rising, and km/s, shape (2, V): what the quick velocity is off by, 1 σ.
    """

    estimator: NetworkEstimator
    frame: RestFrame
    velocities: QuickVelocity
    templates: WidthTemplates
    velocity_errors: np.ndarray

    def velocity_error(self, snr: np.ndarray) -> np.ndarray:
        """Return 1 σ of velocities, km/s, for S/N per pixel, each (N,)."""
        level, error = self.velocity_errors
        found: np.ndarray = np.interp(np.log(np.maximum(snr, 1e-3)), level, error)
        return found


class NetworkStore:
    """Networks by setup, of one library and with the same settings.

    Args:
        emulator: of the library.
        settings: of the fit.
        plan: of the training.
        folder: where they are kept; None takes the user's cache.
    """

    def __init__(
        self, emulator: Emulator, settings: StarFitSettings, plan: TrainingPlan, folder: Path | None = None
    ) -> None:
        self.emulator, self.settings, self.plan = emulator, settings, plan
        self.folder = user_cache("networks") if folder is None else folder
        self._emulator_digest = ""

    def path(self, setup: Setup) -> Path:
        """Return where the network of a setup is kept."""
        if not self._emulator_digest:
            self._emulator_digest = emulator_digest(self.emulator)
        settings = {name: getattr(self.settings, name) for name in OURS}
        inputs = {
            "networks": NETWORKS,
            "setup": setup.to_dict(),
            "emulator": self._emulator_digest,
            "settings": settings,
            "plan": self.plan.to_dict(),
        }
        return self.folder / content_digest(inputs)

    def has(self, setup: Setup) -> bool:
        """Return whether the network of a setup is kept."""
        return self.path(setup).is_dir()

    def minutes(self, setup: Setup) -> float:
        """Return about how many minutes two cores need to train the network of a setup."""
        source, _ = self.parts(setup)
        began = time.process_time()
        source.draw(0, 64)
        each = (time.process_time() - began) / 64
        _, recipe = architecture_of(self.plan.model).split_options(self.plan.size, self.plan.options)
        effort = EFFORT if self.plan.model == USUAL else MOST_EFFORT
        drawn = EXTRA_SPECTRA + self.plan.updates * recipe.batch * effort
        return drawn * each / 60 / 2

    def network(self, setup: Setup, progress: Progress | None = None) -> SetupNetwork:
        """Return the network of a setup: the one that is kept, or one that is trained now and then kept.

        Raises:
            DataError: if the one that is kept was changed or is damaged; names its folder.
            RunError: if it cannot be written.
        """
        folder = self.path(setup)
        source, velocities = self.parts(setup)
        if not folder.is_dir():
            self._train(source, velocities, progress).save(folder)
        try:
            estimator = NetworkEstimator.load(folder)
            errors = np.array(estimator.origin.training.facts["velocity_errors"])
        except (DataError, KeyError) as error:
            raise DataError(f"{folder}: {error}; delete the folder, the network is trained again") from error
        return SetupNetwork(estimator, source.frame, velocities, source.templates, errors)

    def parts(self, setup: Setup) -> tuple[SetupSpectra, QuickVelocity]:
        """Return the training spectra of a setup, whose velocities are known exactly, and what finds velocities."""
        flat, settings = self.plan.nuisances.continuum, self.settings
        if not self.plan.nuisances.model_error:
            settings = replace(settings, model_error=NO_ERROR, core_error=NO_ERROR)
        frame = RestFrame(setup, settings, flat)
        templates = WidthTemplates(self.emulator, setup.resolution)
        # Lines are found over a continuum, whatever a network is shown.
        plain = frame if flat else RestFrame(setup, self.settings)
        source = SetupSpectra(frame, templates, self.plan.nuisances, seed=self.plan.seed)
        return source, QuickVelocity(plain, templates, self.settings.velocity)

    def _train(
        self, source: SetupSpectra, velocities: QuickVelocity, progress: Progress | None
    ) -> NetworkEstimator:
        source.left = velocities_left(source, velocities)
        plan = self.plan
        options, recipe = architecture_of(plan.model).split_options(plan.size, plan.options)
        recipe = recipe.with_options({"steps": plan.updates, "seed": plan.seed, "monitor": "loss"})
        estimator = make_estimator(plan.model, plan.size, recipe=recipe, options=options, device="cpu")
        validation = source.other(splits.VALIDATION, VALIDATION)
        estimator.fit(source, validation, progress)
        level, left = source.left
        parts = [part for part in np.array_split(np.arange(len(level)), LEVELS) if len(part)]
        errors = [[float(np.mean(level[p])), float(np.std(left[p]))] for p in parts]
        training = estimator.origin.training
        facts = {**training.facts, "velocity_errors": np.array(errors).T.tolist()}
        return estimator.adopt(
            estimator.network, replace(estimator.origin, training=training.with_entries({"facts": facts}))
        )


def velocities_left(source: SetupSpectra, velocities: QuickVelocity) -> np.ndarray:
    """Return ln(S/N), rising, and km/s of what the quick velocity leaves in simulated spectra, shape (2, V).

    Spectra whose velocity it does not find are left out: they are seen to be out of domain.
    """
    level, left = [], []
    # No star of the training.
    shown = source.other(splits.TEST, SHOWN)
    for block in range(SHOWN // 64):
        raw = shown.raw(shown.generator(block))
        still = np.zeros(len(raw.flux))
        flux, sigma, _ = velocities.frame.flattened(
            *velocities.frame.resampled(raw.log_pixels, raw.flux, raw.sigma, still)
        )
        found, _ = velocities.find(flux, sigma)
        level += raw.snr.tolist()
        left.append(found - raw.velocity)
    off, order = np.concatenate(left), np.argsort(level)
    off = off[order]
    kept = np.abs(off) < FOUND
    return np.stack([np.log(np.array(level)[order][kept]), off[kept]])


def emulator_digest(emulator: Emulator) -> str:
    """Return the digest of an emulator's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(emulator.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
