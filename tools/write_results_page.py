"""Write docs/results.md, and its figure, from a finished run: every number of the page is in the run folder.

specvit run --scale results
python tools/write_results_page.py runs/results
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from specvit.report import write_report
from specvit.report.contents import RunContents, load_contents
from specvit.report.run_tables import run_tables
from specvit.report.words import findings
from specvit.runs import write_atomic

DOCS = Path(__file__).parents[1] / "docs"

#: Tables of the page under their headings.
HEADINGS = {
    "models": "All test stars",
    "labels": "Every label",
    "cost": "What it takes",
    "snr_bins": "R² by S/N",
    "efficiency": "Efficiency by S/N",
    "efficiency_expected": "Efficiency without the luck of the stars drawn",
    "slices": "Parts of the test stars",
    "mae_bins": "MAE by S/N",
    "rmse_bins": "RMSE by S/N",
    "coverage": "Coverage by S/N",
}

TEXT = """# Results

Every estimator on the same {test:,} simulated test stars and the same noise, none of which was used for fitting or
for a choice. Made by `specvit run --scale {scale}` and `python tools/write_results_page.py` on {date}, seed {seed},
specvit {version}, torch {torch}, {cpu} ({threads} threads). World: built-in library, instrument `{instrument}`
(i = 20.5-22.5), prior `{prior}`. Brackets are 95 % bootstrap intervals, as are the bands of the figure.

![R² of log g against S/N](figures/results.png)

{findings}

{tables}"""


def page(run: RunContents, scale: str) -> str:
    """Return the page as Markdown."""
    machine, simulate = run.provenance["sessions"][-1], run.config["simulate"]
    tables = {table.name: table for table in run_tables(run)}
    parts = [
        f"## {heading}\n\n{tables[name].to_markdown()}\n{tables[name].caption}\n"
        for name, heading in HEADINGS.items()
        if name in tables
    ]
    return TEXT.format(
        test=len(run.test),
        scale=scale,
        date=run.provenance["created"][:10],
        seed=run.summary.seed,
        version=machine["specvit"],
        torch=machine["packages"]["torch"],
        cpu=machine["cpu"],
        threads=machine["cpu_count"],
        instrument=run.config["instrument"]["name"],
        prior=simulate["prior"],
        findings="\n".join(f"- {sentence}" for sentence in findings(run)),
        tables="\n".join(parts),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--scale", default="results", help="preset the run was made with")
    options = parser.parse_args()
    write_report(options.run)
    shutil.copy(options.run / "figures" / "r2_versus_snr.png", DOCS / "figures" / "results.png")
    print(write_atomic(DOCS / "results.md", page(load_contents(options.run), options.scale)))


if __name__ == "__main__":
    main()
