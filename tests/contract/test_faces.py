"""What outsiders import: `specvit` itself and the `__init__` of its packages, loaded when first asked for."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import specvit

SOURCE = Path(specvit.__file__)


def packages():
    """All packages inside specvit, at any depth."""
    return sorted(m.name for m in pkgutil.walk_packages(specvit.__path__, "specvit.") if m.ispkg)


def typed_imports():
    """Home -> the names that type checkers are told it lends to `specvit`."""
    tree = ast.parse(SOURCE.read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {}
    for line in block.body:
        for alias in line.names:
            assert alias.asname == alias.name  # what PEP 484 takes for a re-export
            homes.setdefault(line.module.removeprefix("specvit."), set()).add(alias.name)
    return homes


def test_type_checkers_and_python_are_told_the_same():
    told = typed_imports()
    assert told.pop("specvit") == set(specvit._HOMES)
    assert told == {home: set(names) for home, names in specvit._HOMES.items() if names}


@pytest.mark.parametrize("home", specvit._HOMES)
def test_a_name_of_specvit_is_a_public_name_of_its_package(home):
    module = importlib.import_module(f"specvit.{home}")
    assert getattr(specvit, home) is module
    for name in specvit._HOMES[home]:
        assert getattr(specvit, name) is getattr(module, name)
        assert name in getattr(module, "__all__", vars(module))


def test_names_are_listed_before_they_are_loaded():
    script = "import sys, specvit; print(set(specvit.__all__) <= set(dir(specvit)), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_no_name_stands_for_two_things():
    listed = [name for names in specvit._HOMES.values() for name in names]
    assert len(set(listed)) == len(listed)
    assert not set(listed) & set(specvit._HOMES)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Simulater'"):
        specvit.Simulater  # noqa: B018
    with pytest.raises(ImportError, match="Simulater"):
        from specvit import Simulater  # noqa: F401


@pytest.mark.parametrize("name", packages())
def test_public_names_exist_once_and_come_from_inside(name):
    package = importlib.import_module(name)
    assert package.__doc__
    assert len(set(package.__all__)) == len(package.__all__)
    for public in package.__all__:
        value = getattr(package, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__.split(".")[0] == "specvit", f"{name}.{public}: {value.__module__}"


@pytest.mark.parametrize("name", packages())
def test_a_face_holds_names_only(name):
    """Code in an `__init__` runs for everyone who wants any other part of the package."""
    tree = ast.parse(Path(importlib.import_module(name).__file__).read_text("utf-8"))
    for node in tree.body[1:]:
        names = [target.id for target in node.targets] if isinstance(node, ast.Assign) else []
        assert isinstance(node, ast.ImportFrom) or names == ["__all__"], f"{name}, line {node.lineno}"
