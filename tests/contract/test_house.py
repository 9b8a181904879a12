"""A name means one thing: class names, splits and estimators each have one place; no module imports in a circle."""

import ast
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import specvit
from specvit.estimators import TABLE
from specvit.simulate import SPLITS
from test_arrows import FILES, SOURCE, imported, package_of

#: Private classes may repeat; these public ones mean the same in each place, a protocol and who follows it.
SHARED_NAMES = set()
#: Where the words train, validation, test and calibration are names of splits.
SPLIT_MODULE = "simulate/splits.py"
#: Entries of files and configurations that have the name of a split: they are what users read and write.
NAMED_LIKE_SPLITS = {
    "models/origin.py": {"train", "validation"},
    "jobs/training.py": {"train", "validation", "test"},
    "jobs/config/training.py": {"train"},
}
#: Where an estimator's name may be written: its own row, and a saved form that must not change with the table.
ESTIMATOR_ROOMS = ("estimators/", "models/", "inference/")


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_no_two_rooms_have_a_class_of_one_name():
    homes = defaultdict(set)
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(package_of(path))
    twice = {name: rooms for name, rooms in homes.items() if len(rooms) > 1}
    assert set(twice) == SHARED_NAMES, twice


def module_name(path):
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_module_imports_itself_in_a_circle():
    """Imports inside functions count, those for type checkers alone do not; nor does a package's own face."""
    modules = {module_name(path): path for path in FILES}
    graph = {}
    for name, path in modules.items():
        if path.name == "__init__.py":
            continue
        tree = tree_of(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = [ast.Pass()]
        used = set()
        for dotted in imported(ast.unparse(tree)):
            while dotted and dotted not in modules:
                dotted = dotted.rpartition(".")[0]
            if dotted and modules[dotted].name != "__init__.py":
                used.add(dotted)
        graph[name] = used - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def texts(path):
    """The string constants of a module that are no docstring."""
    tree = tree_of(path)
    said = {
        id(node.value)
        for owner in ast.walk(tree)
        for node in (owner.body if isinstance(getattr(owner, "body", None), list) else ())
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    }


def test_splits_are_named_in_one_module():
    allowed = {SOURCE / SPLIT_MODULE: set(SPLITS)}
    allowed |= {SOURCE / name: words for name, words in NAMED_LIKE_SPLITS.items()}
    # The command line spells options; `specvit train` is also the name of a verb.
    files = [path for path in FILES if package_of(path) != "cli"]
    wrong = {
        str(path.relative_to(SOURCE)): found
        for path in files
        if (found := texts(path) & set(SPLITS) - allowed.get(path, set()))
        # The star table's file is called "test", as ever; a validation is an event of a training.
        and not (path.name == "artefacts.py" and found == {"test"})
        and not (path.name == "engine.py" and found == {"validation"})
    }
    assert wrong == {}


def test_estimators_are_named_in_their_table_alone():
    wrong = {
        str(path.relative_to(SOURCE)): found
        for path in FILES
        if not str(path.relative_to(SOURCE)).startswith(ESTIMATOR_ROOMS)
        and package_of(path) != "cli"
        and (found := texts(path) & (set(TABLE) - families()))
    }
    # Version 1 of a configuration had a section of that name, and the defaults name two baselines.
    assert wrong.pop("jobs/config/resolve.py", set()) <= {"lightgbm"}
    assert wrong.pop("jobs/config/sections.py", set()) <= {"ridge", "lightgbm"}
    assert wrong.pop("jobs/config/training.py", set()) <= {"subspace"}
    # What is trained for a spectrograph unless another kind is asked for.
    assert wrong.pop("amortised/networks.py", set()) <= {"subspace"}
    # A training may start from a Ridge fit; that is a kind of start.
    for name in ("training/recipe.py", "training/starts.py"):
        assert wrong.pop(name, set()) <= {"ridge"}
    # Packages whose versions are recorded, and the extra that installs one.
    assert wrong.pop("runs/provenance.py", set()) <= {"lightgbm"}
    assert wrong == {}


def families():
    """Words of the table that are also names of families, which a report may know."""
    return {spec.family for spec in TABLE.values()}


def test_nobody_asks_a_source_or_a_prior_for_its_class():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for name in ("SimulatedSource", "UniformPrior", "LatticePrior", "StoredSpectra"):
            assert not re.search(rf"isinstance\([^)]*\b{name}\b", text), f"{path}: {name}"


def test_the_tools_build_on_jobs_and_not_on_the_command_line():
    root = Path(specvit.__file__).resolve().parents[2]
    for path in sorted((root / "tools").glob("*.py")):
        assert not [name for name in imported(path.read_text()) if name.startswith("specvit.cli")], path


def test_what_pydantic_finds_is_worded_in_one_module():
    """Every other place would word the same mistake otherwise."""
    users = {str(path.relative_to(SOURCE)) for path in FILES if ".errors(" in path.read_text()}
    assert users == {"documents/problems.py"}


def test_a_file_gets_its_name_in_one_module():
    """Anything else could leave half a file under its final name; a download's part is kept to be continued."""
    renames = re.compile(r"os\.(replace|rename)\(|shutil\.move\(|\bpartial\.(replace|rename)\(")
    users = {str(path.relative_to(SOURCE)) for path in FILES if renames.search(path.read_text())}
    assert users == {"runs/atomic.py", "library/download.py"}
