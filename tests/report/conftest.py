"""A small run folder with every part a report can show, made of closed-form numbers."""

import numpy as np
import pytest

from specvit.config import resolve
from specvit.runs import CeilingResults, ModelResults, RunFolder, Score, SnrBins, Spread, Summary

NAMES = ["teff", "log_g", "m_h", "alpha_m", "c_m"]
EDGES = [2.0, 4.0, 8.0, 20.0]
VARIANCE = 4.0**2 / 12


def r2(truth, predicted):
    return 1 - float(((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def scores(truth, predicted, rows=slice(None)):
    truth, predicted = truth[rows], predicted[rows]
    value = {
        "r2": r2(truth, predicted),
        "mae": float(np.abs(predicted - truth).mean()),
        "rmse": float(np.sqrt(((predicted - truth) ** 2).mean())),
        "bias": float((predicted - truth).mean()),
    }
    return {name: Score(value=v, low=v - 0.05, high=v + 0.05) for name, v in value.items()}


def by_bin(per_bin):
    return {name: [one[name] for one in per_bin] for name in per_bin[0]}


def spread(values):
    p10, median, p90 = (float(q) for q in np.quantile(values, (0.1, 0.5, 0.9)))
    return Spread(median=median, p10=p10, p90=p90, mean=float(values.mean()))


def write_run(
    root, count=300, bayes=True, ceiling=True, examples=True, models=("ridge", "lightgbm"), name="demo"
):
    random = np.random.default_rng(7)
    run = RunFolder.create(root, name, resolve("smoke").to_dict())
    labels = random.uniform([3750, 1, -2.5, -0.25, -0.75], [6000, 5, 0.75, 0.5, 0.5], (count, 5))
    truth, snr = labels[:, 1], np.exp(random.uniform(np.log(2.2), np.log(18), count))
    mag = 22.5 - 2.5 * np.log10(snr / 3)
    crlb = 30 / snr**2 * np.exp(random.normal(size=count))
    run.write_arrays("test", labels=labels, label_names=NAMES, snr=snr, mag=mag)
    inside = np.digitize(snr, EDGES) - 1
    rows = [inside == b for b in range(len(EDGES) - 1)]
    results = {}
    for i, model in enumerate(models):
        weight = VARIANCE / (VARIANCE + (4 - i) * crlb)
        predicted = (
            3 + weight * (truth - 3) + np.sqrt(weight * (1 - weight) * VARIANCE) * random.normal(size=count)
        )
        with run.stage(model):
            run.write_arrays(f"predictions_{model}", names=["log_g"], mean=predicted[:, None])
        results[model] = ModelResults(
            title={"ridge": "Ridge", "lightgbm": "LightGBM"}.get(model, model),
            overall=scores(truth, predicted),
            bins=by_bin([scores(truth, predicted, r) for r in rows]),
            seconds={"fit": 1.5, "predict": 0.1},
            facts={"log_g": {"alpha": 1000.0, "validation_r2": 0.32777}},
        )
    limits = None
    if ceiling:
        kinds = {"3": np.clip(1 - 0.8 * crlb / VARIANCE, 0, 1), "5": np.clip(1 - crlb / VARIANCE, 0, 1)}
        arrays = {f"r2_max_{k}": v for k, v in kinds.items()}
        arrays |= {f"{q}_{k}": crlb for q in ("crlb", "schur") for k in kinds}
        run.write_arrays("ceiling", rows=np.arange(count), snr=snr, **arrays)
        limits = CeilingResults(
            stars=count,
            definition="R² over that of the Bayes ceiling",
            labels={"3": NAMES[:3], "5": NAMES},
            overall={f"r2_max_{k}": spread(v) for k, v in kinds.items()},
            bins={f"r2_max_{k}": [spread(v[r]) for r in rows] for k, v in kinds.items()},
            bayes=Score(value=0.8, low=0.78, high=0.82) if bayes else None,
            bayes_bins=[Score(value=v, low=v - 0.03, high=v + 0.03) for v in (0.5, 0.7, 0.9)]
            if bayes
            else None,
        )
    if examples:
        wavelength = np.linspace(7100, 8850, 400)
        clean = np.stack([1 - 0.5 * np.exp(-0.5 * ((wavelength - at) / 4) ** 2) for at in (8500.36, 8544.44)])
        run.write_arrays(
            "examples",
            wavelength=wavelength,
            clean=clean,
            sigma=np.full_like(clean, 0.1),
            flux=clean + 0.1 * random.normal(size=clean.shape),
            jacobian=(clean - 1) / 5,
            label_names=NAMES,
            labels=labels[:2],
            snr=snr[:2],
            mag=mag[:2],
        )
    summary = Summary(
        target="log_g",
        counts={"train": 1500, "validation": 300, "test": count},
        bootstrap=200,
        seed=42,
        prior_variance=VARIANCE,
        snr_bins=SnrBins(
            edges=EDGES, counts=[int(r.sum()) for r in rows], median=[float(np.median(snr[r])) for r in rows]
        ),
        models=results,
        ceiling=limits,
    )
    run.write_summary(summary.model_dump())
    run.finish()
    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A finished run; tests read it and do not change it."""
    return write_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def make_run(tmp_path):
    """Write a run with some parts changed into a folder of the test's own."""

    def make(**parts):
        return write_run(tmp_path, **parts)

    return make
