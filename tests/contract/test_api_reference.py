"""docs/api says what the source says: it is made from it, and the committed pages are the newest."""

import importlib
import subprocess
import sys
from pathlib import Path

import specvit

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_pages_are_the_newest():
    command = [sys.executable, str(ROOT / "tools/build_api_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nmake docs"


def test_every_public_name_has_an_entry(tool):
    pages = tool("build_api_reference").pages()
    for home, names in specvit._HOMES.items():
        module = importlib.import_module(f"specvit.{home}")
        for name in {*names, *getattr(module, "__all__", ())}:
            assert f"\n### {name}\n" in pages[f"{home}.md"], f"{home}.{name}"
    for name in specvit.__all__:
        assert name == "__version__" or f"[`{name}`]" in pages["README.md"]


def test_a_docstring_becomes_lists(tool):
    text = tool("api_docstrings").to_markdown(
        """Return a thing, |x| < y.

        Longer text of x<y.

        Args:
            flux: shape (B, L), in units
                of its median.
            low, high: bounds.
            **options: passed on.

        Returns:
            Shape (B,).

        Raises:
            DataError: if it is wrong: names it.

        Source: Somebody 1997.
        """
    )
    assert text == (
        "Return a thing, |x| < y.\n\nLonger text of x&lt;y.\n\n"
        "**Args**\n\n- `flux`: shape (B, L), in units of its median.\n- `low`, `high`: bounds.\n"
        "- `**options`: passed on.\n\n**Returns**\n\nShape (B,).\n\n"
        "**Raises**\n\n- `DataError`: if it is wrong: names it.\n\nSource: Somebody 1997."
    )


def test_examples_become_code(tool):
    text = tool("api_docstrings").to_markdown("Double.\n\nExample:\n    >>> double(2)\n    4\n")
    assert text == "Double.\n\n**Example**\n\n```python\n>>> double(2)\n4\n```"


def test_a_signature_is_as_written(tool):
    source = tool("api_source")
    found = source.find("specvit.models", "Ridge")
    assert found.module == "specvit.models.linear"
    assert source.constructor(found).startswith("Ridge(\n    labels: Sequence[str] | None = None,\n")
    methods = {member.name for member in source.members(found, {"Ridge"})}
    assert {"fit", "predict", "save", "load"} <= methods, "inherited from a private base"
