"""Figures show the scores of the summary and the arrays of the run, at the places they say."""

import numpy as np
import pytest
from matplotlib.text import Text

from own_estimators import own_choice
from specvit.errors import DataError
from specvit.report import draw_examples, load_contents, predicted_versus_true, r2_versus_snr
from specvit.report.curves import running_quantiles
from specvit.report.drawings import drawings
from specvit.report.figure_predictions import MOST_POINTS, running_median
from specvit.report.palette import INK, MODEL_COLOURS
from specvit.report.style import save_figure, to_data_uri


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def lines_of(axes, colour):
    """Return the lines and the faint points of one colour."""
    found = [line for line in axes.lines if line.get_color() == colour]
    faint = [line for line in found if line.get_linestyle() == "None"]
    return [line for line in found if line not in faint], faint


def medians(run):
    return [run.summary.slices[part].median_snr for part in run.summary.bins]


def values(scores):
    return [score.value for score in scores]


def test_a_model_is_its_expected_r2_with_the_r2_it_has_in_faint_points_beside(run_folder):
    run = load_contents(run_folder.path)
    axes = r2_versus_snr(run).axes[0]
    for colour, name in zip(MODEL_COLOURS, run.names, strict=False):
        (line,), (points,) = lines_of(axes, colour)
        np.testing.assert_allclose(line.get_xdata(), medians(run))
        np.testing.assert_allclose(line.get_ydata(), values(run.summary.over_bins(name, "r2_expected")))
        # A little to the side, or the points of models that do equally well would hide each other.
        np.testing.assert_allclose(points.get_xdata(), medians(run), rtol=0.02)
        np.testing.assert_allclose(points.get_ydata(), values(run.summary.over_bins(name, "r2")))
        assert points.get_alpha() < 0.5


@pytest.mark.parametrize("models", [("ridge",), ("ridge", "lightgbm", "pls")])
def test_without_the_exact_posterior_a_model_is_the_r2_it_has_with_its_interval(make_run, models):
    run = load_contents(make_run(bayes=False, examples=False, models=models).path)
    axes = r2_versus_snr(run).axes[0]
    (line,), faint = lines_of(axes, MODEL_COLOURS[0])
    scores = run.summary.over_bins("ridge", "r2")
    np.testing.assert_allclose(line.get_ydata(), values(scores))
    assert faint == []
    drawn = np.concatenate([path.vertices[:, 1] for c in axes.collections for path in c.get_paths()])
    assert {score.low for score in scores} | {score.high for score in scores} <= set(drawn)


def test_nothing_is_expected_of_a_model_that_is_above_the_ceiling(leaky):
    """Its distance to the posterior mean would draw the one that sees the truth below the honest ones."""
    run = load_contents(leaky.path)
    axes = r2_versus_snr(run).axes[0]
    (line,), faint = lines_of(axes, MODEL_COLOURS[1])
    np.testing.assert_allclose(line.get_ydata(), 1.0)
    assert faint == []
    assert axes.get_ylim()[1] > 1.0
    (honest,), _ = lines_of(axes, MODEL_COLOURS[0])
    np.testing.assert_allclose(honest.get_ydata(), values(run.summary.over_bins("ridge", "r2_expected")))
    assert "of leak the R² itself, which is above the ceiling" in drawings(run)[0].caption


def test_the_caption_says_what_lines_and_faint_points_are(run_folder, make_run):
    caption = drawings(load_contents(run_folder.path))[0].caption
    assert (
        "Lines: R² expected of spectra like these; faint points and bars: R² with the true values" in caption
    )
    assert "faint" not in drawings(load_contents(make_run(bayes=False, examples=False).path))[0].caption


def test_every_line_of_the_main_figure_has_a_name(run_folder):
    named = texts(r2_versus_snr(load_contents(run_folder.path)))
    assert {"Ridge", "LightGBM", "Cramér–Rao ceiling", "Bayes ceiling"} <= named


def test_the_bayes_ceiling_is_drawn_with_its_interval(run_folder):
    run = load_contents(run_folder.path)
    axes = r2_versus_snr(run).axes[0]
    (line,) = (line for line in axes.lines if line.get_color() == INK)
    bins = [run.summary.ceiling.bayes[part] for part in run.summary.bins]
    np.testing.assert_allclose(line.get_ydata(), [score.value for score in bins])
    band = np.concatenate([c.get_paths()[0].vertices[:, 1] for c in axes.collections if c.get_zorder() == 2])
    assert {score.low for score in bins} | {score.high for score in bins} <= set(band)


def test_labels_of_many_models_do_not_overlap(many_models):
    figure = r2_versus_snr(load_contents(many_models.path))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the hair line
    right = axes.get_window_extent().x1
    beside = [box for box in boxes if box.x0 > right]
    assert len(beside) == 8 + 2 + 3  # models, ceilings, and the small print of the ceilings
    for i, one in enumerate(beside):
        assert not any(one.overlaps(other.expanded(0.98, 0.8)) for other in beside[:i])


def test_a_template_fit_has_a_line_of_its_own(many_models):
    lines = r2_versus_snr(load_contents(many_models.path)).axes[0].lines
    lines = [line for line in lines if line.get_linestyle() != "None"]
    styles = {line.get_color(): line.get_linestyle() for line in lines}
    assert [styles[colour] for colour in MODEL_COLOURS] == ["-"] * 6 + ["--", "--"]
    dashes = {line.get_color(): line._unscaled_dash_pattern for line in lines}
    assert dashes[MODEL_COLOURS[6]] != dashes[MODEL_COLOURS[7]]


