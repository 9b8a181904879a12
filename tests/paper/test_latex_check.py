"""The checker sees what LaTeX would stumble over, and nothing else."""

import pytest

from specvit.paper import latex_problems
from specvit.report.latex import latex_text

GOOD = {
    "main.tex": r"""
\documentclass{article} % a comment with { and _
\input{numbers.tex}
\begin{document}
\section{One \& two} 50\,\% of $a_b^2 < 3$ is \svOne{}, see Figure~\ref{fig:a}. \texttt{a\_b}
\input{tables/t}
\includegraphics[width=\linewidth]{figures/a.pdf}\label{fig:a}
\end{document}
""",
    "numbers.tex": r"\newcommand{\svOne}{1.5}",
    "tables/t.tex": "\\begin{tabular}{lp{0.3\\textwidth}}\na & b \\\\\n\\end{tabular}\n",
    "figures/a.pdf": b"%PDF",
}


def test_a_sound_project_has_no_problem():
    assert latex_problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (r"\section{One", r"\section{{One", "never closed"),
        (r"\& two}", r"\& two}}", "closes nothing"),
        (r"\& two", "& two", "'&' outside a table"),
        (r"a\_b}", "a_b}", "'_' outside a formula"),
        (r"\,\%", r"\,\% <", "'<' outside a formula"),
        ("$a_b^2 < 3$", "$a_b^2", "a formula never ends"),
        (r"\svOne{}", r"\svTwo{}", r"\svTwo is not defined"),
        (r"\ref{fig:a}", r"\ref{fig:b}", "no label"),
        (r"\input{tables/t}", r"\input{tables/u}", "'tables/u' is not there"),
        (r"\input{tables/t}", "", "tables/t.tex is read by no other file"),
        ("figures/a.pdf", "figures/b.pdf", "'figures/b.pdf' is not there"),
        (r"\end{document}", "", "never ends"),
        (r"\end{document}", r"\end{documant}", "ends nothing"),
        ("50", "ß", "may not print: ß"),
        (r"\label{fig:a}", r"\label{fig:a}\label{fig:a}", "defined 2 times"),
    ],
)
def test_what_latex_would_stumble_over_is_seen(old, new, problem):
    assert old in GOOD["main.tex"]
    changed = {**GOOD, "main.tex": GOOD["main.tex"].replace(old, new)}
    assert any(problem in found for found in latex_problems(changed)), latex_problems(changed)


def test_a_macro_is_defined_once():
    twice = {**GOOD, "numbers.tex": GOOD["numbers.tex"] * 2}
    assert latex_problems(twice) == ["macro 'svOne' is defined 2 times"]
    assert latex_problems({}) == ["main.tex is not there"]


@pytest.mark.parametrize(
    "text",
    [
        r"50 % of m_h & R² <= {x} #1 $2 ~a^b \ | `code` --run 'a' \"b\"",
        "σ ≥ −1 … Å é 中 ½ → ∞ α/M 10⁻³",
        "-- --- ----",
        "\t\n\x01",
    ],
)
def test_any_text_becomes_sound_latex(text):
    body = f"\\begin{{document}}\n{latex_text(text)}\n\\end{{document}}"
    assert latex_problems({"main.tex": body}) == []


def test_hyphens_stay_hyphens_and_dashes_dashes():
    assert latex_text("--run – a-b") == "-{}-run -- a-b"
