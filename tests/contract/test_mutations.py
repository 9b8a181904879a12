"""Cut wires that the suite must notice: each change to a copy of the package makes the named tests fail.

The reverse of a test: were one of these to pass, nothing would stand between a leak and a published number. Each
takes the seconds of the tests it names, so they are slow tests; the tests they name are not.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import specvit

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(specvit.__file__).parent


class Mutation(NamedTuple):
    """A wrong wire: in `file`, `right` becomes `wrong`, and `tests` must see it."""

    file: str
    right: str
    wrong: str
    tests: str


WIRING = "tests/jobs/test_wiring.py"
MUTATIONS = {
    "noise widens a peak by half of what it should": Mutation(
        "models/heads.py",
        "precision = precision + 2 * sharpness",
        "precision = precision + sharpness",
        "tests/models/test_head_peak.py",
    ),
    "errors are corrected for estimates before the step for bright stars": Mutation(
        "estimators/network_fitter.py",
        "raw.append(network.refined(body(inputs), flux, sigma))",
        "raw.append(body(inputs))",
        "tests/models/test_refinement.py",
    ),
    "a predicted bright star is left without its step": Mutation(
        "estimators/network_estimator.py",
        "raw = network.refined(\n                    torch.cat(found), piece.flux.to(self.device), piece.sigma.to(self.device)\n                )",
        "raw = torch.cat(found)",
        "tests/models/test_refinement.py",
    ),
    "explanations are of the estimate before the step": Mutation(
        "explain/gradients.py",
        "rows = torch.nonzero(self.bright).squeeze(1)",
        "rows = torch.nonzero(self.bright).squeeze(1)[:0]",
        "tests/models/test_refinement.py",
    ),
    "kept results do not know arguments by name": Mutation(
        "numerics/remembered.py",
        "asked = (*arguments, *sum(sorted(named.items()), ()))",
        "asked = (*arguments, *named.values())",
        "tests/numerics/test_remembered.py",
    ),
    "the test split validates a survey": Mutation(
        "jobs/sources.py",
        "validation=simulator.source(splits.VALIDATION, seed, validation)",
        "validation=simulator.source(splits.TEST, seed, validation)",
        WIRING,
    ),
    "the test split validates a training": Mutation(
        "jobs/training.py",
        "held_out(data.validation, splits.VALIDATION, stars.validation)",
        "held_out(data.validation, splits.TEST, stars.validation)",
        WIRING,
    ),
    "a training is scored on validation spectra": Mutation(
        "jobs/training.py",
        "held_out(data.test, splits.TEST, stars.test)",
        "held_out(data.test, splits.VALIDATION, stars.test)",
        WIRING,
    ),
    "a survey is scored on validation spectra": Mutation(
        "jobs/sources.py",
        "test=simulator.source(splits.TEST, seed, test, truth=True)",
        "test=simulator.source(splits.VALIDATION, seed, test, truth=True)",
        WIRING,
    ),
    "errors are corrected by validation spectra": Mutation(
        "estimators/network_fitter.py",
        "held_out = validation.reserve(spectra or affordable_spectra(network)) or validation",
        "held_out = validation",
        WIRING,
    ),
    "errors of other stars are corrected by the test split": Mutation(
        "jobs/recalibration.py",
        "whole = simulator.source(splits.CALIBRATION, seed, spectra + MEASURED)",
        "whole = simulator.source(splits.TEST, seed, spectra + MEASURED)",
        "tests/jobs/test_calibrate_command.py",
    ),
    "errors are measured on the spectra that corrected them": Mutation(
        "jobs/recalibration.py",
        "RowsOf(whole, spectra, spectra + MEASURED)",
        "RowsOf(whole, 0, MEASURED)",
        "tests/jobs/test_calibrate_command.py",
    ),
    "the reserve is the validation split": Mutation(
        "simulate/simulated_source.py",
        "return self.simulator.source(splits.CALIBRATION, self.seed, count)",
        "return self.simulator.source(splits.VALIDATION, self.seed, count)",
        WIRING,
    ),
    "the Cramér-Rao ceiling ignores the noise level": Mutation(
        "jobs/stages/bounds.py",
        "FreeParameters(target, names), simulator.noise_level",
        "FreeParameters(target, names), 1.0",
        WIRING,
    ),
    "the response of a network is without sigma": Mutation(
        "jobs/stages/explanation.py",
        '"response": (slope * truth.sigma.to(slope)).square()',
        '"response": slope.square()',
        WIRING,
    ),
    "RMSE is MAE": Mutation(
        "evaluate/scorer.py",
        '"rmse": lambda m: np.sqrt(m[..., 2])',
        '"rmse": lambda m: m[..., 4]',
        "tests/evaluate",
    ),
    "RMSE is MAE on its own": Mutation(
        "evaluate/metrics.py", "= np.sqrt(np.square(z - y).mean(axis=-1))", "= np.abs(z - y).mean(axis=-1)",
        "tests/evaluate/test_metrics.py",
    ),
    "a training costs one pass": Mutation(
        "models/cost.py", "TRAINING_PASSES = 3", "TRAINING_PASSES = 1", "tests/jobs/test_survey.py"
    ),
    "the test spectra are trained on": Mutation(
        "jobs/sources.py",
        "train=simulator.source(splits.TRAIN, seed, train) if train else None",
        "train=simulator.source(splits.TEST, seed, train) if train else None",
        WIRING,
    ),
    "a study against a statement speaks for it": Mutation(
        "hub/evidence.py",
        "_OPPOSITE.get(state, state) if turned else state",
        "state",
        "tests/hub/test_evidence.py",
    ),
    "a rule that denies the claim confirms it": Mutation(
        "hub/reading.py",
        "return OPPOSITE[verdict] if reading.turned else verdict",
        "return verdict",
        "tests/hub/test_findings.py",
    ),
    "a claim is judged by all that its rule asks beside it": Mutation(
        "hub/findings.py",
        'heard(known, programme.published.get(known.id, ""))',
        'heard(known, "")',
        "tests/hub/test_findings.py",
    ),
    "a statement hears all of a rule": Mutation(
        "hub/evidence.py",
        'heard(known, statement.readings.get(known.id, ""))',
        'heard(known, "")',
        "tests/hub/test_findings.py",
    ),
    "a verdict on an old rule counts": Mutation(
        "hub/knowledge.py",
        "    if not is_of_now(study, result):",
        "    if False:",
        "tests/hub/test_knowledge.py",
    ),
    "the scoreboard compares different stars": Mutation(
        "hub/scoreboard.py",
        "groups.setdefault((result.label, facts.spectra), {})",
        'groups.setdefault((result.label, ""), {})',
        "tests/hub/test_views.py",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_cut_wire_is_noticed(name, tmp_path):
    mutation = MUTATIONS[name]
    copy = shutil.copytree(PACKAGE, tmp_path / "specvit", ignore=shutil.ignore_patterns("__pycache__"))
    source = (copy / mutation.file).read_text(encoding="utf-8")
    (copy / mutation.file).write_text(source.replace(mutation.right, mutation.wrong), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutation.tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    # 1 is a failed test; anything else would be a test that could not run at all.
    assert done.returncode == 1, f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_wire_is_still_where_it_is_cut(name):
    """Else the slow test would cut nothing, and its failure would tell about something else."""
    mutation = MUTATIONS[name]
    assert (PACKAGE / mutation.file).read_text(encoding="utf-8").count(mutation.right) == 1
