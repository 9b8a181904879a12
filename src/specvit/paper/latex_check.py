"""What is wrong with a LaTeX project, without LaTeX: braces, files, macros, references, and characters it would not print."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

_MACROS = """
AA abstract addlinespace alpha arraybackslash author begin beta bottomrule caption cdot centering chi circ cite clearpage date
delta documentclass dots else emph end endfirsthead endhead epsilon fi footnotesize gamma ge gg hfill hline ifdim include includegraphics input item
label labelitemi lambda large le ldots linewidth ll maketitle midrule mu newcommand newpage noindent paragraph par partial
phi pi pm quad raggedright ref renewcommand resizebox rho scriptsize section setlength sigma sloppy small sqrt subsection surd tabcolsep tau textasciicircum textasciigrave textasciitilde
textbackslash textbf textit textsc textheight texttt textwidth theta times title to today toprule usepackage width
"""
#: Macros of LaTeX and of the packages that a paper loads, as far as a paper uses them.
KNOWN = frozenset(_MACROS.split())
#: Environments of tables, in which & parts columns.
_TABLES = ("tabular", "tabularx", "longtable", "array", "align")
#: What has names, sizes or files for arguments, and no text.
_NAMES = re.compile(
    r"\\(?:input|include|label|ref|cite|usepackage|documentclass|includegraphics|begin|end|newcommand|renewcommand)\*?"
    r"(?:\[[^\]]*\])?\{[^{}]*\}"
)
_COLUMNS = re.compile(r"(\\begin\{(?:tabular|longtable|array)\})\{(?:[^{}]|\{[^{}]*\})*\}")
_SIZES = re.compile(r"\\resizebox\{[^{}]*\}\{[^{}]*\}")
_FILE_ENDINGS = ("", ".tex", ".pdf", ".png")


def latex_problems(files: Mapping[str, str | bytes], main: str = "main.tex") -> list[str]:
    """Return what is wrong with a project, one line each.

    Args:
        files: path, as \\input names it, -> content; texts are checked, bytes only have to be there.
        main: the file that is compiled.
    """
    sources = {
        name: _without_comments(text)
        for name, text in files.items()
        if isinstance(text, str) and name.endswith(".tex")
    }
    if main not in sources:
        return [f"{main} is not there"]
    everything = "\n".join(sources.values())
    defined = KNOWN | set(re.findall(r"\\newcommand\*?\{\\([A-Za-z]+)\}", everything))
    problems = _twice("macro", re.findall(r"\\newcommand\*?\{\\([A-Za-z]+)\}", everything))
    problems += _twice("label", re.findall(r"\\label\{([^{}]*)\}", everything))
    labels = set(re.findall(r"\\label\{([^{}]*)\}", everything))
    for name, text in sources.items():
        found = [*_braces(text), *_environments(text), *_files(text, files), *_macros(text, defined)]
        found += [
            f"\\ref to '{label}', which is no label"
            for label in re.findall(r"\\ref\{([^{}]*)\}", text)
            if label not in labels
        ]
        found += _characters(text)
        problems += [f"{name}: {problem}" for problem in found]
    read = _reached(main, sources)
    problems += [f"{name} is read by no other file" for name in sources if name not in read]
    return problems


def _without_comments(text: str) -> str:
    return re.sub(r"(?<!\\)((?:\\\\)*)%[^\n]*", r"\1", text)


def _twice(what: str, names: Iterable[str]) -> list[str]:
    return [
        f"{what} '{name}' is defined {times} times" for name, times in Counter(names).items() if times > 1
    ]


def _braces(text: str) -> list[str]:
    depth = 0
    for line, content in enumerate(text.splitlines(), start=1):
        for brace in re.findall(r"[{}]", re.sub(r"\\.", "", content)):
            depth += 1 if brace == "{" else -1
            if depth < 0:
                return [f"line {line}: a brace closes nothing"]
    return ["a brace is never closed"] if depth else []


def _environments(text: str) -> list[str]:
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([^{}]*)\}", text):
        if kind == "begin":
            opened.append(name)
        elif not opened or opened.pop() != name:
            return [f"\\end{{{name}}} ends nothing"]
    return [f"\\begin{{{name}}} never ends" for name in opened]


def _files(text: str, files: Mapping[str, str | bytes]) -> list[str]:
    asked = re.findall(r"\\(?:input|include|includegraphics)(?:\[[^\]]*\])?\{([^{}]*)\}", text)
    return [f"'{name}' is not there" for name in asked if _file_of(name, files) is None]


def _file_of(name: str, files: Iterable[str]) -> str | None:
    known = set(files)
    return next(
        (path for ending in _FILE_ENDINGS if (path := str(PurePosixPath(name + ending))) in known), None
    )


def _reached(main: str, sources: Mapping[str, str]) -> set[str]:
    reached: set[str] = set()
    waiting = [main]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            asked = re.findall(r"\\(?:input|include)\{([^{}]*)\}", sources[name])
            waiting += [path for one in asked if (path := _file_of(one, sources)) is not None]
    return reached


def _macros(text: str, defined: frozenset[str] | set[str]) -> list[str]:
    # After \\ a word is text.
    used = re.findall(r"\\([A-Za-z]+)", text.replace("\\\\", " "))
    return [f"\\{name} is not defined" for name in dict.fromkeys(used) if name not in defined]


def _characters(text: str) -> list[str]:
    problems = []
    plain = _NAMES.sub(" ", _SIZES.sub(" ", _COLUMNS.sub(r"\1", text)))
    # Escaped characters and macros are no text.
    plain = re.sub(r"\\(?:[A-Za-z]+|.)", " ", plain)
    if plain.count("$") % 2:
        problems.append("a formula never ends")
    outside = re.sub(r"\$[^$]*\$", " ", plain)
    for character in "_^#<>|":
        if character in outside:
            problems.append(f"'{character}' outside a formula; it has to be escaped")
    if "&" in outside and not any(f"\\begin{{{name}}}" in text for name in _TABLES):
        problems.append("'&' outside a table; it has to be escaped")
    strange = sorted({character for character in text if not character.isascii()})
    if strange:
        problems.append(f"characters that LaTeX may not print: {' '.join(strange)}")
    return problems
