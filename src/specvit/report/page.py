"""One HTML file that holds a whole report: text, figures and tables, readable offline and on a phone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from specvit.documents import dump_toml
from specvit.errors import import_optional
from specvit.report.contents import RunContents, load_contents
from specvit.report.denoiser_page import write_denoiser_page
from specvit.report.drawings import drawings
from specvit.report.meanings import curve_meanings, leak_warnings, world_warnings
from specvit.report.run_tables import run_tables
from specvit.report.style import save_figure, style_sheet, to_data_uri
from specvit.report.tables import Cell, Table, cell_text, write_table
from specvit.report.words import count, findings, interval, label_name, metric_name, number, value
from specvit.runs import ALL, DenoisedExamples, RunFolder, Score, Spread, write_atomic
from specvit.runs.atomic import disk_errors

#: Tables shown on the page, under their headings; the others lie in tables/ only.
HEADINGS = {
    "models": "Scores",
    "labels": "Every label",
    "slices": "Parts of the test spectra",
    "snr_bins": "Scores by S/N",
    "efficiency": "Efficiency by S/N",
    "efficiency_expected": "Efficiency without luck",
    "coverage": "Do the stated errors hold?",
    "true_label": "At which true values, and why not at the ends",
    "cost": "What it takes",
}


def write_report(folder: Path | str) -> Path:
    """Write report.html, figures/ and tables/ into a run folder and return the path of the page.

    The run of a denoiser gets the page of `denoiser_page`. Everything is made before the first file is written; the page, which says that all is there, comes last.

    Raises:
        DataError: if the run has no results yet or a file of it is missing or wrong.
        MissingExtra: if jinja2 or matplotlib is not installed.
        RunError: if the folder cannot be written.
    """
    for module in ("jinja2", "matplotlib"):
        import_optional(module, None, "specvit report")
    folder = Path(folder)
    if DenoisedExamples.exists(opened := RunFolder.open(folder)):
        return write_denoiser_page(opened)
    run = load_contents(folder)
    made = [(drawing, drawing.draw(run)) for drawing in drawings(run)]
    tables = run_tables(run)
    images = [{**drawing._asdict(), "image": to_data_uri(figure)} for drawing, figure in made]
    page = _render(run, images, tables)
    for name in ("figures", "tables"):
        with disk_errors(folder / name):
            (folder / name).mkdir(exist_ok=True)
    for drawing, figure in made:
        save_figure(figure, folder / "figures", drawing.name)
    for table in tables:
        write_table(table, folder / "tables")
    return write_atomic(folder / "report.html", page)


def _render(run: RunContents, figures: list[dict[str, Any]], tables: list[Table]) -> str:
    from jinja2 import Environment, StrictUndefined

    # A misspelt name fails instead of leaving a gap; names of folders and estimators are text, whatever they hold.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell_parts
    template = (files("specvit.report") / "templates" / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        run=run,
        style=style_sheet(),
        title=f"{label_name(run.target)}: {run.name}",
        numbers=_headline(run),
        warnings=leak_warnings(run) + world_warnings(run),
        findings=findings(run),
        meanings=curve_meanings(run),
        figures=figures,
        tables=[(HEADINGS[table.name], table) for table in tables if table.name in HEADINGS],
        facts=[(run.title(name), _facts(run, name)) for name in run.summary.estimators if _facts(run, name)],
        machine=run.provenance["sessions"][-1],
        stages=run.provenance["stages"],
        total=sum(stage["seconds"] for stage in run.provenance["stages"].values()),
        config=dump_toml(run.config),
        count=count,
        number=number,
    )


def _facts(run: RunContents, name: str) -> str:
    """Return what a fit chose for the target, e.g. 'alpha 1000, validation R² 0.33'."""
    facts, labels = run.summary.estimators[name].facts, run.summary.labels
    # By label where each label was fitted alone, beside what holds for all.
    of_target = facts.get(run.target, {})
    own = of_target if isinstance(of_target, dict) else {run.target: of_target}
    chosen = own | {key: fact for key, fact in facts.items() if key not in labels}
    return ", ".join(
        f"{metric_name(key)} {fact:.4g}" if isinstance(fact, float) else f"{metric_name(key)} {fact}"
        for key, fact in chosen.items()
    )


def _headline(run: RunContents) -> list[dict[str, str]]:
    """Return the few numbers at the top of the page: value, interval and what it is."""
    shown = [
        {
            "value": number(value(run.summary.score(name, "r2")), 2),
            "range": interval(run.summary.score(name, "r2") or Score(value=None), 2),
            "what": run.title(name),
        }
        for name in run.names
    ]
    ceiling = run.summary.ceiling
    if ceiling is not None and ceiling.exact:
        best = ceiling.bayes[ALL]
        shown.append({"value": number(best.value, 2), "range": interval(best, 2), "what": "Bayes ceiling"})
    elif ceiling is not None:
        spread = ceiling.spreads[ALL][f"r2_max_{ceiling.sets[0].at}"]
        stars = f"{number(spread.p10, 2)} to {number(spread.p90, 2)} of stars"
        shown.append({"value": number(spread.median, 2), "range": stars, "what": "Cramér–Rao ceiling"})
    return shown


def _cell_parts(cell: Cell) -> tuple[str, str]:
    """Return what a cell prints large and what it prints small below."""
    if isinstance(cell, Score):
        return number(cell.value, 2), interval(cell, 2)
    if isinstance(cell, Spread):
        return number(cell.median, 2), f"{number(cell.p10, 2)} to {number(cell.p90, 2)}"
    return cell_text(cell), ""
