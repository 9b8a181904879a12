"""From a configuration to fitted estimators and their predictions, stored in a run folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specvit.config import Config
from specvit.models import PLS, LightGBM, PCARidge, Ridge, load_estimator
from specvit.models.protocol import Estimator, Prediction
from specvit.models.template import PosteriorMean, TemplateFit
from specvit.runs import RunFolder
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch
from specvit.studies.progress import Progress, Update

TITLES = {
    "ridge": "Ridge",
    "pca_ridge": "PCA + Ridge",
    "pls": "PLS",
    "lightgbm": "LightGBM",
    "template": "Template fit (ML)",
    "posterior": "Posterior mean",
}


#: Spectra estimated at once.
PIECE = 500


def make_estimator(name: str, config: Config, simulator: Simulator) -> Any:
    """Return the unfitted estimator of a configuration."""
    labels, seed = config.models.labels, config.simulate.seed
    linear = {"ridge": Ridge, "pca_ridge": PCARidge, "pls": PLS}
    if name in linear:
        return linear[name](labels)
    if name == "template":
        return TemplateFit(simulator.observed, seed=seed)
    if name == "posterior":
        return PosteriorMean(simulator.observed, config.simulate.prior, seed)
    return LightGBM(labels, **config.models.lightgbm.model_dump(), seed=seed, threads=config.run.threads)


def fit_and_predict(
    name: str, config: Config, simulator: Simulator, test: SpectraBatch, run: RunFolder, progress: Progress
) -> None:
    """Fit one estimator, save it, and store its predictions for the test spectra as a stage of the run."""
    if run.is_done(name):
        progress.say(f"{TITLES[name]}: done before")
        return
    split = config.simulate
    with run.stage(name) as record:
        train = simulator.source("train", split.seed, split.train)
        validation = simulator.source("validation", split.seed, split.validation)
        began = time.perf_counter()
        with progress.task(f"fit {TITLES[name]}") as update:
            model = make_estimator(name, config, simulator).fit(
                train, validation, lambda done, total, _: update(done, total)
            )
        record["fit_seconds"] = round(time.perf_counter() - began, 3)
        record["choice"] = model.choice
        _save(model, run.path / "models" / name)
        began = time.perf_counter()
        with progress.task(f"predict with {TITLES[name]}") as update:
            store_prediction(run, name, predict(model, test, update))
        record["predict_seconds"] = round(time.perf_counter() - began, 3)


def predict(model: Estimator, test: SpectraBatch, update: Update) -> Prediction:
    """Return the estimates for the test spectra, made in pieces so that progress can be seen."""
    parts = []
    for start in range(0, len(test), PIECE):
        piece = test[start : start + PIECE]
        parts.append(model.predict(piece.flux, piece.sigma))
        update(min(start + PIECE, len(test)), len(test))
    stds = [part.std for part in parts if part.std is not None]
    std = torch.cat(stds) if len(stds) == len(parts) else None
    return Prediction(torch.cat([part.mean for part in parts]), std, parts[0].names)


def store_prediction(run: RunFolder, name: str, prediction: Prediction) -> None:
    """Write `arrays/predictions_NAME.npz`."""
    arrays: dict[str, Any] = {"names": np.array(prediction.names), "mean": prediction.mean.numpy()}
    if prediction.std is not None:
        arrays["std"] = prediction.std.numpy()
    run.write_arrays(f"predictions_{name}", **arrays)


def _save(model: Estimator, folder: Path) -> None:
    """Save a fitted estimator and read it back: what the run keeps is what was evaluated."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    load_estimator(folder)


def set_threads(threads: int) -> int:
    """Use `threads` CPU threads (0: as many as PyTorch found); return the number in use."""
    if threads > 0:
        torch.set_num_threads(threads)
    return torch.get_num_threads()
