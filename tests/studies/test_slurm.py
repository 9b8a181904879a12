"""Studies on a SLURM cluster: what dask-jobqueue would submit for the cluster of the documentation; none is needed."""

import ast
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "studies.md"


def documented():
    """Return the options of the cluster in docs/studies.md."""
    block = next(part for part in DOCS.read_text("utf-8").split("```") if "SLURMCluster(" in part)
    calls = (node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call))
    call = next(call for call in calls if getattr(call.func, "id", "") == "SLURMCluster")
    return {option.arg: ast.literal_eval(option.value) for option in call.keywords}


def test_a_documented_worker_does_one_run_at_a_time():
    options = documented()
    assert options["cores"] == options["processes"] == 1


def test_the_script_of_a_job_starts_one_worker_of_one_thread_for_the_scheduler():
    jobqueue = pytest.importorskip("dask_jobqueue")
    # A free port: that of the documentation may be in use here.
    options = documented() | {"scheduler_options": {"port": 0, "dashboard_address": None}}
    with jobqueue.SLURMCluster(**options) as cluster:
        script, address = cluster.job_script(), cluster.scheduler_address
    assert script.startswith("#!/usr/bin/env bash")
    assert "#SBATCH --cpus-per-task=1" in script
    assert f"#SBATCH -t {options['walltime']}" in script
    (start,) = [line for line in script.splitlines() if "distributed.cli.dask_worker" in line]
    assert address in start
    assert "--nthreads 1" in start
    assert "--nworkers" not in start or "--nworkers 1" in start
