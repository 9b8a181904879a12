"""A small run folder with every part a report can show: closed-form stars, scored as a real run's are."""

import numpy as np
import pytest
from specvit.jobs.scoring import summarise

from specvit.jobs.config import resolve
from specvit.runs import RunFolder

NAMES = ["teff", "log_g", "m_h", "alpha_m", "c_m"]
LOW, HIGH = [3750, 1, -2.5, -0.25, -0.75], [6000, 5, 0.75, 0.5, 0.5]
EDGES = [2.0, 4.0, 8.0, 20.0]
VARIANCE = 4.0**2 / 12
AGAINST_CEILING = ("efficiency", "headroom", "efficiency_crlb")


def shrunken(truth, variance, random):
    """Estimates and errors as of the posterior of a Gaussian prior under noise of the given variance."""
    weight = VARIANCE / (VARIANCE + variance)
    std = np.sqrt(weight * variance)
    return 3 + weight * (truth - 3) + np.sqrt(weight) * std * random.normal(size=truth.size), std


def write_run(
    root, count=300, bayes=True, ceiling=True, examples=True, models=("ridge", "lightgbm"), name="demo"
):
    """Write a finished run; the model 'leak' sees the truth, 'template' and 'posterior' state errors."""
    random = np.random.default_rng(7)
    overrides = [
        f"evaluate.snr_edges={EDGES}",
        "evaluate.bootstrap=200",
        f"simulate.test={count}",
    ]
    config = resolve("smoke", None, overrides).to_dict()
    run = RunFolder.create(root, name, config)
    labels = random.uniform(LOW, HIGH, (count, 5))
    truth, snr = labels[:, 1], np.exp(random.uniform(np.log(2.2), np.log(18), count))
    mag = 22.5 - 2.5 * np.log10(snr / 3)
    crlb = 30 / snr**2 * np.exp(random.normal(size=count))
    run.write_arrays("test", labels=labels, label_names=NAMES, snr=snr, mag=mag)
    for i, model in enumerate(models):
        with run.stage(model) as record:
            mean, std = shrunken(truth, (0 if model == "leak" else 4 - i % 3) * crlb, random)
            errors = {"std": std[:, None]} if model in ("template", "posterior") else {}
            run.write_arrays(f"predictions_{model}", names=["log_g"], mean=mean[:, None], **errors)
            record |= {"fit_seconds": 1.5, "predict_seconds": 0.1}
            record["choice"] = {"log_g": {"alpha": 1000.0, "validation_r2": 0.32777}}
    arrays = {"rows": np.arange(count), "snr": snr}
    for free, bound in {"3": 0.8 * crlb, "5": crlb}.items():
        arrays |= {f"crlb_{free}": bound, f"schur_{free}": np.full(count, 0.6)}
        arrays[f"r2_max_{free}"] = np.clip(1 - bound / VARIANCE, 0, 1)
    if bayes:
        mean, std = shrunken(truth, crlb, random)
        arrays |= {"bayes_mean": mean, "bayes_var": std**2}
    run.write_arrays("ceiling", **arrays)
    summary = summarise(run, config, models, "log_g", "dex", VARIANCE)
    if not ceiling:
        summary = without_ceiling(run, summary)
    if examples:
        run.write_arrays("examples", **example_arrays(labels, snr, mag, random))
    run.write_summary(summary.model_dump())
    run.finish()
    return run


def without_ceiling(run, summary):
    """Take everything about ceilings out of a run."""
    for name in ("ceiling", "cells"):
        (run.path / "arrays" / f"{name}.npz").unlink()

    def rest(scores):
        return {metric: s for metric, s in scores.items() if metric not in AGAINST_CEILING}

    models = {
        name: model.model_copy(update={"overall": rest(model.overall), "bins": rest(model.bins)})
        for name, model in summary.models.items()
    }
    return summary.model_copy(update={"ceiling": None, "models": models})


def example_arrays(labels, snr, mag, random):
    """Two spectra of two lines."""
    wavelength = np.linspace(7100, 8850, 400)
    clean = np.stack([1 - 0.5 * np.exp(-0.5 * ((wavelength - at) / 4) ** 2) for at in (8500.36, 8544.44)])
    return {
        "wavelength": wavelength,
        "clean": clean,
        "sigma": np.full_like(clean, 0.1),
        "flux": clean + 0.1 * random.normal(size=clean.shape),
        "jacobian": (clean - 1) / 5,
        "label_names": NAMES,
        "labels": labels[:2],
        "snr": snr[:2],
        "mag": mag[:2],
    }


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A finished run; tests read it and do not change it."""
    return write_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def many_models(tmp_path_factory):
    """A finished run of eight models, among them both that state errors; tests do not change it."""
    names = ("ridge", "pls", "lightgbm", "mlp", "cnn", "vit", "template", "posterior")
    return write_run(tmp_path_factory.mktemp("many"), models=names, count=800)


@pytest.fixture
def make_run(tmp_path):
    """Write a run with some parts changed into a folder of the test's own."""

    def make(**parts):
        return write_run(tmp_path, **parts)

    return make
