"""Residuals beside the smallest errors there can be, and the map of where there is more to gain."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from specvit.errors import DataError
from specvit.report import efficiency_map, load_contents, residual_overlay
from specvit.report.figure_cells import mapped_models
from specvit.report.palette import INK, MODEL_COLOURS, MUTED
from specvit.report.words import findings
from specvit.runs import StarBounds


def lines_of(axes, colour):
    return [line for line in axes.lines if line.get_color() == colour and len(line.get_xdata()) > 2]


def test_residuals_of_a_bin_are_quantiles_of_the_stored_predictions(many_models):
    run = load_contents(many_models.path)
    low, high = run.summary.slices[run.summary.bins[1]].edges
    rows = (run.test.snr >= low) & (run.test.snr < high)
    residual = np.abs(run.predicted("template") - run.truth)[rows]
    panels = residual_overlay(run).axes
    at = list(run.summary.estimators).index("template")
    for axes, share in zip(panels[::2], (0.68, 0.5), strict=True):
        (line,) = lines_of(axes, MODEL_COLOURS[at])
        assert line.get_ydata()[1] == pytest.approx(np.quantile(residual, share))


def test_bounds_are_drawn_at_the_share_of_a_gaussian(many_models):
    run = load_contents(many_models.path)
    panels = residual_overlay(run).axes
    for axes, share in zip(panels[1::2], (0.68, 0.5), strict=True):
        line = next(line for line in axes.lines if line.get_color() == MUTED and len(line.get_xdata()) == 2)
        ratio = line.get_ydata() / line.get_xdata()
        np.testing.assert_allclose(ratio, norm.ppf((1 + share) / 2))


def test_an_estimator_that_attains_the_posterior_follows_its_line(many_models):
    """The made-up 'posterior' draws its errors from the posterior it is compared with, up to a factor."""
    run = load_contents(many_models.path)
    axes = residual_overlay(run).axes[1]
    (line,) = lines_of(axes, INK)
    assert (np.diff(line.get_ydata()) > -0.05).all()
    assert line.get_ydata()[-1] < np.sqrt(run.summary.labels["log_g"].prior_variance)


def test_a_star_without_a_bound_leaves_the_figure_whole(make_run):
    run = make_run()
    bounds = StarBounds.read(run)
    bounds.crlb[0, :5, bounds.label_names == "log_g"] = np.inf
    bounds.write(run)
    axes = residual_overlay(load_contents(run.path)).axes[0]
    assert all(np.isfinite(line.get_ydata()).all() for line in axes.lines)
    assert np.isfinite(axes.get_ylim()).all()


def test_the_map_shows_the_best_learner_and_the_template_fit(many_models):
    run = load_contents(many_models.path)
    learners = [name for name in run.names if name not in ("template", "posterior")]
    best = max(learners, key=lambda name: run.summary.score(name, "r2").value)
    assert mapped_models(run) == [best, "template"]
    assert len(efficiency_map(run).axes) == 2 * 3 + 1


def test_a_score_of_zero_is_better_than_one_below(many_models):
    run = load_contents(many_models.path)
    scores = json.loads(run.summary.model_dump_json())["scores"]
    for name in run.names:
        scores[name]["log_g"]["all"]["r2"] = {"value": 0.0 if name == "pls" else -0.5}
    poor = replace(run, summary=run.summary.model_validate({**run.summary.model_dump(), "scores": scores}))
    assert mapped_models(poor) == ["pls", "template"]
    assert findings(poor)[0].startswith("PLS measures")


def test_every_cell_shows_its_stars_and_only_full_cells_a_number(make_run):
    run = load_contents(make_run(count=170, examples=False).path)
    figure = efficiency_map(run)
    few = 0
    for k, axes in enumerate(figure.axes[:3]):
        shown = [text.get_text() for text in axes.texts]
        stars = run.cells.stars[k].ravel()
        full = stars >= run.cells.least_stars
        assert len(shown) == stars.size + full.sum()
        assert {str(n) for n in stars} <= set(shown)
        few += (~full).sum()
    assert few > 0


def test_runs_without_ceiling_or_cells_say_so(make_run):
    run = load_contents(make_run(ceiling=False, examples=False).path)
    with pytest.raises(DataError, match=r"demo: no arrays/bounds\.npz"):
        residual_overlay(run)
    with pytest.raises(DataError, match=r"demo: no arrays/cells\.npz"):
        efficiency_map(run)
