import importlib.metadata
import json

import pytest

from specvit.cli import main


def examined(capsys, folder, code):
    assert main(["doctor", "--json", "--folder", str(folder)]) == code
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)}


def test_a_complete_installation_is_found_complete(tmp_path, capsys):
    checks = examined(capsys, tmp_path / "runs", 0)
    assert {check["state"] for check in checks.values()} <= {"ok", "missing"}
    assert checks["numpy"]["detail"] == importlib.metadata.version("numpy")
    assert "CPU threads" in checks["compute"]["detail"]
    assert "spectra" in checks["built-in library"]["detail"]
    assert "pfs_mr_reference" in checks["instruments"]["detail"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("package", "state", "code", "mend"),
    [
        ("dask", "missing", 0, "pip install 'specvit[hpc]'"),
        ("jinja2", "missing", 0, "pip install jinja2"),
        ("h5py", "broken", 1, "pip install h5py"),
    ],
)
def test_a_missing_package_is_named_with_what_brings_it(
    package, state, code, mend, tmp_path, capsys, monkeypatch
):
    version = importlib.metadata.version

    def without(name):
        if name == package:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    monkeypatch.setattr("specvit.cli.doctor._data", list)
    checks = examined(capsys, tmp_path, code)
    assert checks[package]["state"] == state
    assert mend in checks[package]["detail"]


def test_damaged_data_fail_the_examination(tmp_path, capsys, monkeypatch):
    def damaged():
        raise OSError("checksum of lte_r20000.h5 is wrong")

    monkeypatch.setattr("specvit.library.load_builtin", damaged)
    assert main(["doctor", "--folder", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "checksum of lte_r20000.h5 is wrong" in shown
    assert "broken: built-in library" in shown


def test_a_runs_folder_that_cannot_be_made_fails_the_examination(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("specvit.cli.doctor._data", list)
    (tmp_path / "file").write_text("")
    checks = examined(capsys, tmp_path / "file" / "runs", 1)
    assert checks["runs folder"]["state"] == "broken"
    assert "run.folder" in checks["runs folder"]["detail"]
