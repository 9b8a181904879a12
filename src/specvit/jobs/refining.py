"""A learnt step for the bright stars of a trained network, behind `specvit refine`; its weights stay as they are.

The stars are those of the training's world, but bright ones, and none of them the training's. Errors are then corrected
anew on the world of the training, as after a training.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

from specvit.errors import ConfigError, DataError
from specvit.estimators import NetworkEstimator
from specvit.estimators.network_fitter import calibrate
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.worlds import build_world
from specvit.models.refinement import RefinementConfig
from specvit.simulate import Widening, World, endless
from specvit.spectra import SpectraSource
from specvit.training.refining import RefiningRecipe, refine

#: Faintest stars that a step is learnt on, over the S/N from which on it is used; the brightest, over those of the
#: training, whose limit is then no edge.
FAINTEST, BEYOND = 0.75, 1.05

#: S/N of the brightest stars of a training that was not widened, and the least of them over the limit.
BRIGHTEST, RANGE = 400.0, 2.0


@dataclass(frozen=True)
class BrightStars:
    """What a refinement is learnt on.

    Args:
        source: spectra without end.
        usual: those of the training's world, which correct the errors afterwards.
        world: of the bright stars.
    """

    source: SpectraSource
    usual: SpectraSource
    world: World


def bright_stars(estimator: NetworkEstimator, snr: float, seed: int) -> BrightStars:
    """Return bright stars of the world a network was trained in.

    Args:
        estimator: the trained network.
        snr: from which on stars will be refined.
        seed: of the stars; not that of the training, so that none was seen before.

    Raises:
        ConfigError: if the training was not in a simulated world, or had this seed.
        DataError: if the world of today is another one.
    """
    training = estimator.origin.training
    if training.train is None or training.world is None:
        raise ConfigError(
            f"{estimator.name}: its file does not say in which simulated world it was trained; train one on the fly"
        )
    if training.train.get("seed") == seed:
        raise ConfigError(
            f"--seed {seed}: is that of its training; give another, for stars that it has not seen"
        )
    wide = World.from_dict(training.world)
    top = BRIGHTEST if wide.widening is None else wide.widening.snr[1]
    world = replace(wide, widening=Widening(1.0, (FAINTEST * snr, max(BEYOND * top, RANGE * snr))))
    source = endless(build_world(world, "bounds"), seed)
    estimator.grid.check_matches(source.grid, estimator.name)
    for key in ("emulator", "instrument_fingerprint"):
        if training.train.get(key) != source.provenance[key]:
            raise DataError(
                f"{estimator.name}: was trained with {key} {training.train.get(key)}, today's is "
                f"{source.provenance[key]}; train it again"
            )
    return BrightStars(source, endless(build_world(wide, "bounds"), seed), world)


def refined(
    estimator: NetworkEstimator,
    stars: BrightStars,
    snr: float,
    recipe: RefiningRecipe,
    watch: Watch | None = None,
) -> NetworkEstimator:
    """Return a network with a learnt step for bright stars; the given one stays as it is.

    Args:
        estimator: as it was loaded.
        stars: see `bright_stars`.
        snr: median S/N per pixel from which on stars are refined.
        recipe: how the step is learnt.
        watch: who is told; nobody if None.

    Raises:
        ConfigError: if the head of the network states no histograms, or it sees spectra otherwise than as they are.
    """
    watch, found = watch or Quiet(), copy.deepcopy(estimator)
    with watch.task("refining") as update:
        facts = refine(
            found.network,
            stars.source,
            RefinementConfig(snr=snr),
            recipe,
            lambda record: update(record["progress"], 1.0, record["text"]),
        )
    with watch.task("correcting the errors") as update:
        corrected = calibrate(
            found.network, stars.usual, listen=lambda record: update(record["progress"], 1.0)
        )
    origin = found.origin
    training = origin.training.with_entries({**corrected, **facts})
    # What was measured before is of other errors, and of other estimates of bright stars.
    found.metrics, found.by_true_label, found.recalibration = {}, {}, None
    return found.adopt(found.network, replace(origin, training=training))
