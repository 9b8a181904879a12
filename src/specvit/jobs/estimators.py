"""From a configuration to fitted estimators and their predictions, stored in a run folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specvit.estimators import load_estimator
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.inference import PosteriorMean, TemplateFit
from specvit.jobs.config import Config
from specvit.jobs.networks import CLASSICAL, load_saved, other_world, slug, train, trained_here
from specvit.jobs.progress import Progress, Update
from specvit.models import PLS, LightGBM, PCARidge, Ridge
from specvit.models.cost import forward_flops
from specvit.models.protocol import Estimator, Prediction
from specvit.runs import RunFolder
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch

#: By name, and by model for networks trained in the run.
TITLES = {
    "ridge": "Ridge",
    "pca_ridge": "PCA + Ridge",
    "pls": "PLS",
    "lightgbm": "LightGBM",
    "template": "Template fit (ML)",
    "posterior": "Posterior mean",
    "subspace": "Subspace network",
    "vit": "SpecViT",
    "mlp": "MLP",
    "cnn": "CNN",
    "swin": "Swin-1D",
}

#: Spectra estimated at once.
PIECE = 500


def title_of(name: str) -> str:
    """Return what a reader calls an estimator, e.g. "MLP (nano)"."""
    network = trained_here(name)
    if network is not None:
        return f"{TITLES[network[0]]} ({network[1]})"
    return TITLES.get(name, slug(name))


def make_classical(name: str, config: Config, simulator: Simulator) -> Any:
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
    """Fit or load one estimator, and store its predictions for the test spectra as a stage of the run."""
    title, key = title_of(name), slug(name)
    if run.is_done(key):
        progress.say(f"{title}: done before")
        return
    with run.stage(key) as record:
        if name in CLASSICAL or trained_here(name):
            model = _fit(name, config, simulator, run, progress, record)
        else:
            model = load_saved(name)
            record["fit_seconds"] = model.origin.training.seconds
        record["choice"], record["cost"] = model.choice, cost_of(name, model, config)
        if isinstance(model, NetworkEstimator):
            record["choice"] |= {f"trained with {k}": v for k, v in other_world(model, simulator).items()}
        began = time.perf_counter()
        with progress.task(f"predict with {title}") as update:
            store_prediction(run, key, predict(model, test, update))
        record["predict_seconds"] = round(time.perf_counter() - began, 3)


def _fit(
    name: str,
    config: Config,
    simulator: Simulator,
    run: RunFolder,
    progress: Progress,
    record: dict[str, Any],
) -> Any:
    """Return the fitted estimator, saved in the run and read back, with the time it took in `record`."""
    split, folder = config.simulate, run.path / "models" / name
    began = time.perf_counter()
    with progress.task(f"fit {title_of(name)}") as update:
        model: Any
        if trained_here(name):
            checkpoints = run.path / "checkpoints" / name
            checkpoints.mkdir(parents=True, exist_ok=True)
            model = train(name, config, simulator, checkpoints, update)
            record["fit_seconds"] = model.origin.training.seconds
        else:
            source = simulator.source("train", split.seed, split.train)
            validation = simulator.source("validation", split.seed, split.validation)
            model = make_classical(name, config, simulator)
            model.fit(source, validation, lambda done, total, _: update(done, total))
            record["fit_seconds"] = round(time.perf_counter() - began, 3)
    _save(model, folder)
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
    return model


def cost_of(name: str, model: Any, config: Config) -> dict[str, float]:
    """Return what a fitted estimator took, as `ModelResults.cost`; three forward passes make a step."""
    if isinstance(model, NetworkEstimator):
        seen, forward = model.origin.training.train_spectra or 0, forward_flops(model.network)
        cost = {"parameters": model.network.parameter_count, "train_spectra": seen}
        return {**cost, "forward_flops": forward, "train_flops": 3 * forward * seen}
    if name in ("template", "posterior"):
        return {}
    linear = {"parameters": len(config.models.labels) * (model.origin.grid.size + 1)}
    return {"train_spectra": config.simulate.train, **(linear if name != "lightgbm" else {})}


def predict(model: Estimator, test: SpectraBatch, update: Update) -> Prediction:
    """Return the estimates for the test spectra, made in pieces so that progress can be seen."""
    parts = []
    for start in range(0, len(test), PIECE):
        piece = test[start : start + PIECE]
        parts.append(model.predict(piece.flux, piece.sigma))
        update(min(start + PIECE, len(test)), len(test))
    stds = [part.std for part in parts if part.std is not None]
    std = torch.cat(stds) if len(stds) == len(parts) else None
    extras: dict[str, Any] = {}
    if "quantiles" in parts[0].extras:
        extras["quantiles"] = torch.cat([part.extras["quantiles"] for part in parts])
        extras["probabilities"] = parts[0].extras["probabilities"]
    return Prediction(torch.cat([part.mean for part in parts]), std, parts[0].names, extras)


def store_prediction(run: RunFolder, name: str, prediction: Prediction) -> None:
    """Write `arrays/predictions_NAME.npz`."""
    arrays: dict[str, Any] = {"names": np.array(prediction.names), "mean": prediction.mean.numpy()}
    if prediction.std is not None:
        arrays["std"] = prediction.std.numpy()
    if "quantiles" in prediction.extras:
        arrays["quantiles"] = prediction.extras["quantiles"].numpy()
        arrays["probabilities"] = np.array(prediction.extras["probabilities"])
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
