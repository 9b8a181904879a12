"""A run that was moved, without the files it was made with, is reported as before."""

import shutil

import torch

from described import written
from small_surveys import settings
from specvit.cli import main
from specvit.estimators.choice import load_estimator
from specvit.jobs import run_survey
from specvit.library import Emulator


def test_a_moved_run_needs_neither_instrument_nor_library(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    instrument = written(files)
    Emulator.builtin().save(files / "mine.safetensors")
    smaller = ("simulate.train=200", "simulate.validation=60", "simulate.test=60", "limits.bayes_stars=8")
    own = (f"instrument.name={instrument}", f"library.name={files / 'mine.safetensors'}")
    run = run_survey(settings(tmp_path / "runs", *own, 'models.names=["ridge", "template"]', *smaller))
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    shutil.move(run.path, moved)
    shutil.rmtree(files)
    assert main(["report", str(moved)]) == 0
    page = (moved / "report.html").read_text(encoding="utf-8")
    assert "mine" in page
    # What was fitted predicts from there too.
    folders = sorted(path.parent for path in moved.rglob("manifest.json"))
    assert len(folders) >= 2
    for folder in folders:
        saved = load_estimator(folder)
        pixels = saved.origin.grid.size
        found = saved.predict(torch.ones(2, pixels), torch.full((2, pixels), 0.05))
        assert found.mean.shape[0] == 2
