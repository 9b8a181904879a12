"""From a configuration to fitted estimators and their predictions, stored in a run folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specvit.config import Config
from specvit.models import LightGBM, Ridge, load_estimator
from specvit.models.protocol import Estimator, Prediction
from specvit.runs import RunFolder
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch
from specvit.studies.progress import Progress

TITLES = {"ridge": "Ridge", "lightgbm": "LightGBM"}


def make_estimator(name: str, config: Config) -> Any:
    """Return the unfitted estimator of a configuration."""
    labels = config.models.labels
    if name == "ridge":
        return Ridge(labels)
    return LightGBM(
        labels, **config.models.lightgbm.model_dump(), seed=config.simulate.seed, threads=config.run.threads
    )


def fit_and_predict(
    name: str, config: Config, simulator: Simulator, test: SpectraBatch, run: RunFolder, progress: Progress
) -> None:
    """Fit one estimator, save it, and store its predictions for the test spectra as a stage of the run."""
    if run.is_done(name):
        progress.say(f"{TITLES[name]}: done before")
        return
    split = config.simulate
    with run.stage(name) as record, progress.task(f"fit {TITLES[name]}") as update:
        train = simulator.source("train", split.seed, split.train)
        validation = simulator.source("validation", split.seed, split.validation)
        began = time.perf_counter()
        model = make_estimator(name, config).fit(
            train, validation, lambda done, total, _: update(done, total)
        )
        record["fit_seconds"] = round(time.perf_counter() - began, 3)
        record["choice"] = model.choice
        _save(model, run.path / "models" / name)
        began = time.perf_counter()
        store_prediction(run, name, model.predict(test.flux, test.sigma))
        record["predict_seconds"] = round(time.perf_counter() - began, 3)


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
