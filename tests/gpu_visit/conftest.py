"""The tools are scripts beside the package: their folder is where they are imported from."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

#: What a lent machine may lack.
MISSING = ("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "lightgbm", "astropy", "numba", "rich",
           "typer", "matplotlib", "jinja2")  # fmt: skip
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {str(ROOT / "tools")!r})
"""


@pytest.fixture(scope="session")
def blocker():
    """Lines of Python after which nothing that a lent machine may lack can be imported."""
    return BLOCKER
