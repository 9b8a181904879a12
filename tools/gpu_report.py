"""Turn what a visit to a GPU brought back into a section of benchmarks/RESULTS.md, and its networks into bundles.

    python tools/gpu_report.py DIR                          # the section, between its markers
    python tools/gpu_report.py DIR --bundles FOLDER         # also the bundles, with their cards: minutes on a CPU
    python tools/gpu_report.py DIR --page other.md          # a rehearsal may be written elsewhere only

It needs all that specvit does, pydantic too.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from gpu import ROOT
from gpu.bundles import publish, trained
from gpu.results import Results
from gpu.table import table
from specvit.errors import DataError, SpecvitError
from specvit.runs import write_atomic

PAGE = ROOT / "benchmarks" / "RESULTS.md"
BEGIN, END = "<!-- tools/gpu_report.py: begin -->", "<!-- tools/gpu_report.py: end -->"


def section(results: Results) -> str:
    """Return the section of a visit as Markdown."""
    lines = [
        "## gpu\n",
        BEGIN,
        f"`python tools/gpu_visit.py --device {results.content['device']}`, `python tools/gpu_report.py`; what the "
        "figures mean: [docs/gpu.md](../docs/gpu.md). Asked: a million simulated spectra/s, 25,000 spectra/s of training "
        "with simulation below 10 % of the step, 0.97 of the attainable R² within ten minutes.\n",
        f"```\n{table(results)}\n```",
        END,
    ]
    return "\n".join(lines) + "\n"


def with_section(page: str, text: str) -> str:
    """Return a page in which the section of an earlier visit is replaced, or one appended."""
    old = re.compile(rf"^## gpu\n\n{re.escape(BEGIN)}.*?{re.escape(END)}\n", re.DOTALL | re.MULTILINE)
    if old.search(page):
        return old.sub(lambda _: text, page)
    return f"{page.rstrip()}\n\n{text}" if page.strip() else text


def write_page(results: Results, page: Path | None) -> Path:
    """Write the section into a page; DataError for a rehearsal that would go into the results."""
    if results.content["device"] == "cpu" and page is None:
        raise DataError(
            f"{results.folder}: holds a rehearsal on a CPU, whose figures mean nothing; give --page to see how it reads"
        )
    place = page or PAGE
    before = place.read_text(encoding="utf-8") if place.is_file() else ""
    return write_atomic(place, with_section(before, section(results)))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what gpu_visit.py wrote")
    parser.add_argument("--page", type=Path, help="Markdown file; benchmarks/RESULTS.md if left out")
    parser.add_argument("--bundles", type=Path, help="folder of the bundles; none are made if left out")
    parser.add_argument("--calibration", type=int, default=10_000, help="spectra that correct stated errors")
    parser.add_argument("--stars", type=int, default=10_000, help="test stars")
    options = parser.parse_args()
    try:
        results = Results.read(options.folder)
        print(write_page(results, options.page))
        for name in trained(results) if options.bundles else ():
            print(publish(results, name, options.bundles, options.calibration, options.stars))
    except SpecvitError as error:
        print(f"gpu_report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
