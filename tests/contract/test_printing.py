"""There is one way to print: `specvit.cli.terminal`, with `screen` for tables and `progress` for bars."""

import ast
from pathlib import Path

import pytest

import specvit

SOURCE = Path(specvit.__file__).parent
#: File -> what it alone may do.
ALLOWED = {
    "cli/terminal.py": {"print", "sys.stdout", "sys.stderr"},
    "cli/screen.py": {"rich.console"},
    "cli/progress.py": {"rich.console", "rich.progress"},
}
PRINTING = {
    *("print", "input", "typer.echo", "typer.secho", "typer.confirm", "typer.prompt"),
    *("click.echo", "click.secho", "traceback.print_exc"),
}
MARKED_UP = {
    "rich.console",
    "rich.progress",
    "rich.markup",
    "rich.prompt",
    "rich.live",
    "rich.status",
    "rich",
}


class WithoutTypeChecking(ast.NodeTransformer):
    """Drops what is imported for annotations only."""

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def other_ways(source):
    """Return how a module prints past the house's way."""
    found = set()
    for node in ast.walk(WithoutTypeChecking().visit(ast.parse(source))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in PRINTING:
                found.add(name)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"sys.stdout", "sys.stderr"}:
            found.add(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and node.module in MARKED_UP:
            box = node.module == "rich" and {alias.name for alias in node.names} <= {"box"}
            found |= set() if box else {node.module}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MARKED_UP
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_is_printed_past_the_terminal(path):
    assert other_ways(path.read_text()) <= ALLOWED.get(str(path.relative_to(SOURCE)), set())


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("print('[red]a')", "print"),
        ("import typer\ntyper.secho('a')", "typer.secho"),
        ("def f():\n    from rich.console import Console", "rich.console"),
        ("import sys\nsys.stdout.write('a')", "sys.stdout"),
        ("from rich import print", "rich"),
        ("import typer\ntyper.confirm('Start?')", "typer.confirm"),
    ],
)
def test_another_way_is_seen(source, way):
    assert other_ways(source) == {way}
    assert other_ways("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rich.console") == set()
