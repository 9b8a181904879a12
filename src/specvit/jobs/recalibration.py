"""The errors of a trained network for other stars, behind `specvit calibrate`: no weight is trained again.

Two steps, both kept in the saved network: what it states is weighted by the new prior, if there is one, and its errors
are corrected by spectra of the new stars. Coverage, before and after, is of further spectra that corrected nothing;
test spectra are never touched.
"""

from __future__ import annotations

import copy
import datetime
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from specvit.errors import ConfigError, DataError
from specvit.estimators import NetworkEstimator
from specvit.estimators.network_fitter import affordable_spectra, calibrate
from specvit.estimators.recalibration import Change, Changes, Recalibration
from specvit.evaluate import Coverage, coverage
from specvit.jobs.config.training import is_reference
from specvit.jobs.stages.fit import to_estimates
from specvit.jobs.watch import Quiet, Update, Watch
from specvit.jobs.worlds import build_world
from specvit.models import Prediction
from specvit.models.bundle import check_replaceable
from specvit.runs.atomic import disk_errors
from specvit.simulate import Prior, ReferenceShards, StoredSpectra, World, make_prior, splits
from specvit.spectra import RowsOf, SpectraSource

#: Further spectra on which the coverage is measured; a share of 68 % is then known to 0.3 %.
MEASURED = 20_000

#: Fewest spectra that correct errors: below, their own luck is five points of coverage.
FEWEST = 500

#: Of stored spectra the share that corrects the errors, if nothing else is asked for; the rest is measured.
STORED_SHARE = 0.75

#: Spectra estimated at once while the coverage is measured.
PIECE = 1024


@dataclass(frozen=True)
class NewStars:
    """Held-out spectra of the stars a network is corrected for.

    Args:
        correcting: by which the errors are corrected.
        measured: further ones.
        world: they are from; None if it is not known, or has a prior of one's own.
        prior: of their labels; None if it is not known.
    """

    correcting: SpectraSource
    measured: SpectraSource
    world: World | None = None
    prior: Prior | None = None


@dataclass(frozen=True)
class Recalibrated:
    """A corrected network, and its coverage before and after on the same spectra."""

    estimator: NetworkEstimator
    before: Coverage
    after: Coverage


def training_world(estimator: NetworkEstimator) -> World:
    """Return the world a network was trained in; the default one if its file does not say."""
    recorded = estimator.origin.training.world
    return World.from_dict(recorded) if recorded else World()


def simulated_stars(estimator: NetworkEstimator, world: World, spectra: int | None, seed: int) -> NewStars:
    """Return spectra of a world, from the split that is kept for correcting errors.

    Args:
        estimator: whose pixels and labels they must have.
        world: which stars.
        spectra: how many correct the errors; None as many as after a training.
        seed: not that of the training, whose spectra may have corrected its errors already.

    Raises:
        ConfigError: for a world that cannot be, or too few spectra.
        WavelengthRangeError, DataError: if its pixels or labels are not the network's.
    """
    simulator = build_world(world, "bounds")
    _check_fits(estimator, simulator.source(splits.CALIBRATION, seed, 1))
    spectra = affordable_spectra(estimator.network) if spectra is None else spectra
    _check_enough(spectra)
    whole = simulator.source(splits.CALIBRATION, seed, spectra + MEASURED)
    measured = RowsOf(whole, spectra, spectra + MEASURED)
    return NewStars(RowsOf(whole, 0, spectra), measured, world, simulator.prior)


def stored_stars(estimator: NetworkEstimator, path: Path, spectra: int | None, seed: int) -> NewStars:
    """Return stored spectra: the first correct the errors, the rest is measured.

    Args:
        estimator: whose pixels and labels they must have.
        path: a folder of `specvit simulate`, or a dataset file of the reference work.
        spectra: how many correct the errors; None takes three quarters.
        seed: of the noise that is added to the reference work's spectra.

    Raises:
        ConfigError: for training or test spectra, or too few.
        WavelengthRangeError, DataError: if they cannot be read, or have other pixels or labels.
    """
    world = prior = None
    whole: SpectraSource
    if is_reference(str(path)):
        whole = ReferenceShards(path, split=splits.CALIBRATION, seed=seed)
    else:
        whole = stored = StoredSpectra(path)
        split = stored.provenance["split"]
        if split not in (splits.VALIDATION, splits.CALIBRATION):
            raise ConfigError(
                f"--data {path}: holds {split} spectra; errors are corrected by held-out ones that are not scored: "
                f"simulate a set with --split {splits.CALIBRATION}"
            )
        world = stored.world
        prior = make_prior(world.prior, stored.label_space)
    _check_fits(estimator, whole)
    spectra = int(STORED_SHARE * len(whole)) if spectra is None else spectra
    _check_enough(spectra)
    if len(whole) - spectra < FEWEST:
        raise ConfigError(
            f"--data {path}: of its {len(whole):,} spectra {spectra:,} correct the errors, at least {FEWEST} others "
            "measure what that gave; store more, or give fewer --spectra"
        )
    return NewStars(RowsOf(whole, 0, spectra), RowsOf(whole, spectra, len(whole)), world, prior)


