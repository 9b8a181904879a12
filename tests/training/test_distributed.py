"""Two processes under torchrun train the same network as one process with twice the batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distributed_script import train
from specvit.training.distributed import Processes

SCRIPT = Path(__file__).with_name("distributed_script.py")


def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(SCRIPT), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # A thread of the group that outlives the interpreter can abort a process whose work is done.
    for rank in range(2):
        assert not [
            name for name in json.loads((tmp_path / f"threads-{rank}.json").read_text()) if "gloo" in name
        ]
    first, second = (torch.load(tmp_path / f"weights-{rank}.pt") for rank in range(2))
    record = json.loads((tmp_path / "record-0.json").read_text())
    expected, alone = train(Processes(0, 1, torch.device("cpu")), batch=32)
    assert (record["processes"], record["steps"], record["train_spectra"]) == (2, 20, 20 * 32)
    assert record["validation_r2"] == pytest.approx(expected["validation_r2"], abs=1e-3)
    for mine, theirs, single in zip(first, second, alone, strict=True):
        assert torch.equal(mine, theirs)
        torch.testing.assert_close(mine, single, rtol=1e-3, atol=1e-5)
