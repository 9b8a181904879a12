"""Predictions: shapes that fit, rows that stay together, arrays that come back."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import DataError, ShapeError
from specvit.models import Diagnostics, Prediction, Quantiles

NAMES = ("teff", "log_g")
LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)
#: Every diagnostic, so that none is forgotten where rows are chosen, joined or stored.
TRAILING = {"on_face": (2,), "continuum": (3,)}


def made(count, first=0, std=True, quantiles=True, diagnostics=True):
    """Return a prediction in which every number tells its row."""
    row = torch.arange(first, first + count, dtype=torch.float64)

    def array(*trailing):
        return row.reshape(-1, *(1 for _ in trailing)).expand(count, *trailing).clone()

    told = {f.name: array(*TRAILING.get(f.name, ())) for f in fields(Diagnostics)} if diagnostics else {}
    stated = Quantiles(LEVELS, array(2, 5) + torch.tensor(LEVELS, dtype=torch.float64)) if quantiles else None
    return Prediction(array(2), array(2) if std else None, NAMES, stated, Diagnostics(**told))


def assert_equal(found, expected):
    ours, theirs = found.to_arrays(), expected.to_arrays()
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


parts = st.builds(dict, std=st.booleans(), quantiles=st.booleans(), diagnostics=st.booleans())


@given(held=parts, count=st.integers(0, 6), cut=st.integers(0, 6))
def test_joining_the_rows_of_two_halves_gives_the_whole(held, count, cut):
    whole = made(count, **held)
    assert len(whole) == count
    halves = [whole[:cut], whole[cut:]]
    assert_equal(Prediction.concatenate(halves), whole)
    assert_equal(made(min(cut, count), **held), halves[0])


@given(held=parts, count=st.integers(0, 4))
def test_arrays_read_back_are_the_prediction(held, count):
    prediction = made(count, **held)
    assert_equal(Prediction.from_arrays(prediction.to_arrays(), "file"), prediction)


def test_rows_are_chosen_by_slice_index_or_mask():
    whole = made(5)
    wanted = torch.tensor([1, 3])
    for rows in (slice(1, 4, 2), wanted, wanted.numpy(), torch.tensor([False, True, False, True, False])):
        assert whole[rows].diagnostics.chi2.tolist() == [1, 3]
        assert whole[rows].quantiles.values[:, 0, 0].tolist() == [1.025, 3.025]
    for one in (3, torch.tensor(3), np.int64(3)):
        with pytest.raises(ShapeError, match=r"one spectrum k is \[k : k \+ 1\]"):
            whole[one]


def test_intervals_are_central():
    prediction = made(3)
    for share, ends in ((0.68, (0.16, 0.84)), (0.95, (0.025, 0.975))):
        for found, end in zip(prediction.quantiles.interval(share), ends, strict=True):
            torch.testing.assert_close(found, prediction.mean + end)
    with pytest.raises(DataError, match=r"none at 0\.05; they are stated at 0\.025, 0\.16"):
        prediction.quantiles.interval(0.9)
    with pytest.raises(DataError, match=r"between 0 and 1, e\.g\. 0\.68, got 68"):
        prediction.quantiles.interval(68)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: replace(p, names=("teff",)), r"mean of shape \(spectra, 1\)"),
        (lambda p: replace(p, mean=p.mean[:, 0]), "expected mean"),
        (lambda p: replace(p, std=p.std[:2]), r"std of shape \(3, 2\), got \(2, 2\)"),
        (lambda p: replace(p, quantiles=made(2).quantiles), "expected quantiles"),
        (lambda p: replace(p.quantiles, values=p.mean), r"values of shape \(spectra, labels, 5\)"),
        (
            lambda p: replace(p, diagnostics=Diagnostics(iterations=torch.ones(2))),
            r"diagnostics/iterations with first axis 3, got \(2,\)",
        ),
        (lambda p: replace(p, diagnostics=Diagnostics(chi2=torch.tensor(1.0))), "diagnostics/chi2"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused_by_name(change, words):
    with pytest.raises(ShapeError, match=words):
        change(made(3))


@pytest.mark.parametrize("levels", [(0.5, 0.5), (0.9, 0.1), (0.0, 0.5), (0.5, 1.0), (float("nan"),)])
def test_probabilities_rise_between_0_and_1(levels):
    with pytest.raises(DataError, match="rise between 0 and 1"):
        Quantiles(levels, torch.zeros(1, 1, len(levels)))


@pytest.mark.parametrize(
    "other",
    [
        made(2, std=False),
        made(2, quantiles=False),
        made(2, diagnostics=False),
        replace(made(2), names=("teff", "m_h")),
        replace(made(2), quantiles=Quantiles((0.5,), torch.zeros(2, 2, 1))),
    ],
)
def test_parts_that_hold_different_things_are_not_joined(other):
    with pytest.raises(DataError, match="same labels, probabilities and arrays") as caught:
        Prediction.concatenate([made(2), other])
    assert "\n" not in str(caught.value)


def test_nothing_is_no_prediction():
    with pytest.raises(DataError, match="at least one part"):
        Prediction.concatenate([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("mean"), "no array 'mean'"),
        (lambda a: a.pop("names"), "no array 'names'"),
        (lambda a: a.pop("probabilities"), "no array 'probabilities'"),
        (lambda a: a.pop("quantiles"), "'probabilities' is no array of a prediction"),
        (lambda a: a.update(std=np.ones(3)), "expected std"),
        (lambda a: a.update(mean=np.array([["a", "b"]])), "'mean' holds <U1 values, expected numbers"),
        (lambda a: a.update({"diagnostics/luck": np.ones(3)}), "'diagnostics/luck'"),
        (lambda a: a.update({"diagnostics/chi2": np.ones(4)}), "diagnostics/chi2"),
    ],
)
def test_arrays_that_are_no_prediction_are_refused_by_name(change, words):
    arrays = made(3).to_arrays()
    change(arrays)
    with pytest.raises(DataError, match=f"my.npz: .*{words}") as caught:
        Prediction.from_arrays(arrays, "my.npz")
    assert "\n" not in str(caught.value)


def test_arrays_of_another_byte_order_are_read_as_numbers():
    arrays = made(3).to_arrays()
    swapped = {name: v.astype(v.dtype.newbyteorder(">")) for name, v in arrays.items()}
    assert_equal(Prediction.from_arrays(swapped, "file"), made(3))
