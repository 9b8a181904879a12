"""The tools and benchmarks of the repository load: what they import of the package is there."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [path for folder in ("tools", "benchmarks") for path in sorted((ROOT / folder).glob("[a-z]*.py"))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_script_loads_without_doing_anything(path, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [str(path)])
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    # Parts that others import have no command of their own.
    assert callable(getattr(module, "main", None)) == ("__main__" in path.read_text(encoding="utf-8"))
