"""Packages import downwards only, reports see no models, files stay small, the network is for downloads."""

import ast
from pathlib import Path

import pytest

import specvit

SOURCE = Path(specvit.__file__).parent
#: From the top; a package imports only from packages after it.
ORDER = (
    *(
        "cli",
        "paper",
        "hub",
        "starlist",
        "report",
        "studies",
        "jobs",
        "denoise",
        "evaluate",
        "explain",
        "amortised",
        "represent",
        "stellar",
        "estimators",
        "training",
        "inference",
        "models",
    ),
    *("limits", "simulate", "instrument", "library", "observed", "spectra", "runs", "documents", "numerics"),
)
#: Free for all: errors, and the package itself for its version.
FREE = {"errors", "__version__"}
NETWORK = {"urllib", "http", "socket", "ftplib", "requests", "httpx"}
FILES = sorted(SOURCE.rglob("*.py"))


def imported(source):
    """Return the dotted names a module imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def upward(package, source):
    """Return the packages `source`, a module of `package`, imports although they are not below it."""
    used = {name.split(".")[1] for name in imported(source) if name.startswith("specvit.")}
    return {
        other
        for other in used - FREE - {package}
        if other not in ORDER or ORDER.index(other) < ORDER.index(package)
    }


def package_of(path):
    return path.relative_to(SOURCE).parts[0]


def test_every_package_has_its_place_in_the_order():
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(ORDER)


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_from_packages_below_it(package):
    wrong = {
        str(path.relative_to(SOURCE)): found
        for path in FILES
        if package_of(path) == package and (found := upward(package, path.read_text()))
    }
    assert wrong == {}


def test_an_upward_import_is_seen_even_inside_a_function():
    assert upward("models", "def f():\n    from specvit.cli.run import run") == {"cli"}
    assert upward("models", "import specvit.report") == {"report"}
    assert upward("models", "from specvit import nowhere") == {"nowhere"}
    assert (
        upward("models", "from specvit.spectra import collect\nfrom specvit.errors import DataError") == set()
    )


def test_reports_are_made_of_run_folders_only():
    used = set().union(*(imported(path.read_text()) for path in FILES if package_of(path) == "report"))
    packages = {name.split(".")[1] for name in used if name.startswith("specvit.")}
    assert packages <= {"report", "runs", "documents", "spectra", "errors"}
    assert not any(name.split(".")[0] == "torch" for name in used)


def test_only_downloads_use_the_network():
    users = {
        str(path.relative_to(SOURCE))
        for path in FILES
        if {name.split(".")[0] for name in imported(path.read_text())} & NETWORK
    }
    assert all(user.startswith("library/") for user in users), users


def test_no_source_file_is_longer_than_400_lines():
    long = {str(p.relative_to(SOURCE)): n for p in FILES if (n := len(p.read_text().splitlines())) > 400}
    assert long == {}
