"""What is shipped: an archive that `make` works in, a wheel with everything beside the code, one version."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import specvit

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
#: Hatchling takes these whatever the configuration says.
ALWAYS = {"pyproject.toml", ".gitignore"}


def test_the_version_has_one_place():
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "src/specvit/__init__.py"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (\S+)$", citation, re.MULTILINE) == [specvit.__version__]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest.group(1) == specvit.__version__


def included():
    """What the configuration puts into the archive, as names of the root folder."""
    return {
        name.removeprefix("/") for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    }


def entries(names):
    """The entries of the root folder that `names`, words or paths from there, lie in, as far as they exist."""
    return {Path(name).parts[0] for name in names if Path(name).parts and (ROOT / name).exists()} - {"."}


def used():
    """Entries of the root folder that Makefile, continuous integration, README, docs or tests read."""
    words = re.findall(r"[\w./-]+", (ROOT / "Makefile").read_text() + (ROOT / ".ci/run").read_text())
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        links = [name for name in re.findall(r"\]\(([^)#:]+)", text) if (page.parent / name).exists()]
        words += [str((page.parent / name).resolve().relative_to(ROOT)) for name in links]
        words += re.findall(r"[\w./-]+/[\w./-]+", text)
    for test in (ROOT / "tests").rglob("*.py"):
        words += re.findall(r'(?:ROOT|parents\[\d\]) / "([^"]+)"', test.read_text(encoding="utf-8"))
    return entries(word for word in words if not Path(word).is_absolute() and ".." not in word)


def test_the_archive_holds_what_make_and_tests_read():
    assert {"Makefile", "constraints.txt", "tools", "benchmarks", "docs", "tests"} <= used()
    made = {line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()}
    assert used() - included() - ALWAYS - made == set()


def test_what_the_archive_is_to_hold_exists():
    assert entries(included()) == included()


def test_types_are_shipped():
    assert (Path(specvit.__file__).parent / "py.typed").exists()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An unpacked archive, and the wheel beside it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (archive,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz")), wheel


def shipped(folder):
    """Files below `folder` that are no leftovers of running."""
    caches = {"__pycache__", ".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in files if not caches & set(path.parts) and path.suffix != ".partial"}


@pytest.mark.slow
@pytest.mark.parametrize("part", ["src", "tests", "docs", "tools", "benchmarks", ".ci"])
def test_the_archive_is_complete(built, part):
    assert shipped(built[0] / part) == shipped(ROOT / part)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["run", "test", "test-all", "lint", "bench"])
def test_make_finds_its_prerequisites_in_the_archive(built, target):
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    done = subprocess.run(["make", "-n", target], cwd=built[0], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"[\w./-]+\.(?:py|txt|toml)", done.stdout):
        assert (built[0] / name).exists(), name


@pytest.mark.slow
def test_the_wheel_holds_everything_of_the_package(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name.removeprefix("specvit/") for name in wheel.namelist() if name.startswith("specvit/")}
    assert names == shipped(ROOT / "src/specvit")
    for kind in ("py.typed", "presets/", "bundles/", "library/data/", "templates/"):
        assert any(kind in name for name in names), kind


@pytest.mark.slow
def test_the_readme_states_the_size_of_the_wheel(built):
    (stated,) = re.findall(r"the wheel is (\d+) MB", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert built[1].stat().st_size / 1e6 == pytest.approx(int(stated), abs=1)
