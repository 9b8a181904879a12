"""What a record says of the code it was made by."""

import shutil
import subprocess

import pytest

import specvit
from specvit.runs.provenance import _git_commit


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package, a result and a document; the process runs from it."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    package = tmp_path / "src" / "specvit"
    package.mkdir(parents=True)
    for path in (package / "__init__.py", tmp_path / "results.json", tmp_path / "README.md"):
        path.write_text("1\n", encoding="utf-8")
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    monkeypatch.setattr(specvit, "__file__", str(package / "__init__.py"))
    _git_commit.cache_clear()
    yield tmp_path
    _git_commit.cache_clear()


@pytest.mark.parametrize(
    ("name", "marked"), [("results.json", False), ("README.md", False), ("src/specvit/__init__.py", True)]
)
def test_a_commit_is_marked_if_the_code_was_changed_and_only_then(checkout, name, marked):
    (checkout / name).write_text("2\n", encoding="utf-8")
    commit = _git_commit()
    assert len(commit.rstrip("+")) == 40
    assert commit.endswith("+") == marked


def test_new_files_beside_the_code_do_not_mark_it(checkout):
    (checkout / "src" / "specvit" / "mine.py").write_text("1\n", encoding="utf-8")
    assert not _git_commit().endswith("+")
    shutil.rmtree(checkout / ".git")
    _git_commit.cache_clear()
    assert _git_commit() is None