def change_scores(run, metric, value):
    """Replace a score of the first estimator in the faintest bin."""
    summary = run.summary
    summary["scores"]["ridge"]["log_g"]["S/N 2-4"][metric] = value
    run.write_summary(summary)


@pytest.mark.parametrize(("bayes", "metric"), [(True, "r2_expected"), (False, "r2")])
def test_a_point_below_the_axis_is_named_with_its_value(make_run, bayes, metric):
    run = make_run(bayes=bayes, examples=False)
    change_scores(run, metric, {"value": -1.3, "low": -1.5, "high": -1.1})
    figure = r2_versus_snr(load_contents(run.path))
    assert figure.axes[0].get_ylim()[0] == -0.2
    assert "Ridge −1.3 ↓" in texts(figure)


def test_the_main_figure_does_without_a_ceiling_and_with_an_empty_bin(make_run):
    run = make_run(ceiling=False, examples=False)
    change_scores(run, "r2", {"value": None})
    axes = r2_versus_snr(load_contents(run.path)).axes[0]
    assert len(axes.lines[0].get_xdata()) == 2


@pytest.mark.parametrize("kind", ["run_folder", "many_models", "three_labels", "training_run", "leaky"])
def test_no_text_of_the_main_figure_is_cut_or_lies_on_another(kind, request):
    """Beside the axes, where the names are; inside stand only values below the axis."""
    figure = r2_versus_snr(load_contents(request.getfixturevalue(kind).path))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the hair line
    beside = [box for box in boxes if box.x0 > axes.get_window_extent().x1]
    for i, one in enumerate(beside):
        assert not any(one.overlaps(other.expanded(0.98, 0.8)) for other in beside[:i])
        assert one.y0 > axes.xaxis.get_tightbbox().y0
        assert one.y1 <= axes.title.get_window_extent().y1 + 25


def test_spectra_of_one_snr_have_an_axis(make_run):
    run = make_run(ceiling=False, examples=False)
    arrays = run.read_arrays("test")
    run.write_arrays("test", **{**arrays, "snr": np.full(300, 5.0)})
    low, high = r2_versus_snr(load_contents(run.path)).axes[0].get_xlim()
    assert low < 5 < high


def test_running_quantiles_of_a_known_distribution():
    random = np.random.default_rng(3)
    x = np.exp(random.uniform(0, 3, 40_000))
    # Uniform on [0, x]: every quantile is a straight line through the origin.
    at, (low, middle) = running_quantiles(x, x * random.uniform(size=x.size), (0.1, 0.5), width=0.05)
    inner = (at > np.exp(0.2)) & (at < np.exp(2.8))
    # 5 standard errors of a quantile from about 1700 stars.
    np.testing.assert_allclose(middle[inner] / at[inner], 0.5, atol=0.06)
    np.testing.assert_allclose(low[inner] / at[inner], 0.1, atol=0.04)


def test_running_median_of_a_line_is_the_line():
    x = np.random.default_rng(1).uniform(1, 5, 999)
    at, middle = running_median(x, 2 * x + 1)
    np.testing.assert_allclose(middle, 2 * at + 1)


@pytest.mark.parametrize("count", [300, MOST_POINTS + 100])
def test_points_give_way_to_density_for_many_spectra(make_run, count):
    run = load_contents(make_run(count=count, examples=False).path)
    drawn = predicted_versus_true(run).axes[0].collections[0].get_offsets()
    assert (len(drawn) == count) == (count <= MOST_POINTS)


def test_spectra_outside_the_panels_are_counted(make_run):
    run = make_run(count=1000, examples=False)
    arrays = run.read_arrays("predictions_ridge")
    arrays["mean"][0] = 1000.0
    run.write_arrays("predictions_ridge", **arrays)
    assert any("outside the axes" in text for text in texts(predicted_versus_true(load_contents(run.path))))


def test_three_models_fill_a_grid_with_one_empty_place(make_run):
    run = load_contents(make_run(models=("ridge", "pls", "lightgbm"), examples=False).path)
    visible = [axes.get_visible() for axes in predicted_versus_true(run).axes[:4]]
    assert visible == [True, True, True, False]


def test_known_lines_are_named_above_the_example_spectra(run_folder):
    figure = draw_examples(load_contents(run_folder.path))
    assert {"Ca II", "Na I", "Mg I", "TiO", "Pa 12"} <= texts(figure)
    assert len(figure.axes) == 4  # two spectra, each with its derivative


def test_a_run_without_examples_says_so(make_run):
    with pytest.raises(DataError, match="examples"):
        draw_examples(load_contents(make_run(examples=False).path))


def test_equal_runs_give_equal_figures(run_folder, tmp_path):
    run = load_contents(run_folder.path)
    assert to_data_uri(r2_versus_snr(run)) == to_data_uri(r2_versus_snr(run))
    paths = save_figure(r2_versus_snr(run), tmp_path, "figure")
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("title", ["<b>{a}</b> {0}", "$x$ and $", r"$\frac{$", "50 % \\"])
def test_a_title_is_text_whatever_characters_it_holds(make_run, title):
    run = load_contents(make_run(models=(own_choice("odd", title),), examples=False, ceiling=False).path)
    figure = r2_versus_snr(run)
    assert title in texts(figure)
    assert len(to_data_uri(figure)) > 10_000
