"""Standing test: the sigma an estimator sees says nothing about the star; the true sigma would say it all.

The true sigma contains the star's own photon noise, hence a noise-free copy of its lines: in the reference
work Ridge on sigma alone reached R2 = 0.99 for log g. The numbers quoted in docs/instrument.md
are printed by `pytest tests/simulate/test_no_leak.py -rP`.
"""

import lightgbm
import numpy as np
import pytest

from specvit.simulate import Simulator

SEED = 20261121
TRAIN, VALIDATION, TEST = 2000, 600, 1400
LIMIT = 0.02


def r2(truth, estimate):
    return 1 - np.sum((truth - estimate) ** 2) / np.sum((truth - truth.mean()) ** 2)


@pytest.fixture(scope="module")
def world():
    """log g and three versions of log sigma, per-spectrum mean removed, float64.

    The sigmas are those of the simulator's own batches, which is what estimators are given.
    """
    simulator = Simulator.build("pfs_mr_reference")
    batch = simulator.draw("train", SEED, 0, TRAIN + VALIDATION + TEST)
    flux = batch.truth.flux / batch.truth.scale[:, None]
    # The best level a pipeline could know, in case a noisy one hides a leak.
    exact = simulator.instrument.pipeline_sigma(flux.median(1).values, batch.conditions)
    seen, true = batch.sigma, batch.truth.sigma

    def shape_of(sigma):
        log_sigma = np.log(sigma.double().numpy())
        return log_sigma - log_sigma.mean(axis=1, keepdims=True)

    sigmas = {"pipeline": shape_of(seen), "pipeline, exact level": shape_of(exact), "true": shape_of(true)}
    return batch.labels[:, simulator.prior.label_space.index("log_g")].double().numpy(), sigmas


def ridge(features, target):
    """R2 on the test rows of the alpha, of 13 decades, that is best on the validation rows."""
    train, rest = features[:TRAIN], features[TRAIN:]
    centre, mean = train.mean(axis=0), target[:TRAIN].mean()
    eigenvalues, vectors = np.linalg.eigh((train - centre) @ (train - centre).T)
    kernel = (rest - centre) @ (train - centre).T @ vectors
    projected = vectors.T @ (target[:TRAIN] - mean)
    scores = []
    for alpha in eigenvalues[-1] * 10.0 ** np.arange(-12, 1):
        estimate = kernel @ (projected / (eigenvalues.clip(0) + alpha)) + mean
        scores.append(
            (
                r2(target[TRAIN:-TEST], estimate[:VALIDATION]),
                r2(target[-TEST:], estimate[VALIDATION:]),
            )
        )
    return max(scores)[1]


def trees(features, target):
    """R2 of LightGBM on the test rows, stopped early on the validation rows."""
    options = {
        "objective": "regression",
        "learning_rate": 0.1,
        "num_leaves": 31,
        "max_bin": 63,
        "feature_fraction": 0.05,
        "seed": SEED,
        "num_threads": 1,
        "verbose": -1,
    }
    train = lightgbm.Dataset(features[:TRAIN].astype(np.float32), target[:TRAIN], params=options)
    validation = train.create_valid(features[TRAIN:-TEST].astype(np.float32), target[TRAIN:-TEST])
    stop = lightgbm.early_stopping(30, verbose=False)
    model = lightgbm.train(options, train, 150, [validation], callbacks=[stop])
    return r2(target[-TEST:], model.predict(features[-TEST:]))


@pytest.mark.parametrize("sigma", ["pipeline", "pipeline, exact level"])
@pytest.mark.parametrize("method", [ridge, trees], ids=lambda method: method.__name__)
def test_visible_sigma_does_not_know_log_g(world, method, sigma):
    log_g, sigmas = world
    score = method(sigmas[sigma], log_g)
    print(f"{sigma} sigma, {method.__name__}: R2(log g) = {score:.4f}")
    assert score < LIMIT


@pytest.mark.parametrize("method", [ridge, trees], ids=lambda method: method.__name__)
def test_true_sigma_gives_log_g_away(world, method):
    """The control: the same attack on the true sigma succeeds, so the test above can fail."""
    log_g, sigmas = world
    score = method(sigmas["true"], log_g)
    print(f"true sigma, {method.__name__}: R2(log g) = {score:.4f}")
    assert score > 0.5
