"""The figures of a report: which a run can show, in which order, under which captions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from specvit.report.contents import RunContents
from specvit.report.explain_table import explain_caption
from specvit.report.figure_ceiling import r2_versus_snr
from specvit.report.figure_cells import efficiency_map
from specvit.report.figure_examples import draw_examples
from specvit.report.figure_explain import network_explained
from specvit.report.figure_predictions import predicted_versus_true
from specvit.report.figure_residuals import residual_overlay
from specvit.report.words import caption_note, count, is_above_ceiling, label_name, set_name
from specvit.runs import CeilingFacts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawing(NamedTuple):
    """A figure of the report: file name, heading, caption and the function that draws it."""

    name: str
    heading: str
    caption: str
    draw: Callable[[RunContents], Figure]


def drawings(run: RunContents) -> list[Drawing]:
    """Return the figures this run can show, in the order of the report."""
    makers = [_r2]
    makers += [_residuals] if run.bounds is not None else []
    makers += [_cells] if run.cells is not None else []
    makers += [_predictions]
    makers += [_examples] if run.examples is not None else []
    makers += [_explain] if run.explain is not None else []
    return [make(run, label_name(run.target), caption_note(run)) for make in makers]


def _r2(run: RunContents, target: str, note: str) -> Drawing:
    caption = (
        f"R² of {target} in bins of S/N, drawn at the median S/N of each; bands or bars are bootstrap "
        f"intervals. {_expected(run)}" + _ceiling_caption(run) + note
    )
    return Drawing("r2_versus_snr", "How well, at which S/N", caption, r2_versus_snr)


def _residuals(run: RunContents, target: str, note: str) -> Drawing:
    caption = (
        "Left: the |residual| that 68 % (above) and 50 % (below) of the spectra of each S/N bin stay "
        "below, over √CRLB of 10–90 % of stars with all labels free (grey). Right: the same for stars of "
        "equal √CRLB; on the grey line a model attains the bound of each star. All bounds are drawn at the "
        "same share of a Gaussian, so a model on a line has errors of that size. Dotted: answering with "
        f"the mean for every star. {note}"
    )
    return Drawing("residuals", "How large the errors are, and must be", caption, residual_overlay)


def _cells(run: RunContents, target: str, note: str) -> Drawing:
    assert run.cells is not None
    exact = bool(run.cells.exact)
    limit = "the exact posterior mean" if exact else "an estimator of variance V·CRLB / (V + CRLB)"
    above = "above 1 by chance" if exact else "above 1 by chance, or as that variance is an approximation"
    caption = (
        f"RMSE that {limit} would have in the cell over the RMSE of the model (large; 1: nothing left to "
        f"gain, {above}) and number of stars (small). Cells with fewer than "
        f"{int(run.cells.least_stars)} stars are blank. Slices of S/N hold equally many stars. {note}"
    )
    return Drawing("efficiency_map", "For which stars there is more to gain", caption, efficiency_map)


def _predictions(run: RunContents, target: str, note: str) -> Drawing:
    caption = (
        f"Dashed: perfect agreement. Coloured: median prediction in slices of true {target}; where it is "
        f"flatter than the dashed line the model falls back on the mean of its training stars. {note}"
    )
    return Drawing("predicted_versus_true", "Predicted against true", caption, predicted_versus_true)


def _examples(run: RunContents, target: str, note: str) -> Drawing:
    caption = (
        "Example test spectra. Grey: as observed, with noise; blue: without noise. Below each: change of the "
        f"noise-free flux per {run.summary.unit} of {target}, red where it rises, green where it falls. "
        f"Names mark known lines, Paschen lines (Pa) and band heads (TiO). {note}"
    )
    return Drawing("example_spectra", f"Where {target} is written in the spectrum", caption, draw_examples)


def _explain(run: RunContents, target: str, note: str) -> Drawing:
    assert run.explain is not None
    attention = (
        "Then what its tokens attend to, mean of the blocks and through all (dashed: everywhere the same). "
        if "rollout" in run.explain.quantities
        else ""
    )
    caption = (
        f"Top: Fisher information on {target} in each pixel, all other labels and the flux scale fitted; "
        "heights go as square roots, to show weak lines. Below: how much of the variance of the estimate the "
        "noise of each pixel causes, which in an efficient estimate follows the information; and the size of "
        "what each pixel contributed on the way from the mean spectrum (integrated gradients). "
        f"{attention}Bottom: shares of groups of lines. {explain_caption(run.explain)} "
        f"Seed {run.summary.seed}."
    )
    return Drawing("network_explained", "What the network looks at", caption, network_explained)


def _expected(run: RunContents) -> str:
    """Return what lines and points are where the exact posteriors are known."""
    if not run.summary.has("r2_expected"):
        return ""
    above = [run.title(name) for name in run.names if is_above_ceiling(run, name)]
    exception = f" (of {', '.join(above)} the R² itself, which is above the ceiling)" if above else ""
    return (
        f"Lines: R² expected of spectra like these{exception}; faint points and bars: R² with the true values that "
        "were drawn. "
    )


def _ceiling_caption(run: RunContents) -> str:
    ceiling = run.summary.ceiling
    if ceiling is None or run.bounds is None:
        return ""
    everything, *others = ceiling.sets
    dashed = f"; dashed: {set_name(others[0])} free" if others else ""
    text = (
        f"Grey: Cramér–Rao ceiling of the median star with {set_name(everything)} free, band: 10–90 % of "
        f"{count(len(run.bounds.rows))} stars{dashed}. It bounds unbiased estimators only. "
    )
    if ceiling.exact:
        text += (
            f"Black: Bayes ceiling, which bounds every estimator, from {count(ceiling.stars)} stars, with "
            f"its bootstrap interval{_sampling(ceiling)}. "
        )
    return text


def _sampling(ceiling: CeilingFacts) -> str:
    """Return how well the posteriors were sampled."""
    if ceiling.converged is None or ceiling.minimum_ess is None:
        return ""
    return (
        f"; posteriors converged for {count(ceiling.converged)} of {count(ceiling.posteriors or 0)}, smallest "
        f"effective sample size {ceiling.minimum_ess:.0f}"
    )
