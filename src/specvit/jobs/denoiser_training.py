"""The training of a denoiser, behind `specvit train --model subspace-denoiser` and the like.

Spectra, splits and run folders are those of every training; what is scored is the flux, on test stars alone.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specvit.denoise import DenoisedSpectra, Denoiser
from specvit.denoise.making import FITTED, make_denoiser, strongest
from specvit.errors import ConfigError
from specvit.instrument import ObservedEmulator
from specvit.jobs.config.training import TrainingConfig
from specvit.jobs.sources import Sources
from specvit.jobs.training import open_sources, training_identity
from specvit.jobs.watch import Quiet, Update, Watch
from specvit.jobs.work import Record, Work
from specvit.jobs.worlds import set_threads
from specvit.runs import DenoisedExamples, RunFolder
from specvit.spectra import SpectraBatch, collect
from specvit.training.engine import Listener

#: S/N between which test stars are scored together.
SNR_EDGES = (0.0, 4.0, 6.0, 9.0, 13.0, np.inf)

#: Shares of the test stars that are fainter than the examples.
EXAMPLES = (0.1, 0.5, 0.9)

#: Score -> value, by slice: "all", then S/N bins that hold stars.
Scores = dict[str, dict[str, float]]


def is_denoiser(model: str) -> bool:
    """Return whether a model of `specvit train` is a denoiser."""
    return model in FITTED


def run_denoiser_training(
    config: TrainingConfig, watch: Watch | None = None, fresh: bool = False
) -> tuple[RunFolder, Scores]:
    """Carry out, or continue, the training of a denoiser; return its folder and its scores.

    The folder holds models/NAME, metrics.jsonl, and the scores in the provenance of its one stage.

    Args:
        config: see `TrainingConfig`; it names no labels.
        watch: who is told; nobody if None.
        fresh: start over in a new folder even if the run exists.

    Raises:
        ConfigError, DataError: for a configuration that cannot be meant; names the field.
        RunError: if the run folder cannot be written, or a checkpoint belongs to another training.
    """
    watch = watch or Quiet()
    set_threads(config.run.threads)
    network = config.network
    if network.labels:
        raise ConfigError(f"--labels: {network.model} estimates no labels; leave them out")
    options = {"seed": config.simulate.seed, **network.options}
    sources = open_sources(config)
    task = TrainDenoiser(network.model, options, network.size, network.device, sources)
    # For its refusals, before a folder is made.
    task.untrained()
    where = config.run
    run = RunFolder.create(
        where.folder, where.name, config.to_dict(), identity=training_identity(config, sources), fresh=fresh
    )
    watch.say(f"run folder: {run.path}")
    scores = Work(run, watch).do(task)
    run.finish()
    return run, scores


@dataclass(frozen=True)
class TrainDenoiser:
    """Train a denoiser, save it with its scores, and return these.

    Args:
        model: its name.
        options, size, device: see `make_denoiser`.
        sources: of the job; test spectra are scored, and choose nothing.
    """

    model: str
    options: dict[str, Any]
    size: str
    device: str | None
    sources: Sources

    @property
    def name(self) -> str:
        """Name in the provenance."""
        return f"fit {self.model}"

    @property
    def title(self) -> str:
        """What a watcher is told."""
        return f"train {self.model}"

    def untrained(self, folder: Path | None = None, listen: Listener | None = None) -> Denoiser:
        """Return the denoiser to be trained."""
        return make_denoiser(self.model, self.options, self._observed, self.size, self.device, folder, listen)

    def _observed(self) -> ObservedEmulator:
        simulator = self.sources.simulator
        if simulator is None:
            raise ConfigError(
                f"{self.model}: mixes stars of the simulated world, and these spectra have none"
            )
        return simulator.observed

    def make(self, run: RunFolder, record: Record, update: Update) -> Scores:
        """Train, save, read back and score: what the run keeps is what is evaluated."""
        checkpoints, folder = run.path / "checkpoints" / self.model, run.path / "models" / self.model
        checkpoints.mkdir(parents=True, exist_ok=True)

        def listen(entry: dict[str, Any]) -> None:
            run.log(**entry)

        denoiser = self.untrained(checkpoints, listen)
        denoiser.fit(self.sources.drawn, self.sources.validation, update)
        stars = collect(self.sources.test)
        scores = score_flux(denoiser, stars)
        denoiser.metrics = {
            f"{name}, {place}{_of(denoiser)}": value
            for place, found in scores.items()
            for name, value in found.items()
        }
        # What a killed start may have left: saving refuses a folder that holds no saved model.
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        denoiser.save(folder)
        examples_of(denoiser, stars).write(run)
        shutil.rmtree(checkpoints.parent, ignore_errors=True)
        record |= {
            "scores": scores,
            "noise_share": strongest(denoiser),
            "model": str(Path("models") / self.model),
            "training": {key: denoiser.origin.training.to_dict().get(key) for key in ("steps", "seconds")},
        }
        return scores

    def read(self, run: RunFolder) -> Scores:
        """Return the scores of an earlier start."""
        found: Scores = run.stages[self.name]["scores"]
        return found


def examples_of(denoiser: Denoiser, stars: SpectraBatch) -> DenoisedExamples:
    """Return a faint, a usual and a bright test star, by `EXAMPLES`, as observed and denoised."""
    order = stars.known_snr().argsort()
    chosen = stars[torch.stack([order[round(share * (len(order) - 1))] for share in EXAMPLES])]
    flux, found = _asked(denoiser, chosen)
    return DenoisedExamples(
        wavelength=denoiser.origin.grid.wavelength,
        flux=flux.numpy(),
        sigma=chosen.sigma.numpy(),
        clean=chosen.known_truth().flux.numpy(),
        mean=found.mean.numpy(),
        snr=chosen.known_snr().numpy(),
        std=None if found.std is None else found.std.numpy(),
    )


def _of(denoiser: Denoiser) -> str:
    """Return what a score is of besides its slice: less than all of the noise."""
    share = strongest(denoiser)
    return "" if share == 1 else f" ({share:g} of the noise)"


def _asked(denoiser: Denoiser, stars: SpectraBatch) -> tuple[Tensor, DenoisedSpectra]:
    """Return stars (B, L) with the largest share of their noise that a denoiser is for, and its answer."""
    share = strongest(denoiser)
    clean = stars.known_truth().flux
    flux = stars.flux if share == 1 else clean + share * (stars.flux - clean)
    return flux, denoiser.denoise(flux, stars.sigma, share)


def score_flux(denoiser: Denoiser, stars: SpectraBatch) -> Scores:
    """Return by slice how much of the noise is left in stars whose noise-free flux is known, dead pixels left out.

    "mse" is the mean squared error of a pixel, "mse_ratio" over that of the noisy flux, "wmae_ratio" the mean error in
    units of sigma over the noisy one's. A residual denoiser is shown the largest share of the noise it was trained with.
    """
    noisy, answer = _asked(denoiser, stars)
    found, clean, live = answer.mean, stars.known_truth().flux, torch.isfinite(stars.sigma)
    snr = stars.known_snr()

    def error(flux: Tensor, power: int, rows: Tensor) -> float:
        off = (flux - clean).abs() if power == 2 else (flux - clean).abs() / stars.sigma
        return float(off[rows][live[rows]].double().pow(power).mean())

    scores = {}
    slices = {"all": torch.ones_like(snr, dtype=torch.bool)}
    slices |= {
        f"S/N {low:g} to {high:g}": (snr >= low) & (snr < high) for low, high in itertools.pairwise(SNR_EDGES)
    }
    for name, rows in slices.items():
        if bool(rows.any()):
            mse = error(found, 2, rows)
            scores[name] = {
                "mse": mse,
                "mse_ratio": mse / error(noisy, 2, rows),
                "wmae_ratio": error(found, 1, rows) / error(noisy, 1, rows),
            }
    return scores
