"""Folders that are there whole or not at all."""

import os

import pytest

from specvit.errors import RunError
from specvit.runs.atomic import write_atomic_folder


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_appears_whole_and_replaces_an_older_one(tmp_path):
    assert write_atomic_folder(tmp_path / "deep" / "a", {"x": "1", "y": b"2"})
    assert contents(tmp_path / "deep" / "a") == {"x": "1", "y": "2"}
    assert write_atomic_folder(tmp_path / "deep" / "a", {"z": "3"})
    assert contents(tmp_path / "deep" / "a") == {"z": "3"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a"]


def test_a_folder_that_is_not_to_be_replaced_stays(tmp_path):
    write_atomic_folder(tmp_path / "a", {"x": "1"})
    assert not write_atomic_folder(tmp_path / "a", {"x": "2"}, replace=False)
    assert contents(tmp_path / "a") == {"x": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_failed_exchange_leaves_the_old_folder(tmp_path, monkeypatch, fails_at):
    write_atomic_folder(tmp_path / "a", {"x": "1"})
    rename, calls = os.rename, []

    def failing(source, target):
        calls.append(source)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(RunError, match=r"cannot write .*a: the disk is full"):
        write_atomic_folder(tmp_path / "a", {"x": "2"})
    assert contents(tmp_path / "a") == {"x": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="a file stands where a folder is needed"):
        write_atomic_folder(tmp_path / "file" / "a", {"x": "1"})
