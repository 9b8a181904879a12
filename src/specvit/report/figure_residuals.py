"""Residuals of every model against the smallest errors there can be: at which S/N, and for which stars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from specvit.errors import DataError
from specvit.report.contents import RunContents
from specvit.report.curves import bin_points, running_quantiles
from specvit.report.palette import CEILING_BAND, INK, MUTED, look_of
from specvit.report.snr_axis import dress_snr_axis, set_log_ticks
from specvit.report.style import house_style
from specvit.report.words import label_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Shares of |residual| shown, one per row.
SHARES = (0.68, 0.5)
#: Smoothing along √CRLB: standard deviation in ln √CRLB, and points along a line.
KERNEL_WIDTH, POINTS = 0.25, 40


def residual_overlay(run: RunContents) -> Figure:
    """Return the |residual| that 68 % (above) and half (below) of the spectra stay below.

    Left: against S/N, over the 10-90 % envelope of √CRLB. Right: against each star's own √CRLB. Bounds are
    drawn at the same share of a Gaussian's absolute values, so that equal heights mean equal quality.

    Raises:
        DataError: if the run holds no ceiling.
    """
    from matplotlib.figure import Figure

    if run.bounds is None:
        raise DataError(f"{run.name}: no arrays/bounds.npz, so there is nothing to compare residuals with")
    with house_style():
        figure = Figure(figsize=(7.4, 5.6), layout="constrained")
        panels = figure.subplots(2, 2, sharex="col", sharey="row")
        for row, share in zip(panels, SHARES, strict=True):
            _draw_over_snr(row[0], run, share)
            _draw_over_bound(row[1], run, share)
            for axes in row:
                _draw_prior(axes, run, share)
                _dress(axes)
            unit, percent = run.summary.unit, f"{100 * share:.0f} %"
            row[0].set_ylabel(f"{percent} of |residuals| below [{unit}]")
        dress_snr_axis(panels[1, 0], run, name=False)
        panels[1, 0].set_xlabel("S/N per pixel")
        panels[1, 1].set_xlabel(f"√CRLB of the star, its smallest σ [{run.summary.unit}]")
        panels[0, 0].set_title(f"Residuals of {label_name(run.target)}, by S/N")
        panels[0, 1].set_title("and by each star's own bound")
        handles, names = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right center", handlelength=2.6, labelspacing=0.9)
    return figure


def _draw_over_snr(axes: Axes, run: RunContents, share: float) -> None:
    assert run.bounds is not None
    reach = _gaussian_reach(share)
    sigma, snr = np.sqrt(run.bounds.of("crlb", 0, run.target)), run.bounds.snr
    # A bound can be infinite; a huge number leaves its quantiles where they are.
    bound = reach * np.minimum(sigma, np.finfo(float).max / 4)
    x, (low, middle, high) = running_quantiles(snr, bound, (0.1, 0.5, 0.9))
    axes.fill_between(x, low, high, color=CEILING_BAND, linewidth=0, label="√CRLB, 10–90 %\nof stars")
    axes.plot(x, middle, color=MUTED, linewidth=1.8, label="√CRLB, median star")
    # Faint stars' bounds can be any size; what lies far above the prior's own spread tells nothing more.
    axes.set_ylim(0.7 * low.min(), 4 * _prior_alone(run, share))
    if run.posteriors is not None:
        std = np.sqrt(run.posteriors.of("variance", run.target))
        x, (middle,) = running_quantiles(run.test.snr[run.posteriors.rows], reach * std, (0.5,))
        axes.plot(x, middle, color=INK, linewidth=2.4, label="posterior std,\nmedian star")
    for name in run.names:
        look = look_of(name, run.summary)
        scores = run.summary.over_bins(name, f"residual_{100 * share:.0f}")
        x, value, start, stop = bin_points(run, scores)
        axes.vlines(x, start, stop, color=look.colour, linewidth=0.9, alpha=0.75)
        axes.plot(x, value, label=run.title(name), zorder=4, **look.line())


def _draw_over_bound(axes: Axes, run: RunContents, share: float) -> None:
    assert run.bounds is not None
    reach = _gaussian_reach(share)
    sigma, rows = np.sqrt(run.bounds.of("crlb", 0, run.target)), run.bounds.rows
    inside = np.isfinite(sigma)
    low, high = np.quantile(sigma[inside], (0.01, 0.97))
    ends = np.array([low, high])
    axes.plot(ends, reach * ends, color=MUTED, linewidth=1.8)
    if run.posteriors is not None:
        std = np.sqrt(run.posteriors.of("variance", run.target))
        # Stars with a posterior are among those with a bound.
        bound = np.full(len(run.test), np.nan)
        bound[rows] = sigma
        own = bound[run.posteriors.rows]
        known = np.isfinite(own)
        x, (middle,) = running_quantiles(own[known], reach * std[known], (0.5,), KERNEL_WIDTH, POINTS)
        axes.plot(x, middle, color=INK, linewidth=2.4)
    for name in run.names:
        look = look_of(name, run.summary)
        residual = np.abs(run.predicted(name) - run.truth)[rows]
        known = inside & np.isfinite(residual)
        x, (value,) = running_quantiles(sigma[known], residual[known], (share,), KERNEL_WIDTH, POINTS)
        axes.plot(x, value, color=look.colour, linestyle=look.dashes)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    set_log_ticks(axes, low, high)


def _draw_prior(axes: Axes, run: RunContents, share: float) -> None:
    """Mark what an estimator attains that always answers with the mean."""
    axes.axhline(
        _prior_alone(run, share),
        color=MUTED,
        linewidth=0.8,
        linestyle=(0, (1, 2)),
        label="the mean, for every star",
    )


def _dress(axes: Axes) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_yscale("log")
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]
    low, high = axes.get_ylim()
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.grid(True)


def _prior_alone(run: RunContents, share: float) -> float:
    return float(np.quantile(np.abs(run.truth - run.truth.mean()), share))


def _gaussian_reach(share: float) -> float:
    """Return the |z| that a share of Gaussian draws stays below, e.g. 0.6745 for a half."""
    return float(ndtri(0.5 + share / 2))
