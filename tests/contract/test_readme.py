"""README and docs say what is true: commands and options exist, links lead somewhere (code: test_docs_code)."""

import re
from pathlib import Path

import pytest

from specvit.cli.console import VERBS, LazyGroup

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def find_command(words):
    """The command that the words begin with, or None, and the words after it."""
    command = LazyGroup(name="specvit")
    while words and hasattr(command, "get_command"):
        found = command.get_command(None, words[0])
        if found is None:
            return None, words
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_their_options_exist(page):
    for line in re.findall(r"specvit ([a-z][^`\n#]*)", page.read_text(encoding="utf-8")):
        words = line.split()
        if words[0] not in VERBS:
            continue
        command, rest = find_command(words)
        if command is None or not rest:
            continue
        options = {name for parameter in command.params for name in parameter.opts}
        for option in re.findall(r"(--[a-z][a-z-]*)", " ".join(rest)):
            assert option in options | {"--help"}, f"{page.name}: specvit {line}"


def test_every_verb_is_in_the_table():
    for verb in VERBS:
        assert f"`specvit {verb}" in README
