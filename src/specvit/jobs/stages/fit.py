"""Fit or load one estimator, save it, and keep what it says of the test spectra."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.estimators import Choice, Setting
from specvit.estimators.network_fitter import CORRECTION
from specvit.estimators.own import blamed, check_prediction
from specvit.jobs.sources import Sources
from specvit.jobs.stages.test_stars import TestStars
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.models.prediction import REASONS, Prediction
from specvit.models.protocol import Estimator, Informed
from specvit.runs import Estimates, RunFolder
from specvit.runs.folder import MEND
from specvit.spectra import SpectraBatch

#: Share of flagged spectra that is worth a warning: several times what chance flags.
MANY = 0.05

#: Spectra estimated at once.
PIECE = 500


@dataclass(frozen=True)
class FitRecord:
    """What a fit leaves in the provenance.

    Args:
        fit_seconds: None where a saved estimator does not say.
        predict_seconds: for all test spectra.
        facts: what the fit chose.
        cost: as `EstimatorFacts.cost`.
        flagged: share of the test spectra outside the domain of the training; None where it is not judged.
        flagged_for: the reason most of them are; None without any.
        model: folder of the fitted estimator, relative to the run; None for one that was there before.
    """

    fit_seconds: float | None
    predict_seconds: float
    facts: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    flagged: float | None = None
    flagged_for: str | None = None
    model: str | None = None

    @property
    def warning(self) -> str | None:
        """What a user must know of the spectra that were flagged; None if they are no more than there should be."""
        if self.flagged is None or self.flagged <= MANY:
            return None
        return (
            f"{self.flagged:.0%} of these spectra are outside the domain it was trained in ({self.flagged_for}); what "
            "it says of them means nothing"
        )

    @property
    def seconds(self) -> dict[str, float]:
        """Step -> wall time, of steps whose time is known."""
        steps = {"fit": self.fit_seconds, "predict": self.predict_seconds}
        return {step: value for step, value in steps.items() if value}


@dataclass(frozen=True, eq=False)
class Fitted:
    """An estimator of a job, with what it says of the test spectra, and in what its world differs from the job's."""

    choice: Choice
    estimates: Estimates
    record: FitRecord
    differs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FitEstimator:
    """Fit an estimator on the training and validation spectra, or load it, and estimate the test spectra.

    Args:
        choice: which.
        setting: what it is made with; folder and listener are this stage's.
        sources: of the job; the test spectra among them are not looked at.
        test: the test spectra.
        differs: in what the world of a saved estimator differs from this one, field -> "theirs, not ours".
    """

    choice: Choice
    setting: Setting
    sources: Sources
    test: TestStars
    differs: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name in the provenance."""
        return stage_name(self.choice)

    @property
    def title(self) -> str:
        """What a watcher is told."""
        return f"fit {self.choice.title}" if self.choice.is_fitted_here else f"use {self.choice.title}"

    def make(self, run: RunFolder, record: Record, update: Update) -> Fitted:
        """Fit, save, read back and predict: what the run keeps is what is evaluated."""
        seconds, folder = None, None
        if self.choice.is_fitted_here:
            # Relative to the run, which may be moved.
            folder = Path("models") / self.choice.key
            began = time.perf_counter()
            model = self._fit(run, run.path / folder, update)
            # A network knows its own, over all starts of a job that was stopped; others fit in one go.
            seconds = trained_seconds(model) or round(time.perf_counter() - began, 3)
        else:
            model = self.choice.load()
            seconds = trained_seconds(model)
        began = time.perf_counter()
        prediction = self._predict(model, update)
        estimates, (flagged, reason) = to_estimates(prediction), flags(prediction)
        fact = FitRecord(
            fit_seconds=seconds,
            predict_seconds=round(time.perf_counter() - began, 3),
            facts={
                **self._chosen(model),
                **({} if flagged is None else {"flagged as outside its domain": f"{flagged:.1%}"}),
            },
            cost=self.choice.spec.cost(model),
            flagged=flagged,
            flagged_for=reason,
            model=None if folder is None else str(folder),
        )
        estimates.write(run, self.choice.key)
        record |= asdict(fact)
        return Fitted(self.choice, estimates, fact, self.differs)

    def read(self, run: RunFolder) -> Fitted:
        """Return what an earlier start of the job fitted."""
        kept = run.stages[self.name]
        try:
            fact = FitRecord(**{name: kept[name] for name in FitRecord.__dataclass_fields__})
        except KeyError as error:
            raise DataError(f"{run.path}: stage '{self.name}' has no entry {error}; {MEND}") from None
        return Fitted(self.choice, Estimates.read(run, self.choice.key), fact, self.differs)

    def _fit(self, run: RunFolder, folder: Path, update: Update) -> Estimator:
        def listen(entry: dict[str, Any]) -> None:
            # Records of the correction say how far it is and nothing else.
            if entry["event"] != CORRECTION:
                run.log(**entry)

        checkpoints = checkpoint_folder(run, self.choice)
        checkpoints.mkdir(parents=True, exist_ok=True)
        setting = replace(self.setting, size=self.choice.size, folder=checkpoints, listen=listen)
        model = self.choice.spec.build(setting)
        drawn = self.choice.spec.draws_spectra or self.sources.train is None
        train = self.sources.drawn if drawn else self.sources.train
        assert train is not None
        with self._blamed("fit"):
            model.fit(train, self.sources.validation, update)
        # What a killed start may have left: saving refuses a folder that holds no saved estimator.
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self._blamed("save"):
            model.save(folder)
        # Not before the result is saved: until then a killed job continues from them.
        shutil.rmtree(checkpoints.parent, ignore_errors=True)
        with self._blamed("load"):
            return self.choice.spec.load(folder)

    def _predict(self, model: Estimator, update: Update) -> Prediction:
        check = partial(check_prediction, self.choice.name) if self.choice.is_own else None
        with self._blamed("predict"):
            return predict(model, self.test, update, check)

    def _chosen(self, model: Estimator) -> dict[str, Any]:
        """Return the facts an estimator states of its fit in `choice`, if it has one."""
        facts = getattr(model, "choice", {})
        # A class of the user's own may mean something else by the word.
        return dict(facts) if isinstance(facts, Mapping) else {}

    def _blamed(self, method: str) -> AbstractContextManager[None]:
        """Blame what a class of the user's own raises on that class."""
        return blamed(self.choice.name, method) if self.choice.is_own else nullcontext()


