"""The Python code in README and docs imports from public faces only, and runs."""

import ast
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from reference_dataset import write_shard
from specvit import Simulator

ROOT = Path(__file__).resolve().parents[2]
PAGES = {page.name: page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}

#: Page -> what is made smaller than in the text, so that the code runs in seconds.
SMALLER = {
    "README.md": [("count=20_000", "count=300"), ("count=1000", "count=200"), ("0, 2000)", "0, 50)")],
    "library.md": [("components=300", "components=8"), ("steps=30_000", "components=4, steps=20")],
    "limits.md": [
        ("0, 200)", "0, 8)"),
        ("simulator.prior).posterior", "simulator.prior, bank_size=1024).posterior"),
    ],
    "simulate.md": [("stop=2000", "stop=20"), ("batch=512", "batch=8"), ("    ...", "    break")],
}


def code_of(page):
    """Return the Python of a page: its blocks are one program, read from top to bottom."""
    return "\n".join(re.findall(r"```python\n(.*?)```", PAGES[page].read_text(encoding="utf-8"), re.DOTALL))


WITH_CODE = [name for name in PAGES if code_of(name)]


def shards(folder):
    """Files of the reference work's form where docs/import.md opens them."""
    for name in ("train_200k_0", "train_200k_1", "test_10k"):
        (folder / name).mkdir()
        write_shard(folder / name / "dataset.h5", count=80, noisy=True)
    return {}


def own_spectra(folder):
    """Labels, wavelengths and fluxes that docs/library.md takes as the reader's own."""
    low, high = np.array([4000, 1, -2.0]), np.array([6000, 5, 0.5])
    labels = low + (high - low) * np.random.default_rng(0).random((60, 3))
    wavelength = np.linspace(8000.0, 8100.0, 120)
    line = np.exp(-0.5 * ((wavelength - 8050) / 4) ** 2)
    flux = 1 - (0.1 + 0.1 * labels[:, 1:2]) * line
    return {"labels": labels, "wavelength": wavelength, "flux": flux}


def observed_spectra(folder):
    """Spectra that docs/training.md takes as given."""
    batch = Simulator.build("pfs_mr_reference").draw("test", 1, 0, 4)
    return {"flux": batch.flux, "sigma": batch.sigma}


#: Page -> what it takes as given: names, and files in the working folder.
GIVEN = {"import.md": shards, "library.md": own_spectra, "training.md": observed_spectra}


def deep_imports(code):
    """Return what `code` imports from specvit that is not a public name of a package's face."""
    deep = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            deep += [a.name for a in node.names if a.name.startswith("specvit.")]
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "specvit":
            face = importlib.import_module(node.module)
            public = getattr(face, "__all__", ()) if hasattr(face, "__path__") else ()
            deep += [f"{node.module}.{a.name}" for a in node.names if a.name not in public]
    return deep


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_imports_from_public_faces_only(page):
    assert deep_imports(code_of(page)) == []


def test_a_deep_import_is_seen():
    assert deep_imports("from specvit.models.linear import Ridge") == ["specvit.models.linear.Ridge"]
    assert deep_imports("def f():\n    import specvit.models.linear") == ["specvit.models.linear"]
    assert deep_imports("from specvit import _HOMES") == ["specvit._HOMES"]
    assert deep_imports("from specvit.models import Ridge\nfrom numpy import linalg") == []


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = code_of(page)
    for long, short in SMALLER.get(page, []):
        assert long in code, f"{page} does not say '{long}' any more; mend SMALLER"
        code = code.replace(long, short)
    names = GIVEN.get(page, lambda folder: {})(tmp_path)
    exec(compile(code, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_modules_named_in_the_text_exist(page):
    for dotted in re.findall(r"`(specvit(?:\.\w+)+)`", PAGES[page].read_text(encoding="utf-8")):
        parent, _, name = dotted.rpartition(".")
        module = importlib.import_module(parent)
        if not hasattr(module, name):
            importlib.import_module(dotted)


@pytest.mark.parametrize("page", PAGES)
def test_files_named_in_the_text_exist(page):
    """A module is named from `src/specvit`, everything else from the root."""
    text = PAGES[page].read_text(encoding="utf-8")
    for name in re.findall(r"`([a-z]\w*(?:/\w+)+\.py)`", text):
        assert (ROOT / name).exists() or (ROOT / "src/specvit" / name).exists(), f"{page}: {name}"


@pytest.mark.parametrize("page", PAGES)
def test_tests_named_in_the_text_exist(page):
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", PAGES[page].read_text(encoding="utf-8")):
        assert f"def {name}(" in written, f"{page}: {name}"


#: A source that readers do not have, by its abbreviations.
UNCITABLE = re.compile(r"reference facts|\bfacts(\.md)?,? (section )?\d", re.IGNORECASE)


def test_sources_are_cited_by_name():
    """The reference work is named in docs/architecture.md; everything else by author, year and place."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    assert [str(path) for path in files if UNCITABLE.search(path.read_text(encoding="utf-8"))] == []
    assert UNCITABLE.search("reference facts, section 3.3")
    assert UNCITABLE.search("(facts.md 4.5)")
