"""Write the tables of docs/experts.md that are made of results of studies, between their marks, and its figure of shares.

    python tools/write_experts_tables.py [--results results] [--page docs/experts.md] [--scale laptop]

The words around them are written by hand; `tests/hub/test_experts_page.py` holds page and results together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _marks import with_table
from specvit.hub import read_knowledge
from specvit.paper.drawings import draw_shares
from specvit.report.style import save_png
from specvit.report.words import decimals_of, score_text
from specvit.runs import Score
from specvit.runs.study_result import StudyResult, read_study_result, result_path

NOISE = ("low", "full")
#: Study, share of it, and what a reader calls it.
SHARES = (
    ("experts-routing", "soft", "a gate, soft routing"),
    ("experts-routing", "hard", "the same, hard routing"),
    ("experts-pseudo", "pseudo", "the bin of the labels that one model estimates"),
    ("experts-metallicity", "mh", "three oracle experts in [M/H] alone"),
    ("experts-metallicity", "teff", "three oracle experts in Teff alone"),
    ("experts-conditional", "told", "one Ridge on [x, m x], told the true m = [M/H]"),
    ("experts-conditional", "estimated", "the same, with an estimated m"),
    ("experts-features", "calcium", "a gate that sees the calcium triplet alone"),
)
#: Variant of the ladder, and what a reader calls it.
LADDER = (
    ("ridge", "Ridge on pixels"),
    ("mixture", "nine Ridge experts and a gate, on pixels"),
    ("linear", "Ridge on the coefficients of noise-free spectra"),
    ("bins", "nine Ridge experts and a gate, on these"),
    ("weighed", "the same, the gate trained on the error"),
    ("mlp", "nine networks and a gate, on these"),
    ("network", "one network, on these"),
)


def told(score: Score | None) -> str:
    """Return a score with its interval."""
    if score is None or score.value is None:
        return "–"
    return score_text(score, decimals_of(score))


def shares_table(results: Path, scale: str) -> list[str]:
    """Return the lines of the table of shares."""
    lines = [
        "| share of the gain of nine oracle experts | a fifth of the noise | all of the noise | published |",
        "|---|---|---|---|",
    ]
    for study, name, words in SHARES:
        shares = read_study_result(result_path(results, study, scale)).shares
        published = shares[f"{name}-low"].published
        cells = [told(shares[f"{name}-{noise}"].share) for noise in NOISE]
        lines.append(f"| {words} | {' | '.join(cells)} | {'–' if published is None else f'{published:g}'} |")
    return lines


def ladder_table(results: Path, scale: str) -> list[str]:
    """Return the lines of the table of the ladder: expected R², and the share of Ridge's excess risk that is taken away."""
    result: StudyResult = read_study_result(result_path(results, "experts-ladder", scale))
    lines = [
        "| | expected R², a fifth of the noise | of the way to the ceiling | expected R², all of the noise | of the way to the ceiling |",
        "|---|---|---|---|---|",
    ]
    for variant, words in LADDER:
        cells = []
        for noise in NOISE:
            cells.append(told(result.variants[f"{variant}/{noise}"].scores["all"]["expected_r2"]))
            share = result.shares.get(f"{variant}-{noise}")
            cells.append(told(None if share is None else share.share))
        lines.append(f"| {words} | {' | '.join(cells)} |")
    ceilings = [told(result.variants[f"network/{noise}"].scores["all"]["ceiling"]) for noise in NOISE]
    lines.append(f"| posterior mean (the ceiling) | {ceilings[0]} | 1 | {ceilings[1]} | 1 |")
    return lines


TABLES = {"shares": shares_table, "ladder": ladder_table}


def written(text: str, results: Path, scale: str) -> str:
    """Return a page with its tables made anew."""
    for name, make in TABLES.items():
        text = with_table(text, name, make(results, scale))
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--page", type=Path, default=Path("docs/experts.md"))
    parser.add_argument("--scale", default="laptop")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(written(page, options.results, options.scale), encoding="utf-8")
    knowledge = read_knowledge(options.results, options.scale)
    studies = knowledge.of(list(dict.fromkeys(study for study, *_ in SHARES)))
    save_png(draw_shares(studies), options.page.parent / "figures" / "shares.png")


if __name__ == "__main__":
    main()
