"""One HTML page about all stars of a list: Kiel diagram, flags, what the library gets wrong, and the first rows.

Stars are gone through once; what is held are three numbers of each, and distributions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from specvit.report.palette import CEILING_BAND, MODEL_COLOURS, MUTED
from specvit.report.plain_page import PageCell, PageTable, render_page
from specvit.report.style import house_style, to_data_uri
from specvit.report.words import count, label_name, number
from specvit.runs.atomic import write_atomic
from specvit.spectra.lines import FEATURES
from specvit.starlist.figure import digits_of, name_lines
from specvit.starlist.pages import FOOTER
from specvit.starlist.residuals import RestBins, SurveyResidual, unpacked
from specvit.stellar import FLAGS
from specvit.stellar.flags import NOTES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Stars, refusals and assumptions that are listed, and stars beyond which points of a figure are pixels.
MOST_STARS, MOST_REFUSED, MOST_ASSUMED, MOST_POINTS = 500, 50, 15, 2000
#: Residuals that are listed, Å between two of them, and Å within which a named line may be the cause.
LARGEST, APART, NEAR = 12, 12.0, 4.0
#: Stars in a bin below which its median is left out, as a share of all; fewest stars without flags that speak for all.
SHARE_OF_STARS, FEWEST = 0.2, 5


class StarListSummary:
    """What a page says of many stars, collected star by star.

    Args:
        bins: of the residuals.
        provenance: what a table says of where it is from.
        pages: folder of pages or pictures of single stars, relative to the summary; '' for none.
    """

    def __init__(self, bins: RestBins, provenance: Mapping[str, Any], pages: str = "") -> None:
        self.bins, self.provenance, self.pages = bins, provenance, pages
        self.points: list[tuple[float, float, float]] = []
        self.doubtful: list[bool] = []
        self.snr: list[float] = []
        self.flags: Counter[str] = Counter()
        self.assumed: Counter[str] = Counter()
        self.refused = 0
        self.reasons: list[list[PageCell]] = []
        self.rows: list[list[PageCell]] = []
        self.good, self.all = SurveyResidual(bins), SurveyResidual(bins)

    def add(self, kept: Mapping[str, Any]) -> None:
        """Add a target as its part has it, see `work.work_through`."""
        star = kept["star"]
        if "reason" in star:
            self.refused += 1
            if len(self.reasons) < MOST_REFUSED:
                self.reasons.append([star["name"], star["reason"]])
            return
        doubtful = bool(set(star["flags"]) - set(NOTES))
        self.points.append(tuple(star.get(name, np.nan) for name in ("teff", "log_g", "m_h")))
        self.doubtful.append(doubtful)
        self.snr.append(star["snr"])
        self.flags.update(star["flags"])
        self.assumed.update(star["assumptions"])
        residual = unpacked(kept["residual"])
        self.all.add(residual)
        if not doubtful:
            self.good.add(residual)
        if len(self.rows) < MOST_STARS:
            self.rows.append(self._row(star, kept.get("page", "")))

    def _row(self, star: Mapping[str, Any], page: str) -> list[PageCell]:
        labels = [
            f"{number(star[name], digits_of(name))} ± {number(star[f'{name}_total'], digits_of(name))}"
            if name in star
            else ""
            for name in ("teff", "log_g", "m_h", "alpha_m")
        ]
        name: PageCell = (star["name"], f"{self.pages}/{page}") if page and self.pages else star["name"]
        return [
            name,
            *labels,
            number(star["rv"], 1),
            number(star["chi2"], 2),
            number(star["snr"], 0),
            " ".join(star["flags"]),
        ]

    def page(self) -> str:
        """Return the page."""
        stars = len(self.points)
        clean = stars - sum(self.doubtful)
        numbers = [
            ("stars", count(stars), f"{count(self.refused)} refused"),
            ("without doubtful flags", count(clean), f"{100 * clean / stars:.0f} %" if stars else ""),
            (
                "median S/N per pixel",
                number(float(np.median(self.snr)), 0) if stars else "–",
                "of what was fitted",
            ),
        ]
        figures = []
        if stars:
            figures.append(
                (
                    "Kiel diagram",
                    to_data_uri(self._kiel()),
                    f"{count(stars)} stars, colour by [M/H]; grey: with doubtful flags.",
                )
            )
            which, survey = self._residual()
            figures.append(
                (
                    "What the library gets wrong",
                    to_data_uri(_residual_figure(survey, which)),
                    f"Residual over the flux, {which}, in the rest frame: median and 16 to 84 % of the stars. What "
                    "all stars have in common is the library's; what follows the telescope is smeared out here.",
                )
            )
        return render_page(
            title="Stars of a list",
            above="specvit predict",
            numbers=numbers,
            findings=self._findings(),
            figures=figures,
            tables=[table for table in self._tables() if table.rows],
            facts=[(key, f"{value}") for key, value in self.provenance.items()],
            footer=FOOTER,
        )

    def _findings(self) -> list[str]:
        if not self.points:
            return ["No spectrum could be fitted; the reasons are below."]
        common = [(flag, found) for flag, found in self.flags.most_common() if flag not in NOTES][:1]
        words = [f"The most common doubt is {flag}, of {count(found)} stars." for flag, found in common]
        which, survey = self._residual()
        largest = _largest(survey)
        if largest:
            words.append(f"The largest common residual is {largest[0][1]} at {largest[0][0]} Å ({which}).")
        return words or ["No star has a doubtful flag."]

    def _tables(self) -> list[PageTable]:
        stars = max(len(self.points), 1)
        flags = [
            [flag, count(found), f"{100 * found / stars:.0f} %", FLAGS.get(flag, "")]
            for flag, found in self.flags.most_common()
        ]
        which, survey = self._residual()
        heads = (
            "star",
            "Teff (K)",
            *map(label_name, ("log_g", "m_h", "alpha_m")),
            "velocity (km/s)",
            "χ²/dof",
            "S/N",
            "flags",
        )
        more = (
            f"The first {count(len(self.rows))} of {count(len(self.points))}."
            if len(self.rows) < len(self.points)
            else "All."
        )
        return [
            PageTable(
                "Flags",
                "How many stars have a flag, and what to do.",
                ("flag", "stars", "share", "meaning"),
                flags,
            ),
            PageTable(
                "Largest common residuals",
                f"Median of {which}; a named line within {NEAR:g} Å may be the cause.",
                ("Å, rest frame", "residual / flux", "line nearby"),
                _largest(survey) if self.points else [],
            ),
            PageTable("Stars", f"{more} Errors are total.", heads, self.rows),
            PageTable(
                "Refused", f"{count(self.refused)} in all.", ("file or target", "reason"), self.reasons
            ),
            PageTable(
                "Assumed",
                "What files do not say.",
                ("assumption", "stars"),
                [[line, count(found)] for line, found in self.assumed.most_common(MOST_ASSUMED)],
            ),
        ]

    def _residual(self) -> tuple[str, SurveyResidual]:
        if self.good.stars >= FEWEST:
            return f"{count(self.good.stars)} stars without doubtful flags", self.good
        return f"all {count(self.all.stars)} stars, as too few are without doubtful flags", self.all

    def _kiel(self) -> Figure:
        from matplotlib.figure import Figure

        teff, log_g, m_h = np.array(self.points).T
        doubtful = np.array(self.doubtful)
        many = len(teff) > MOST_POINTS
        size = 4 if many else 18
        with house_style():
            figure = Figure(figsize=(6.4, 4.8), layout="constrained")
            axes = figure.subplots()
            axes.scatter(
                teff[doubtful], log_g[doubtful], s=size, color=MUTED, alpha=0.5, lw=0, rasterized=many
            )
            shown = axes.scatter(
                teff[~doubtful],
                log_g[~doubtful],
                s=size,
                c=m_h[~doubtful],
                cmap="viridis",
                lw=0,
                rasterized=many,
            )
            if (~doubtful).any():
                figure.colorbar(shown, label="[M/H]")
            axes.invert_xaxis()
            axes.invert_yaxis()
            axes.set_xlabel("Teff (K)")
            axes.set_ylabel("log g")
        return figure


def write_summary(path: Path, summary: StarListSummary, kept: Iterable[Mapping[str, Any]]) -> None:
    """Write the page about all targets of `kept`; RunError if it cannot be written."""
    for target in kept:
        summary.add(target)
    write_atomic(path, summary.page())


def _median(survey: SurveyResidual) -> np.ndarray:
    """Return the median residual per bin, NaN where few stars are."""
    return np.where(survey.counts >= max(1.0, SHARE_OF_STARS * survey.stars), survey.quantile(0.5), np.nan)


def _largest(survey: SurveyResidual) -> list[list[PageCell]]:
    """Return wavelength, residual and named line of the largest median residuals."""
    median, centres = _median(survey), survey.bins.centres
    found: list[list[PageCell]] = []
    left = np.where(np.isfinite(median), np.abs(median), 0.0)
    while len(found) < LARGEST and left.max() > 0.01:
        at = int(left.argmax())
        left[np.abs(centres - centres[at]) < APART] = 0.0
        near = min(FEATURES, key=lambda feature: abs(feature.wavelength - centres[at]))
        name = near.name if abs(near.wavelength - centres[at]) < NEAR else ""
        found.append([number(float(centres[at]), 0), f"{number(100 * float(median[at]), 1)} %", name])
    return found


def _residual_figure(survey: SurveyResidual, which: str) -> Figure:
    from matplotlib.figure import Figure

    centres, median = survey.bins.centres, _median(survey)
    there = np.isfinite(median)
    low, high = (np.where(there, survey.quantile(share), np.nan) for share in (0.16, 0.84))
    with house_style():
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(centres, low, high, color=CEILING_BAND, lw=0, label="16 to 84 % of the stars")
        axes.plot(centres, median, color=MODEL_COLOURS[1], lw=0.9, label="median")
        axes.axhline(0, color=MUTED, lw=0.7)
        if there.any():
            first, last = centres[there][[0, -1]]
            axes.set_xlim(first, last)
            reach = max(0.02, 1.3 * float(np.nanpercentile(np.abs([low[there], high[there]]), 99)))
            axes.set_ylim(-reach, 1.3 * reach)
            name_lines(axes, 0.0, first, last)
        axes.set_xlabel("rest wavelength (Å, vacuum)")
        axes.set_ylabel("residual / flux")
        axes.set_title(which)
        axes.legend(loc="lower right", ncols=2)
    return figure
