"""The LaTeX project of a paper: text, numbers, tables and figures, all of them made of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specvit.errors import RunError, import_optional
from specvit.hub import Knowledge, Known
from specvit.paper.exhibits import Exhibit, Missing, make_exhibits
from specvit.paper.latex_check import latex_problems
from specvit.paper.numbers import letters, macro_name, macros_file, number_macros
from specvit.paper.outline import Outline
from specvit.report.contents import load_contents
from specvit.report.latex import latex_text
from specvit.report.tables import Table
from specvit.runs import write_atomic
from specvit.runs.atomic import check_own

NUMBERS, MAIN = "numbers.tex", "main.tex"
#: Before a table: as wide as it is, but not wider than the page.
SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
NOTICE = "% Made by specvit paper build from the results of studies; edits are lost."


@dataclass(frozen=True)
class Paper:
    """A project that was written.

    Args:
        main: the file that is compiled.
        exhibits: names of its figures and tables.
        missing: those that it should have.
    """

    main: Path
    exhibits: tuple[str, ...]
    missing: tuple[Missing, ...]


def write_paper(
    outline: Outline, knowledge: Knowledge, folder: Path, run: Path | None = None, parquet: bool = False
) -> Paper:
    """Write the project of a paper into a folder.

    Everything is made, and checked as LaTeX, before the first file is written.

    Args:
        outline: what the paper needs.
        knowledge: what is known.
        folder: where it goes; files of other names in it are left alone.
        run: folder of a finished `specvit run`, for what shows single stars.
        parquet: whether tables are also written as Parquet.

    Raises:
        DataError: for a run that is not whole.
        MissingExtra: without matplotlib; without pyarrow, if Parquet is asked for.
        RunError: if the folder cannot be written, or LaTeX would not read the project.
    """
    import_optional("matplotlib", None, "specvit paper")
    exhibits, missing = make_exhibits(outline, knowledge, None if run is None else load_contents(run))
    files = project_files(outline, knowledge, exhibits, missing, parquet)
    if problems := latex_problems(files, MAIN):
        raise RunError(
            f"{folder}: LaTeX would not read this: {problems[0]}; this is a bug in specvit, please report it"
        )
    for name in (MAIN, NUMBERS):
        check_own(folder / name, NOTICE, "specvit paper build")
    for name, content in files.items():
        write_atomic(folder / name, content)
    return Paper(folder / MAIN, tuple(one.id for one in exhibits), tuple(missing))


def project_files(
    outline: Outline,
    knowledge: Knowledge,
    exhibits: Sequence[Exhibit],
    missing: Sequence[Missing],
    parquet: bool = False,
) -> dict[str, str | bytes]:
    """Return path -> content of all files of a project."""
    files: dict[str, str | bytes] = {}
    for one in exhibits:
        if one.pdf is not None:
            files[f"figures/{one.id}.pdf"] = one.pdf
            files[f"figures/{one.id}.tex"] = _figure(one)
        if one.table is not None:
            files[f"tables/{one.id}.tex"] = _table(one, one.table)
            files[f"tables/{one.id}.csv"] = one.table.to_csv()
            if parquet:
                files[f"tables/{one.id}.parquet"] = one.table.to_parquet()
    macros = number_macros(knowledge)
    files[NUMBERS] = macros_file(macros)
    files[MAIN] = _main(outline, knowledge, exhibits, missing, macros)
    return files


def _figure(one: Exhibit) -> str:
    lines = [
        r"\begin{figure}",
        r"\centering",
        rf"\includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]{{figures/{one.id}.pdf}}",
        rf"\caption{{{latex_text(one.caption)}}}",
        rf"\label{{fig:{one.id}}}",
        r"\end{figure}",
    ]
    return "\n".join(lines) + "\n"


def _table(one: Exhibit, table: Table) -> str:
    text = table.to_latex(one.columns, one.is_long)
    if one.is_long:
        return f"{{\\scriptsize\n{text}}}\n"
    head = "\\begin{table}\n\\centering\\scriptsize\\setlength{\\tabcolsep}{4pt}"
    text = text.replace(r"\begin{table}", head, 1).replace(r"\begin{tabular}", SHRUNK + r"\begin{tabular}", 1)
    return text.replace(r"\end{tabular}", r"\end{tabular}}", 1)


def _main(
    outline: Outline,
    knowledge: Knowledge,
    exhibits: Sequence[Exhibit],
    missing: Sequence[Missing],
    macros: dict[str, str],
) -> str:
    programme = knowledge.programme
    lines = [
        NOTICE,
        r"\documentclass{article}",
        r"\usepackage[margin=2cm]{geometry}",
        r"\usepackage{booktabs}",
        r"\usepackage{array}",
        r"\usepackage{longtable}",
        r"\usepackage{graphicx}",
        rf"\input{{{NUMBERS}}}",
        rf"\title{{{latex_text(outline.title)}}}",
        r"\author{}",
        r"\date{}",
        # The usual bullet is of a font that few systems have as outlines.
        r"\renewcommand{\labelitemi}{--}",
        r"\sloppy",
        r"\begin{document}",
        r"\maketitle",
        latex_text(programme.question),
    ]
    lines += [rf"\paragraph{{Warning}} {latex_text(warning)}" for warning in knowledge.warnings]
    if programme.protocol:
        lines += [r"\section{Protocol}", *_list([latex_text(rule) for rule in programme.protocol])]
    lines.append(r"\section{Results}")
    for known in knowledge.judged:
        lines += _study(known, exhibits, macros)
    if not knowledge.judged:
        lines.append(latex_text(f"No study has been judged at the {knowledge.scale} scale."))
    for one in exhibits:
        lines.append(rf"\input{{{'figures' if one.pdf is not None else 'tables'}/{one.id}.tex}}")
    lines.append(r"\clearpage")
    if missing:
        lines += [r"\section{What is missing}"]
        lines += _list(
            [latex_text(f"{one.priority}, {one.id}: {one.text} Not made: {one.why}.") for one in missing]
        )
    lines += [r"\end{document}"]
    return "\n".join(lines) + "\n"


def _study(known: Known, exhibits: Sequence[Exhibit], macros: dict[str, str]) -> list[str]:
    """Return a verdict in words, whose numbers are macros."""
    result = known.counted
    assert result is not None
    lines = [rf"\subsection{{{latex_text(known.title)}}}", latex_text(result.question)]
    lines.append(
        latex_text(
            f"Published: {result.source['claim']} ({result.source['work']}; {result.source['number']})."
        )
    )
    lines.append(rf"Rule: \texttt{{{latex_text(result.rule)}}}.")
    for at, claim in enumerate(result.claims):
        name = macro_name(known.id, f"Effect{letters(at)}")
        if name in macros:
            lines.append(
                rf"\texttt{{{latex_text(claim.text)}}}: {latex_text(claim.verdict)}, \{name}{{}} (95\,\% interval "
                rf"\{name}Low{{}} to \{name}High{{}}; detectable \{name}Detectable{{}})."
            )
    seeds, stars, verdict = (macro_name(known.id, what) for what in ("seeds", "stars", "verdict"))
    lines.append(
        rf"Verdict with \{seeds}{{}} seeds and \{stars}{{}} stars: \textbf{{\{verdict}}}. {latex_text(known.sentence)}"
    )
    shown = [
        rf"{'Figure' if one.pdf is not None else 'Table'}~\ref{{{'fig' if one.pdf is not None else 'tab'}:{one.id}}}"
        for one in exhibits
        # What shows everything is referred to by nothing.
        if known in one.studies and len(one.studies) <= 8
    ]
    if shown:
        lines.append(f"See {', '.join(shown)}.")
    return lines


def _list(items: Sequence[str]) -> list[str]:
    return [r"\begin{itemize}", *(rf"\item {item}" for item in items), r"\end{itemize}"]
