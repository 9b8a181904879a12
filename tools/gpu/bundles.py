"""Networks that came back from a visit, as bundles that load like any other: made on the CPU, after the visit.

A bundle needs what a visit has no time for: its stated errors corrected by held-out spectra, the domain of its inputs,
scores on test stars, and the origin of all of it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from build_pretrained import score
from gpu.results import Results
from gpu.training import STAGE, courses, restored
from gpu.visit import SEED, Visit
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.network_fitter import calibrate
from specvit.models.origin import Origin, snr_range
from specvit.simulate import endless


def trained(results: Results) -> tuple[str, ...]:
    """Return the names of the networks whose weights a visit brought back."""
    return tuple(key.removeprefix("weights ") for key in results.found(STAGE) if key.startswith("weights "))


def publish(results: Results, name: str, folder: Path, calibration: int, stars: int) -> Path:
    """Make a bundle with its card of a network of a visit; return its folder.

    Args:
        results: of the visit.
        name: one of `trained`.
        folder: where the bundle goes, under its name.
        calibration: spectra by which the stated errors are corrected.
        stars: test stars that score it.

    Raises:
        DataError: if its weights did not come back whole.
    """
    visit = Visit.to(results.content["device"])
    assert name in {course.name for course in courses(visit)}
    network, simulator = restored(visit, results, name), visit.simulator
    log, train = results.found(STAGE)[name], endless(visit.simulator, SEED)
    origin = Origin.of(train, simulator.source("validation", SEED, log["validation stars"]))
    entries = {
        **_record(log),
        **calibrate(network, train, calibration),
        "snr": snr_range(train.draw(0, 1024)),
    }
    card = results.found("check").get("versions", {}).get("card")
    entries |= {
        "start": log["start"],
        "date": results.content["date"],
        "facts": {"card": card, "what": log["what"]},
    }
    estimator = NetworkEstimator(name).adopt(
        network, replace(origin, training=origin.training.with_entries(entries))
    )
    score(estimator, simulator, stars)
    estimator.save(folder / name)
    return folder / name


def _record(log: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a training; of one that was cut off, what its last validation says."""
    if "record" in log:
        record: dict[str, Any] = log["record"]
        return record
    last = log["curve"][-1]
    return {"recipe": log["recipe"], "seconds": last["seconds"], "train_spectra": last["spectra"]}
