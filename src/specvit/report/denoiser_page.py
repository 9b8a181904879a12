"""The page of a denoiser's run: what is left of the noise, stars before and after, and how its loss fell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from specvit.errors import DataError
from specvit.report.figure_denoised import denoised_figure
from specvit.report.palette import MODEL_COLOURS, MUTED
from specvit.report.plain_page import PageTable, render_page
from specvit.report.style import house_style, save_figure, to_data_uri
from specvit.report.tables import Table, write_table
from specvit.report.words import number
from specvit.runs import ALL, DenoisedExamples, RunFolder, write_atomic
from specvit.runs.folder import MEND

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Score -> heading of its column.
COLUMNS = {
    "mse": "mean squared error of a pixel",
    "mse_ratio": "over that of the noisy flux",
    "wmae_ratio": "mean error / σ, over the noisy one's",
}


def write_denoiser_page(run: RunFolder) -> Path:
    """Write report.html, figures/ and tables/ into the run folder of a denoiser and return the path of the page.

    Raises:
        DataError: if the run has no scores yet, or a file of it is damaged.
    """
    examples = DenoisedExamples.read(run)
    stage = next((one for one in run.stages.values() if "scores" in one), None)
    if stage is None:
        raise DataError(f"{run.path}: its provenance holds no scores; {MEND}")
    scores: dict[str, dict[str, float]] = stage["scores"]
    table = _scores(scores, stage.get("noise_share", 1.0))
    figures = [
        (f"denoised_{at}", f"A star of S/N {number(float(snr), 1)}", _example(examples, at))
        for at, snr in enumerate(examples.snr)
    ]
    losses = [one for one in run.read_log() if "monitored" in one]
    if losses:
        figures.append(("loss", "How the loss fell", _losses(losses)))
    captions = {
        "loss": "Loss of held-out spectra, of the weights and of their average; what was kept is the best of both.",
    }
    usual = (
        "A test star, which nothing was fitted to: as observed, without noise and denoised (shaded: twice the stated "
        "error, where one is stated); below, what was taken out in units of the noise."
    )
    made = run.provenance
    page = render_page(
        title=f"Denoiser: {run.name}",
        above=f"specvit train {run.name}, {made['created'][:10]}",
        numbers=[
            ("squared error left of the noise", f"{scores[ALL]['mse_ratio']:.3g}", "all test stars"),
            ("error left, in units of σ", f"{scores[ALL]['wmae_ratio']:.3g}", "all test stars"),
        ],
        findings=[
            "A denoised spectrum holds what is known of stars like those it was trained on. It must not be searched for "
            "what these do not have.",
        ],
        figures=[
            (heading, to_data_uri(figure), captions.get(name, usual)) for name, heading, figure in figures
        ],
        tables=[
            PageTable(
                "What is left of the noise",
                table.caption,
                table.head,
                [[str(cell) for cell in row] for row in table.rows],
            )
        ],
        facts=_facts(run, stage),
        footer="What a denoiser is held against, and what it is good for: docs/denoising.md of specvit.",
    )
    for name, _, figure in figures:
        save_figure(figure, run.path / "figures", name)
    write_table(table, run.path / "tables")
    return write_atomic(run.path / "report.html", page)


def _scores(scores: dict[str, dict[str, float]], share: float) -> Table:
    rows = tuple(
        ("all" if place == ALL else place, *(f"{found[name]:.3g}" for name in COLUMNS))
        for place, found in scores.items()
    )
    caption = "Flux of test stars against the noise-free one, dead pixels left out."
    if share < 1:
        caption += f" They were shown with {share:g} of their noise, as it was trained."
    return Table("flux", caption, ("stars", *COLUMNS.values()), rows, digits=None)


def _example(examples: DenoisedExamples, at: int) -> Figure:
    return denoised_figure(
        f"S/N {float(examples.snr[at]):.1f}",
        examples.wavelength,
        examples.flux[at],
        examples.sigma[at],
        examples.mean[at],
        None if examples.std is None else examples.std[at],
        examples.clean[at],
    )


def _losses(records: list[dict[str, Any]]) -> Figure:
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(6.2, 3.0), layout="constrained")
        axes = figure.subplots()
        for at, name in enumerate(records[0]["monitored"]):
            # What is monitored is to grow.
            values = [-one["monitored"][name] for one in records]
            colour = MODEL_COLOURS[0] if at == 0 else MUTED
            axes.plot(
                [one["step"] for one in records], values, color=colour, marker="o", markersize=3, label=name
            )
        axes.set_xlabel("optimiser steps")
        axes.set_ylabel("loss of held-out spectra")
        axes.legend(fontsize=7)
    return figure


def _facts(run: RunFolder, stage: dict[str, Any]) -> list[tuple[str, str]]:
    training = {key: value for key, value in stage.get("training", {}).items() if value is not None}
    machine = run.provenance["sessions"][-1]
    return [
        ("Saved in", stage["model"]),
        *((f"Training: {key}", f"{value:g}") for key, value in training.items()),
        ("Command", machine["command"]),
        ("Software", f"specvit {machine['specvit']}"),
        ("Machine", f"{machine['cpu']}, {machine['cpu_count']} threads"),
    ]
