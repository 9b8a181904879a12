"""The figure and table of an explained network, and a report with and without them."""

import numpy as np
import pytest

from specvit.errors import DataError
from specvit.report import explain_table, load_contents, network_explained, run_tables
from specvit.report.drawings import drawings
from specvit.report.explain_table import HEADS
from specvit.runs import Explanation

WINDOWS = ["Ca II", "TiO", "elsewhere"]


def explain_arrays(attention=True):
    """Arrays of a network that looks at one line."""
    wavelength = np.linspace(7100, 8850, 400)
    line = np.exp(-0.5 * ((wavelength - 8544.44) / 6) ** 2)
    line /= line.sum() * (wavelength[1] - wavelength[0])
    quantities = ["fisher", "response", "ig", *(["attention", "rollout"] if attention else [])]
    share = np.array([[0.5, 0.45, 0.55], [0.1, 0.08, 0.12], [0.4, 0.35, 0.45]])
    window = np.where(abs(wavelength - 8544.44) < 12, 0, 2)
    return {
        "model": "vit-nano",
        "target": "log_g",
        "snr": np.array([3.0, 6.0, 12.0]),
        "wavelength": wavelength,
        "windows": WINDOWS,
        "window": window,
        "ranges": ["all stars", "Teff < 4500 K"],
        "stars": [3, 1],
        "quantities": quantities,
        "density": np.tile(line, (len(quantities), 2, 1)),
        "share": np.tile(share, (len(quantities), 2, 1, 1)),
        "likeness": np.full((len(quantities), 2), 0.9),
        "gap": 0.004,
    }


@pytest.fixture
def explained(make_run):
    run = make_run()
    Explanation(**explain_arrays()).write(run)
    return run


def drawn(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_the_figure_names_what_it_shows_and_the_lines(explained):
    figure = network_explained(load_contents(explained.path))
    assert len(figure.axes) == 4
    assert {
        "Fisher information on log g",
        "vit-nano: attention rollout",
        "|integrated gradients|",
        "Ca II",
    } <= drawn(figure)
    assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == WINDOWS


def test_a_network_without_attention_has_one_panel_less(make_run):
    run = make_run()
    Explanation(**explain_arrays(attention=False)).write(run)
    figure = network_explained(load_contents(run.path))
    assert len(figure.axes) == 3
    assert not any("attention" in text for text in drawn(figure))


def test_the_table_holds_shares_in_percent_and_the_pixels():
    found = Explanation(**explain_arrays())
    table = explain_table(found)
    assert table.head == ("stars", "lines", "pixels [%]", *(f"{head} [%]" for head in HEADS.values()))
    first = table.rows[0]
    assert first[:2] == ("all stars", "Ca II")
    assert first[2] == pytest.approx(100 * np.mean(found.window == 0))
    assert (first[3].value, first[3].low, first[3].high) == pytest.approx((50, 45, 55))
    assert len(table.rows) == 2 * (len(WINDOWS) + 1)
    assert "miss 0.4 %" in table.caption
    assert r"Teff $<$ 4500 K" in table.to_latex()


def test_a_report_has_the_figure_and_the_table_where_the_run_has_the_arrays(explained, run_folder):
    run, other = load_contents(explained.path), load_contents(run_folder.path)
    (drawing,) = [drawing for drawing in drawings(run) if drawing.name == "network_explained"]
    assert "all other labels and the flux scale fitted" in drawing.caption
    assert "Then what its tokens attend to" in drawing.caption
    assert [table.name for table in run_tables(run)][-1] == "explain"
    assert len(drawings(run)) == len(drawings(other)) + 1
    assert len(run_tables(run)) == len(run_tables(other)) + 1


def test_a_run_without_the_arrays_says_so(make_run):
    run = load_contents(make_run(examples=False).path)
    assert run.explain is None
    with pytest.raises(DataError, match="explain"):
        network_explained(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": np.zeros((5, 2, 3))}, "'share' has shape"),
        ({"likeness": None}, "no array 'likeness'"),
        ({"quantities": ["fisher", "response", "gradients", "attention", "rollout"]}, "'quantities' lack ig"),
    ],
)
def test_arrays_that_do_not_fit_are_named(make_run, change, message):
    run = make_run()
    arrays = {name: value for name, value in (explain_arrays() | change).items() if value is not None}
    run.write_arrays("explain", **arrays)
    with pytest.raises(DataError, match=message):
        load_contents(run.path)
