"""Build docs/api from the public faces: one page per package, and an index of what `specvit` itself offers.

    python tools/build_api_reference.py [--check]

A face is the `__all__` of a package. With `--check` nothing is written; exit code 1 says that a page is stale. The
same source gives the same bytes; nothing is imported, so no dependency is needed.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

from api_docstrings import first_sentence, to_markdown
from api_source import (
    SOURCE,
    Found,
    attributes,
    bases,
    constant_text,
    constructor,
    described_fields,
    find,
    members,
    path_of,
    public_names,
    signature,
    tree_of,
)

PAGES = Path(__file__).parents[1] / "docs" / "api"
#: The command has its own help.
LEFT_OUT = {"specvit.cli"}
NOTICE = "<!-- Made by tools/build_api_reference.py from the docstrings; edit those, not this page. -->"


def packages() -> list[str]:
    """Return all packages with a face, outer before inner."""
    found = sorted(path.parent.relative_to(SOURCE) for path in (SOURCE / "specvit").rglob("__init__.py"))
    names = [".".join(path.parts) for path in found]
    return [name for name in names if name != "specvit" and name not in LEFT_OUT]


def top_level() -> dict[str, str]:
    """Return name -> package of what `specvit` itself lends, in the order of its source."""
    homes = next(
        node.value
        for node in tree_of("specvit").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    )
    values = {}
    for key, names in zip(homes.keys, homes.values, strict=True):
        # The tuples are wrapped with stars, which `literal_eval` does not read.
        listed = [n.value for n in ast.walk(names) if isinstance(n, ast.Constant)]
        values |= {name: f"specvit.{ast.literal_eval(key)}" for name in sorted(listed)}
    return values


def entry(found: Found, shown: str, public: set[str]) -> str:
    """Return heading, signature and docstring of one public name."""
    parts = [f"### {shown}"]
    node = found.node
    if isinstance(node, ast.ClassDef):
        parts += class_parts(found, node, public)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        parts += [code(signature(node, shown)), to_markdown(ast.get_docstring(node, clean=False))]
    else:
        text, comment = constant_text(found)
        parts += [code(text), comment]
    return "\n\n".join(part for part in parts if part)


def class_parts(found: Found, node: ast.ClassDef, public: set[str]) -> list[str]:
    """Return what is said of a class, and of its public members."""
    called = constructor(found)
    parts = [code("\n".join([f"class {called}"] if called else [f"class {node.name}", *declared(node)]))]
    known = [base.name for base in bases(found) if base.name in public]
    parts.append(f"A kind of {', '.join(f'`{name}`' for name in known)}." if known else "")
    parts.append(to_markdown(ast.get_docstring(node, clean=False)))
    rows = described_fields(node)
    if rows:
        cells = [
            f"| `{n}` | `{t}` | {f'`{d}`' if d else ''} | {text} |".replace(" | None", " \\| None")
            for n, t, d, text in rows
        ]
        parts.append("\n".join(["| field | type | default | |", "|---|---|---|---|", *cells]))
    for member in members(found, public):
        parts += [f"#### {node.name}.{member.name}", code(member.signature), to_markdown(member.docstring)]
    return parts


def declared(node: ast.ClassDef) -> list[str]:
    """Return the attributes of a class that nobody calls, indented below its name."""
    return [f"    {line}" for line in attributes(node)]


def code(text: str) -> str:
    """Return `text` as a block of Python."""
    return f"```python\n{text}\n```"


def page(package: str, public: set[str]) -> str:
    """Return the page of a package, with its inner packages below it."""
    parts = [f"# {package}", NOTICE]
    written: set[str] = set()
    for face in [name for name in packages() if name == package or name.startswith(f"{package}.")]:
        if face != package:
            parts.append(f"## {face}")
        parts.append(to_markdown(ast.get_docstring(tree_of(face), clean=False)))
        for name in sorted(public_names(face), key=str.lower):
            found = find(face, name)
            if (found.module, found.name) not in written:
                parts.append(entry(found, name, public))
                written.add((found.module, found.name))
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """Return the page of contents: the names of `specvit`, and all packages."""
    parts = ["# The public surface", NOTICE, to_markdown(ast.get_docstring(tree_of("specvit"), clean=False))]
    rows = ["| `from specvit import` | |", "|---|---|"]
    for name, package in top_level().items():
        found = find(package, name)
        rows.append(f"| [`{name}`]({file_of(package)}#{name.lower()}) | {cell(summary(found))} |")
    parts += ["\n".join(rows), "## Packages"]
    rows = ["| package | |", "|---|---|"]
    for package in outer():
        text = first_sentence(ast.get_docstring(tree_of(package), clean=False))
        rows.append(f"| [`{package}`]({file_of(package)}) | {cell(text)} |")
    return "\n\n".join([*parts, "\n".join(rows)]) + "\n"


def summary(found: Found) -> str:
    """Return one line about a public name."""
    if isinstance(found.node, ast.Assign | ast.AnnAssign):
        return constant_text(found)[1]
    return first_sentence(ast.get_docstring(found.node, clean=False))


def cell(text: str) -> str:
    """Return `text` for a table cell."""
    return text.replace("|", "\\|")


def outer() -> list[str]:
    """Return packages with a page of their own, and the module of errors."""
    return [name for name in packages() if name.count(".") == 1] + ["specvit.errors"]


def file_of(package: str) -> str:
    """Return the file name of a package's page."""
    return f"{package.split('.')[1]}.md"


def errors_page(public: set[str]) -> str:
    """Return the page of `specvit.errors`, a module whose classes are all public."""
    module = "specvit.errors"
    parts = [f"# {module}", NOTICE, to_markdown(ast.get_docstring(tree_of(module), clean=False))]
    classes = [node.name for node in tree_of(module).body if isinstance(node, ast.ClassDef)]
    return "\n\n".join([*parts, *(entry(find(module, name), name, public) for name in classes)]) + "\n"


def pages() -> dict[str, str]:
    """Return file name -> content of the whole reference."""
    public = {name for package in packages() for name in public_names(package)} | set(top_level())
    made = {
        file_of(package): page(package, public) for package in outer() if path_of(package).stem == "__init__"
    }
    return {"README.md": index(), "errors.md": errors_page(public), **made}


def stale() -> list[str]:
    """Return the pages that differ from what the source says, or that it knows nothing of."""
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is stale")
    old = stale()
    if parser.parse_args().check:
        print("\n".join(f"docs/api/{name} is stale" for name in old))
        return int(bool(old))
    PAGES.mkdir(exist_ok=True)
    wanted = pages()
    for name in old:
        if name in wanted:
            (PAGES / name).write_text(wanted[name], encoding="utf-8")
        else:
            (PAGES / name).unlink()
    print(f"docs/api: {len(wanted)} pages, {len(old)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