def recalibrate(
    estimator: NetworkEstimator, stars: NewStars, reweight: bool = True, watch: Watch | None = None
) -> Recalibrated:
    """Return a network whose errors are those of other stars; the given one stays as it is.

    Args:
        estimator: as it was loaded.
        stars: see `simulated_stars` and `stored_stars`.
        reweight: weight what it states by the prior of the stars, where it is known and not that of the training.
        watch: who is told; nobody if None.

    Raises:
        ConfigError: if the network states no errors, or a prior is to be set in the place of one that is not known or
            not uniform.
        DomainError: if the stars reach outside the labels of the training.
    """
    watch = watch or Quiet()
    network = estimator.network
    if network.head.kind == "point":
        raise ConfigError(
            f"{estimator.name}: its point head states no errors to correct; train one with head=ordinal"
        )
    if reweight and stars.prior is not None and _is_other(estimator, stars):
        other = estimator.reweighted(stars.prior)
    else:
        other = copy.deepcopy(estimator)
    with watch.task("coverage before") as update:
        before = measured_coverage(estimator, stars.measured, update)
    with watch.task("correcting the errors") as update:
        calibrate(other.network, stars.correcting, listen=lambda record: update(record["progress"], 1.0))
    with watch.task("coverage after") as update:
        after = measured_coverage(other, stars.measured, update)
    was, now = before.scores(), after.scores()
    changes = {
        label: Changes(
            **{name: Change(before=was[label][name], after=now[label][name]) for name in was[label]}
        )
        for label in was
    }
    other.recalibration = Recalibration(
        date=datetime.date.today().isoformat(),
        spectra=len(stars.correcting),
        measured_spectra=len(stars.measured),
        source=stars.correcting.provenance,
        labels=stars.correcting.label_space.select(network.label_space.names),
        scores=changes,
    )
    return Recalibrated(other, before, after)


def check_out(folder: Path, bundle: Path) -> None:
    """Raise unless a corrected network may be saved as `folder`, which is not the one it is made from.

    Before the work: what cannot be written would be found out after half an hour.
    """
    check_replaceable(folder)
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    with disk_errors(folder), TemporaryDirectory(prefix=".specvit.", dir=place):
        pass
    if folder.resolve() == bundle.resolve():
        raise ConfigError(f"--out {folder}: is the network itself, which is kept; choose another folder")


def _is_other(estimator: NetworkEstimator, stars: NewStars) -> bool:
    """Whether the prior of the stars is known and not that of the training: of another kind, or in another box."""
    if stars.prior is None:
        return False
    trained = (estimator.origin.training.world or {}).get("prior")
    box = stars.prior.label_space.select(estimator.label_space.names)
    # A prior without a world is somebody's own.
    return box != estimator.label_space or stars.world is None or stars.world.prior != trained


def _check_fits(estimator: NetworkEstimator, source: SpectraSource) -> None:
    """Raise unless spectra have the pixels and the labels of a network."""
    estimator.grid.check_matches(source.grid, estimator.name)
    missing = [name for name in estimator.label_space.names if name not in source.label_space.names]
    if missing:
        raise DataError(
            f"{estimator.name}: estimates {missing[0]}, which these spectra do not have; their labels are "
            f"{', '.join(source.label_space.names)}"
        )


def _check_enough(spectra: int) -> None:
    if spectra < FEWEST:
        raise ConfigError(f"--spectra {spectra}: expected at least {FEWEST}; fewer show their own luck")


def measured_coverage(estimator: NetworkEstimator, source: SpectraSource, update: Update) -> Coverage:
    """Return the coverage of a network on every spectrum of a source."""
    columns = [source.label_space.index(name) for name in estimator.label_space.names]
    answers: list[Prediction] = []
    truth: list[torch.Tensor] = []
    snr: list[torch.Tensor] = []
    done = 0
    for batch in source.batches(PIECE):
        answers.append(estimator.predict(batch.flux, batch.sigma))
        truth.append(batch.known_labels()[:, columns].double())
        if batch.snr is not None:
            snr.append(batch.snr)
        done += len(batch)
        update(done, len(source))
    known = torch.cat(snr).numpy() if len(snr) == len(truth) else None
    return coverage(to_estimates(Prediction.concatenate(answers)), torch.cat(truth).numpy(), known)