def stage_name(choice: Choice) -> str:
    """Return the name of the stage that fits; the word keeps a folder called "crlb" apart from that stage."""
    return f"fit {choice.key}"


def checkpoint_folder(run: RunFolder, choice: Choice) -> Path:
    """Return where a training of the run keeps its checkpoints, while it lasts."""
    return run.path / "checkpoints" / choice.key


def trained_seconds(model: Any) -> float | None:
    """Return the wall time of a training, as the estimator itself states it; None where it does not."""
    origin = getattr(model, "origin", None)
    return None if origin is None else origin.training.seconds


def predict(
    model: Estimator,
    test: TestStars,
    update: Update,
    check: Callable[[object, int], None] | None = None,
) -> Prediction:
    """Return the estimates for the test spectra, made in pieces so that progress can be seen.

    Args:
        model: fitted.
        test: the test spectra.
        update: told how far it is.
        check: given each answer and the number of spectra asked about, or None.
    """
    parts = []
    for start in range(0, len(test), PIECE):
        piece = test.batch[start : start + PIECE]
        answer = _answer(model, piece, test.space.names)
        if check is not None:
            check(answer, len(piece))
        parts.append(answer)
        update(min(start + PIECE, len(test)), len(test))
    return Prediction.concatenate(parts)


def _answer(model: Estimator, piece: SpectraBatch, names: Sequence[str]) -> Prediction:
    """Return the answer of a model, which is told the labels of the spectra only if it says that it must be."""
    if isinstance(model, Informed) and model.is_informed:
        known = dict(zip(names, piece.known_labels().T, strict=True))
        return model.predict_knowing(piece.flux, piece.sigma, known)
    return model.predict(piece.flux, piece.sigma)


def flags(prediction: Prediction) -> tuple[float | None, str | None]:
    """Return the share of spectra outside the domain of the training, and the reason most of them are."""
    strange = prediction.diagnostics.strangeness
    if strange is None:
        return None, None
    # What is NaN is not inside.
    outside = ~(strange <= 1)
    often = int(outside.sum(dim=0).argmax())
    return float(outside.any(dim=1).double().mean()), REASONS[often] if bool(outside.any()) else None


def to_estimates(prediction: Prediction) -> Estimates:
    """Return a prediction as a run keeps it."""
    quantiles = prediction.quantiles
    return Estimates(
        names=np.array(prediction.names),
        mean=prediction.mean.numpy(),
        std=None if prediction.std is None else prediction.std.numpy(),
        quantiles=None if quantiles is None else quantiles.values.numpy(),
        probabilities=None if quantiles is None else np.array(quantiles.probabilities),
    )
