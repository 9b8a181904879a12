"""What a public name stands for, read from the source: definitions, signatures, members. Imports nothing.

Used by `build_api_reference.py`. Reading instead of importing keeps annotations and defaults as they are written,
so that the pages do not depend on the versions of Python and torch.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
#: A signature longer than this is written with one parameter per line.
LONGEST_LINE = 100

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Found:
    """A definition and the module it stands in."""

    module: str
    name: str
    node: Definition


@dataclass(frozen=True)
class Member:
    """A public method or property of a class."""

    name: str
    signature: str
    docstring: str | None


def path_of(module: str) -> Path:
    """Return the file of a module or package of specvit."""
    place = SOURCE.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@cache
def tree_of(module: str) -> ast.Module:
    """Return the parsed source of a module."""
    return ast.parse(path_of(module).read_text(encoding="utf-8"))


def public_names(package: str) -> list[str]:
    """Return the `__all__` of a package that writes it out."""
    for node in tree_of(package).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise SystemExit(f"{path_of(package)}: has no __all__; every package names what is public")


def find(module: str, name: str) -> Found:
    """Return the definition of `name`, followed through the imports of `module`."""
    for node in tree_of(module).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
        elif name in _defined(node):
            return Found(module, name, node)  # type: ignore[arg-type]
    raise SystemExit(f"{path_of(module)}: does not define '{name}'")


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | Function):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    names = [n for t in targets for n in (t.elts if isinstance(t, ast.Tuple) else [t])]
    return [name.id for name in names if isinstance(name, ast.Name)]


def constant_text(found: Found) -> tuple[str, str]:
    """Return the assignment of a constant, as far as it is short, and the `#:` comment above it."""
    lines = path_of(found.module).read_text(encoding="utf-8").splitlines()
    comment: list[str] = []
    for line in reversed(lines[: found.node.lineno - 1]):
        if not line.startswith("#:"):
            break
        comment.insert(0, line.removeprefix("#:").strip())
    text = ast.unparse(found.node)
    return (text if len(text) <= 4 * LONGEST_LINE else f"{text.split(' = ')[0]} = ..."), " ".join(comment)


def signature(node: Function, name: str, skip_first: bool = False) -> str:
    """Return `name(...) -> ...` with the parameters as written; `skip_first` leaves out `self`."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    parts = [_parameter(a, d) for a, d in zip(positional, defaults, strict=True)][int(skip_first) :]
    if given.vararg:
        parts.append("*" + _parameter(given.vararg, None))
    elif given.kwonlyargs:
        parts.append("*")
    parts += [_parameter(a, d) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        parts.append("**" + _parameter(given.kwarg, None))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    return _call(name, parts, returns)


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg + (f": {ast.unparse(argument.annotation)}" if argument.annotation else "")
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if argument.annotation else f"{text}={ast.unparse(default)}"


def _call(name: str, parts: list[str], returns: str = "") -> str:
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= LONGEST_LINE:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){returns}"])


def bases(found: Found) -> list[Found]:
    """Return the base classes that specvit itself defines."""
    local = []
    for base in found.node.bases if isinstance(found.node, ast.ClassDef) else []:
        try:
            local.append(find(found.module, ast.unparse(base).split("[")[0]))
        except (SystemExit, FileNotFoundError):
            continue  # a class of Python, torch or pydantic
    return local


def constructor(found: Found) -> str:
    """Return how a class is called, "" where calling it is nobody's business (protocols, errors)."""
    node = found.node
    assert isinstance(node, ast.ClassDef)
    for statement in node.body:
        if isinstance(statement, Function) and statement.name == "__init__":
            return signature(statement, node.name, skip_first=True)
    if any(ast.unparse(d).startswith("dataclass") for d in node.decorator_list) or "NamedTuple" in map(
        ast.unparse, node.bases
    ):
        return _call(node.name, _fields(found))
    own = next((text for base in bases(found) if (text := constructor(base))), "")
    return node.name + own[own.index("(") :] if own else ""


def _fields(found: Found) -> list[str]:
    """Return the fields of a dataclass as parameters, inherited ones first."""
    parts = {p.split(":")[0]: p for base in bases(found) for p in _fields(base)}
    assert isinstance(found.node, ast.ClassDef)
    for node in found.node.body:
        if not isinstance(node, ast.AnnAssign) or "ClassVar" in ast.unparse(node.annotation):
            continue
        name = ast.unparse(node.target)
        text = f"{name}: {ast.unparse(node.annotation)}"
        if node.value is not None:
            made = "field(" in ast.unparse(node.value)
            text += " = ..." if made else f" = {ast.unparse(node.value)}"
        parts[name] = text
    return list(parts.values())


def attributes(node: ast.ClassDef) -> list[str]:
    """Return the public attributes that a class declares without a value, as a protocol does."""
    declared = [item for item in node.body if isinstance(item, ast.AnnAssign) and item.value is None]
    return [ast.unparse(item) for item in declared if not ast.unparse(item.target).startswith("_")]


def described_fields(node: ast.ClassDef) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and description of the fields of a validated section."""
    rows = []
    for item in node.body:
        if not (isinstance(item, ast.AnnAssign) and isinstance(item.value, ast.Call)):
            continue
        options = {k.arg: k.value for k in item.value.keywords}
        if "description" in options:
            default = item.value.args[0] if item.value.args else options.get("default")
            shown = ast.unparse(default) if default is not None else ""
            description = options["description"]
            text = description.value if isinstance(description, ast.Constant) else ast.unparse(description)
            rows.append((ast.unparse(item.target), ast.unparse(item.annotation), shown, str(text)))
    return rows


def members(found: Found, public: set[str]) -> list[Member]:
    """Return public methods and properties, with those of base classes that have no page of their own."""
    collected: dict[str, Member] = {}
    assert isinstance(found.node, ast.ClassDef)
    for node in found.node.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            member = _member(node)
            if member is not None:
                collected.setdefault(node.name, member)
    for base in bases(found):
        if base.name not in public:
            for member in members(base, public):
                collected.setdefault(member.name, member)
    return list(collected.values())


def _member(node: Function) -> Member | None:
    kinds = [ast.unparse(decorator) for decorator in node.decorator_list]
    if any(kind.endswith((".setter", "overload")) for kind in kinds):
        return None
    docstring = ast.get_docstring(node, clean=False)
    if any(kind.endswith("property") for kind in kinds):
        returns = f": {ast.unparse(node.returns)}" if node.returns else ""
        return Member(node.name, f"{node.name}{returns}  # property", docstring)
    label = next((f"@{kind}\n" for kind in kinds if kind in ("classmethod", "staticmethod")), "")
    text = signature(node, node.name, skip_first="staticmethod" not in kinds)
    return Member(node.name, label + text, docstring)
