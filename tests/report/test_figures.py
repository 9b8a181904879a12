import numpy as np
import pytest
from matplotlib.text import Text

from specvit.errors import DataError
from specvit.report import example_spectra, load_contents, predicted_versus_true, r2_versus_snr
from specvit.report.curves import running_quantiles
from specvit.report.figure_predictions import MOST_POINTS, running_median
from specvit.report.palette import INK, MODEL_COLOURS
from specvit.report.style import save_figure, to_data_uri


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_models_are_drawn_at_the_median_snr_of_their_bins(run_folder):
    run = load_contents(run_folder.path)
    axes = r2_versus_snr(run).axes[0]
    lines = {line.get_color(): line.get_xydata() for line in axes.lines}
    for colour, model in zip(MODEL_COLOURS, run.summary.models.values(), strict=False):
        np.testing.assert_allclose(lines[colour][:, 0], run.summary.snr_bins.median)
        np.testing.assert_allclose(lines[colour][:, 1], [score.value for score in model.bins["r2"]])


def test_every_line_of_the_main_figure_has_a_name(run_folder):
    named = texts(r2_versus_snr(load_contents(run_folder.path)))
    assert {"Ridge", "LightGBM", "Cramér–Rao ceiling", "Bayes ceiling"} <= named


def test_the_bayes_ceiling_is_drawn_with_its_interval(run_folder):
    run = load_contents(run_folder.path)
    axes = r2_versus_snr(run).axes[0]
    (line,) = (line for line in axes.lines if line.get_color() == INK)
    bins = run.summary.ceiling.bayes_bins
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
    styles = {line.get_color(): line.get_linestyle() for line in lines}
    assert [styles[colour] for colour in MODEL_COLOURS] == ["-"] * 6 + ["--", "--"]
    dashes = {line.get_color(): line._unscaled_dash_pattern for line in lines}
    assert dashes[MODEL_COLOURS[6]] != dashes[MODEL_COLOURS[7]]


def test_a_point_below_the_axis_is_named_with_its_value(make_run):
    run = make_run()
    summary = run.summary
    summary["models"]["ridge"]["bins"]["r2"][0] = {"value": -1.3, "low": -1.5, "high": -1.1}
    run.write_summary(summary)
    figure = r2_versus_snr(load_contents(run.path))
    assert figure.axes[0].get_ylim()[0] == -0.2
    assert "Ridge −1.3 ↓" in texts(figure)


def test_the_main_figure_does_without_a_ceiling_and_with_an_empty_bin(make_run):
    run = make_run(ceiling=False)
    summary = run.summary
    summary["models"]["ridge"]["bins"]["r2"][0] = {"value": None}
    run.write_summary(summary)
    axes = r2_versus_snr(load_contents(run.path)).axes[0]
    assert len(axes.lines[0].get_xdata()) == 2


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
    run = make_run(count=1000)
    arrays = run.read_arrays("predictions_ridge")
    arrays["mean"][0] = 1000.0
    run.write_arrays("predictions_ridge", **arrays)
    assert any("outside the axes" in text for text in texts(predicted_versus_true(load_contents(run.path))))


def test_three_models_fill_a_grid_with_one_empty_place(make_run):
    run = load_contents(make_run(models=("ridge", "pls", "lightgbm"), examples=False).path)
    visible = [axes.get_visible() for axes in predicted_versus_true(run).axes[:4]]
    assert visible == [True, True, True, False]


def test_known_lines_are_named_above_the_example_spectra(run_folder):
    figure = example_spectra(load_contents(run_folder.path))
    assert {"Ca II", "Na I", "Mg I", "TiO", "Pa 12"} <= texts(figure)
    assert len(figure.axes) == 4  # two spectra, each with its derivative


def test_a_run_without_examples_says_so(make_run):
    with pytest.raises(DataError, match="examples"):
        example_spectra(load_contents(make_run(examples=False).path))


def test_equal_runs_give_equal_figures(run_folder, tmp_path):
    run = load_contents(run_folder.path)
    assert to_data_uri(r2_versus_snr(run)) == to_data_uri(r2_versus_snr(run))
    paths = save_figure(r2_versus_snr(run), tmp_path, "figure")
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().startswith(b"\x89PNG")
