"""Does the noise of a spectrum tell the star? An audit of features and estimators that see sigma.

A gate, or a network with a noise channel, may know the S/N; it may not read log g off the noise. Two regressions are
fitted on what is seen of sigma alone, one for the label, one for ln S/N: the first must fail, the second may succeed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from specvit.errors import ConfigError, DataError
from specvit.estimators import find_bundle, load_estimator
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.worlds import build_world
from specvit.models.experts import STRATEGIES, noise_features
from specvit.models.experts.fitters import PATIENCE, TREES
from specvit.models.experts.linear_experts import HeldOut
from specvit.models.experts.pools import RidgePath
from specvit.models.experts.row_experts import fit_trees
from specvit.models.inputs import RelativeSpectra, relative_spectra
from specvit.models.moments import Pool
from specvit.simulate import Simulator, World, splits
from specvit.spectra import collect

#: What features must give: less than the first of the label, more than the second of ln S/N.
MOST_OF_LABEL, LEAST_OF_SNR = 0.05, 0.5

#: Penalties of the Ridge; the smallest are what found the leak of the true noise.
ALPHAS = tuple(float(10.0**k) for k in range(-8, 9))

#: Features up to which trees are fitted too: a leak need not be linear.
TREE_FEATURES, TREE_ROUNDS = 64, 200

#: From sigma (B, L), relative to the level of the spectrum, and the mean sigma of the training (L,) to features (B, F).
Features = Callable[[RelativeSpectra, Tensor], Tensor]


@dataclass(frozen=True)
class LeakScore:
    """What the features of one name tell.

    Args:
        name: of strategy, function or estimator.
        features: how many.
        label_r2, snr_r2: of the better of Ridge and trees on test stars, for the label and for ln S/N.
    """

    name: str
    features: int
    label_r2: float
    snr_r2: float

    @property
    def passes(self) -> bool:
        """Whether the S/N is told and the label is not."""
        return self.label_r2 < MOST_OF_LABEL and self.snr_r2 > LEAST_OF_SNR


def audit_leak(
    names: Sequence[str],
    world: World | None,
    label: str = "log_g",
    stars: tuple[int, int, int] = (2000, 500, 2000),
    seed: int = 42,
    watch: Watch | None = None,
) -> list[LeakScore]:
    """Return what features of the noise alone tell of the stars of a world.

    Args:
        names: strategies of `STRATEGIES`; saved estimators, by folder or as they come with specvit, which are shown one
            and the same mean spectrum with the sigma of every star; `module:function` from (sigma (B, L), mean (L,)) to
            features (B, F).
        world: of the stars; None takes that of the training of the first estimator, else the default one.
        label: that may not be told.
        stars: to fit, to choose penalties by, and to test.
        seed: of the stars.
        watch: told how far it is.

    Raises:
        ConfigError: for a name that is none of these, or a label the world does not have.
    """
    watch = watch or Quiet()
    makers = {name: _features_of(name) for name in names or STRATEGIES}
    simulator = build_world(world or training_world(names))
    simulator.prior.label_space.index(label)
    with watch.task("draw the spectra"):
        parts = [
            _drawn(simulator, split, seed, count, label)
            for split, count in zip((splits.TRAIN, splits.VALIDATION, splits.TEST), stars, strict=True)
        ]
    train = parts[0][0]
    known = torch.isfinite(train.sigma)
    mean = torch.where(known, train.sigma, 0.0).sum(dim=0) / known.sum(dim=0).clamp(min=1)
    mean_flux = train.flux.mean(dim=0)
    scores = []
    with watch.task("fit") as update:
        for done, (name, make) in enumerate(makers.items()):
            update(done, len(makers), name)
            # One spectrum for all: what differs between stars is their noise.
            seen = [make(replace(one, flux=mean_flux.expand_as(one.flux)), mean).double() for one, _ in parts]
            scores.append(_score(name, seen, [truth for _, truth in parts]))
    return scores


def _score(name: str, seen: list[Tensor], truth: list[Tensor]) -> LeakScore:
    for values in seen:
        if values.ndim != 2 or not bool(values.isfinite().all()):
            raise DataError(
                f"{name}: expected finite features of shape (spectra, features), got {tuple(values.shape)}"
            )
    found = _ridge_r2(seen, truth)
    if seen[0].shape[1] <= TREE_FEATURES:
        found = torch.maximum(found, _trees_r2(seen, truth))
    return LeakScore(name, seen[0].shape[1], float(found[0]), float(found[1]))


def _ridge_r2(seen: list[Tensor], truth: list[Tensor]) -> Tensor:
    pool = Pool(seen[0].mean(dim=0), truth[0].mean(dim=0))
    pool.add(seen[0], truth[0])
    path = RidgePath.of(pool, standardise=True)
    chosen = path.squared_errors(seen[1], truth[1], ALPHAS).argmin(dim=0).tolist()
    weights = path.weights([ALPHAS[k] for k in chosen])
    return _r2((seen[2] - path.mean) @ weights + path.mean_labels, truth[2])


def _trees_r2(seen: list[Tensor], truth: list[Tensor]) -> Tensor:
    # One component of all spectra, no bins.
    everywhere = [torch.zeros(len(values), dtype=torch.long) for values in seen]
    settings = {**TREES, "seed": 0, "num_threads": 1, "feature_fraction": 1.0}
    fit = fit_trees(settings, TREE_ROUNDS, PATIENCE, bins=0, threads=1)
    experts = fit(seen[0].float(), truth[0], everywhere[0], [], HeldOut(seen[1], truth[1], everywhere[1]))
    return _r2(experts(seen[2])[:, 0], truth[2])


def _r2(estimates: Tensor, truth: Tensor) -> Tensor:
    return 1 - (estimates - truth).square().mean(dim=0) / truth.var(dim=0, unbiased=False)


def _drawn(
    simulator: Simulator, split: str, seed: int, count: int, label: str
) -> tuple[RelativeSpectra, Tensor]:
    """Return spectra, and their label and ln S/N, shape (N, 2)."""
    batch = collect(simulator.source(split, seed, count))
    at = simulator.prior.label_space.index(label)
    truth = torch.stack([batch.known_labels()[:, at].double(), batch.known_snr().double().log()], dim=1)
    return relative_spectra(batch.flux, batch.sigma, simulator.grid.size, "audit"), truth


def _features_of(name: str) -> Features:
    if name in STRATEGIES:
        return lambda spectra, mean: noise_features(name, spectra, mean)
    if ":" in name:
        return _own(name)
    try:
        folder = find_bundle(name)
    except DataError as error:
        raise ConfigError(
            f"audit leak: '{name}' is no strategy ({', '.join(STRATEGIES)}), saved estimator or module:function"
        ) from error
    return lambda spectra, mean: _said_by(load_estimator(folder), spectra)


def _said_by(model: Any, spectra: RelativeSpectra) -> Tensor:
    """Return what an estimator says of spectra, estimates and errors of all its labels, shape (B, F)."""
    parts = []
    for flux, sigma in zip(spectra.flux.split(500), spectra.sigma.split(500), strict=True):
        found = model.predict(flux, sigma)
        parts.append(found.mean if found.std is None else torch.cat([found.mean, found.std.log()], dim=1))
    return torch.cat(parts)


def _own(name: str) -> Features:
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise ConfigError(
            f"audit leak: '{name}' cannot be imported ({error}); give module:function"
        ) from error

    def features(spectra: RelativeSpectra, mean: Tensor) -> Tensor:
        try:
            found = torch.as_tensor(function(spectra.sigma, mean))
        except Exception as error:
            raise ConfigError(
                f"audit leak: '{name}' failed ({type(error).__name__}: {error}); it is called with sigma (B, L) and the mean "
                "sigma (L,) and returns features (B, F)"
            ) from error
        if found.ndim != 2 or len(found) != len(spectra.sigma):
            raise ConfigError(
                f"audit leak: '{name}' returned the shape {tuple(found.shape)}, expected ({len(spectra.sigma)}, F)"
            )
        return found

    return features


def training_world(names: Sequence[str]) -> World:
    """Return the world of the training of the first saved estimator among some names, or the default one."""
    for name in names:
        if name not in STRATEGIES and ":" not in name:
            # Refused here as it would be later, with what else a name may be.
            _features_of(name)
            recorded = load_estimator(find_bundle(name)).origin.training.world
            return replace(World.from_dict(recorded), widening=None) if recorded else World()
    return World()
