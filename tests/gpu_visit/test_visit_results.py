"""What is on disk is whole at every moment, and says which pieces belong together."""

import json
import os
import signal
import time
import warnings

import pytest
import torch

from gpu import results as module
from gpu.results import DONE, NAME, PIECE, Results
from specvit.errors import DataError

STAGE = "train"


@pytest.fixture
def started(tmp_path):
    results = Results.begin(tmp_path, "cpu")
    results.start(STAGE)
    return results


def write_for_ever(folder):
    results = Results.read(folder)
    number = results.found(STAGE).get("count", 0)
    while True:
        number += 1
        results.note(STAGE, "count", number)
        results.keep_weights(STAGE, "network", {"a/b": torch.full((1000,), float(number))})


def test_a_writer_killed_at_any_moment_leaves_what_it_wrote_before(started, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 1500)
    generator, last = torch.Generator().manual_seed(3), 0
    for _ in range(15):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                write_for_ever(started.folder)
            finally:
                os._exit(1)
        time.sleep(0.05 + 0.1 * float(torch.rand((), generator=generator)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = Results.read(started.folder)
        if "weights network" in found.found(STAGE):
            weights = found.weights(STAGE, "network")["a/b"]
            assert weights.unique().numel() == 1
            last = max(last, int(weights[0]))
    assert last > 3
    assert len(found.found(STAGE)["weights network"]["files"]) > 1


def test_pieces_are_small_enough_and_older_ones_go(started, monkeypatch):
    assert PIECE < 16 * 1024**2
    monkeypatch.setattr(module, "PIECE", 4000)
    for value in (1.0, 2.0):
        started.keep_weights(STAGE, "network", {"x": torch.full((5000,), value)})
    files = {path.name: path.stat().st_size for path in started.folder.iterdir() if path.name != NAME}
    assert len(files) > 4
    assert max(files.values()) <= 4000
    assert set(files) == set(started.found(STAGE)["weights network"]["files"])
    assert torch.equal(Results.read(started.folder).weights(STAGE, "network")["x"], torch.full((5000,), 2.0))


def test_pieces_that_did_not_come_back_or_are_damaged_are_refused(started, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 400)
    started.keep_weights(STAGE, "network", {"x": torch.ones(300)})
    path = started.folder / started.found(STAGE)["weights network"]["files"][1]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="pieces of the weights 'network' are damaged"):
        started.weights(STAGE, "network")
    path.unlink()
    with pytest.raises(DataError, match="a piece of the weights 'network' is missing"):
        started.weights(STAGE, "network")
    with pytest.raises(DataError, match="no weights 'other' were written"):
        started.weights(STAGE, "other")


def test_a_folder_belongs_to_one_device(started):
    started.note(STAGE, "x", 1)
    started.end(STAGE, DONE, 1.0)
    assert Results.begin(started.folder, "cpu").found(STAGE) == {"x": 1}
    with pytest.raises(DataError, match="holds a visit to cpu, not to cuda"):
        Results.begin(started.folder, "cuda")


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format": 2, "stages": {}}), '{"format": 1}'])
def test_what_is_no_result_of_a_visit_is_refused(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(DataError, match="no results of a visit"):
        Results.read(tmp_path)
