"""The work on some files of a list: read, fit, draw, write parts. Holds one part's spectra at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from specvit.documents.words import one_line
from specvit.errors import AccessError, ConfigError, DataError, SpecvitError
from specvit.observed import ObservedSpectrum, iter_spectra
from specvit.starlist.inputs import StarInput
from specvit.starlist.parts import PartEntry, PartsFolder, State
from specvit.starlist.recipe import FitRecipe, ListFitter
from specvit.starlist.residuals import packed
from specvit.stellar import Refusal
from specvit.stellar.fit import Outcome

#: Stars per part: what a kill can cost, and what is held in memory.
PART = 128

#: Called as files are done: how many, and how many stars.
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class FileWork:
    """Files that one process works through.

    Args:
        unit: number that orders its parts among those of others.
        folder: of the parts.
        recipe: how stars are fitted.
        inputs: key of the file's results, the file, and how many of its targets are done.
    """

    unit: int
    folder: Path
    recipe: FitRecipe
    inputs: tuple[tuple[str, StarInput, int], ...]


@dataclass(frozen=True)
class FileTarget:
    """One target of a file: its spectrum, or why there is none.

    Args:
        found: spectrum or refusal.
        again: whether the system did not give the file, so that another time it may.
        usage: whether the options do not go with the file.
    """

    found: ObservedSpectrum | Refusal
    again: bool = False
    usage: bool = False


def targets_of(given: StarInput, labels: Sequence[str]) -> Iterator[FileTarget]:
    """Yield the targets of a file in their order; whatever cannot be read is a refusal, and there is at least one.

    Args:
        given: the file.
        labels: that priors may be on.
    """
    problem = given.problem
    if odd := sorted(set(given.priors) - set(labels)):
        problem = f"{given.path}: prior: '{odd[0]}' is no label; known are {', '.join(labels)}"
    if problem:
        yield FileTarget(Refusal(given.name or Path(given.path).name, given.path, problem), usage=True)
        return
    waiting: list[FileTarget] = []

    def refuse(name: str, error: DataError) -> None:
        waiting.append(FileTarget(Refusal(name, given.path, str(error))))

    try:
        for spectrum in iter_spectra(given.path, given.options, refuse):
            yield from waiting
            waiting.clear()
            yield FileTarget(replace(spectrum, name=given.name or spectrum.name, known=dict(given.priors)))
    except (DataError, ConfigError) as error:
        name = given.name or Path(given.path).name
        refusal = Refusal(name, given.path, str(error))
        waiting.append(FileTarget(refusal, isinstance(error, AccessError), isinstance(error, ConfigError)))
    yield from waiting


def work_through(task: FileWork, told: Told | None = None) -> tuple[int, int]:
    """Write the parts of a task; return numbers of files and stars."""
    parts, fitter = PartsFolder(task.folder), task.recipe.fitter()
    files = stars = number = 0
    for entries, targets in _parts_of(task, fitter.labels):
        parts.write(task.unit, number, entries, _worked_out(targets, fitter))
        # The last entry may go on in the next part.
        whole, count = sum(entry.state != "more" for entry in entries), len(targets)
        # Or the spectra would live until the next part has been read.
        del targets
        files, stars, number = files + whole, stars + count, number + 1
        if told is not None:
            told(whole, count)
    return files, stars


def work_alone(task: FileWork) -> tuple[int, int]:
    """Do as `work_through` in a worker process: with one thread, as others have the other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return work_through(task)
    finally:
        torch.set_num_threads(threads)


def _parts_of(task: FileWork, labels: Sequence[str]) -> Iterator[tuple[list[PartEntry], list[FileTarget]]]:
    """Yield what goes into each part: entries, and the targets they speak of."""
    entries: list[PartEntry] = []
    targets: list[FileTarget] = []
    for key, given, skip in task.inputs:
        first = at = skip
        state: State = "done"
        for target in islice(targets_of(given, labels), skip, None):
            if len(targets) == PART:
                if at > first:
                    entries.append(PartEntry(key, first, at - first, "more"))
                yield entries, targets
                entries, targets, first = [], [], at
            targets.append(target)
            at += 1
            state = "again" if target.again else state
        entries.append(PartEntry(key, first, at - first, state))
    if entries:
        yield entries, targets


def _outcomes(spectra: list[ObservedSpectrum], fitter: ListFitter) -> list[Outcome]:
    """Return what is found; a spectrum no fit was made for is refused, or its list would end there for ever."""
    try:
        return fitter.fit(spectra)
    except SpecvitError:
        raise
    except Exception as error:
        if len(spectra) > 1:
            return [outcome for spectrum in spectra for outcome in _outcomes([spectrum], fitter)]
        (one,) = spectra
        reason = one_line(str(error))[:160]
        said = (
            f"{one.source}: the fit failed ({type(error).__name__}: {reason}); please report it with the file"
        )
        return [Refusal(one.name, one.source, said)]


def _worked_out(targets: list[FileTarget], fitter: ListFitter) -> list[dict[str, Any]]:
    """Return what is kept of each target: `star`, and `residual` and `page` of one that was fitted."""
    spectra = [target.found for target in targets if isinstance(target.found, ObservedSpectrum)]
    outcomes = iter(_outcomes(spectra, fitter))
    kept = []
    for target in targets:
        outcome = target.found if isinstance(target.found, Refusal) else next(outcomes)
        if isinstance(outcome, Refusal):
            kept.append(
                {
                    "star": {
                        "name": outcome.name,
                        "file": outcome.source,
                        "flags": ["REFUSED"],
                        "reason": outcome.reason,
                    },
                    "usage": target.usage,
                }
            )
            continue
        star, fitted = outcome
        residual = packed(fitter.bins.residual(fitted, star.velocity))
        costs = fitter.costs(star, fitted)
        record = star.record() | {"advice": fitter.advice(star)}
        if costs:
            record["mask_costs"] = {name: asdict(cost) for name, cost in costs.items()}
        kept.append({"star": record, "residual": residual, "page": fitter.draw(star, fitted, costs)})
    return kept
