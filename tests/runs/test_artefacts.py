"""Artefacts come back as they were written, and a file that holds anything else is refused in one line."""

import copy
from dataclasses import MISSING, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import damaged_arrays, refusal
from specvit.errors import DataError
from specvit.runs import (
    CellScores,
    Estimates,
    Examples,
    Explanation,
    Posteriors,
    RunFolder,
    StarBounds,
    StarTable,
)
from specvit.runs.artefact import KINDS, Artefact, column

KNOWN = (StarTable, Estimates, StarBounds, Posteriors, CellScores, Examples, Explanation)
CONFIG = {"config_version": 1}
MEND = "start the run again with --fresh"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return RunFolder.create(tmp_path_factory.mktemp("runs"), "demo", CONFIG)


def parts(kind):
    return [part for part in fields(kind) if "axes" in part.metadata]


def axis_length(axis, sizes):
    if axis.isdigit():
        return int(axis)
    base = axis.removesuffix("+1")
    return sizes[base] + int(axis.endswith("+1"))


def sound(kind, sizes, seed=0, optional=True):
    """Return an artefact of the declared axes whose values can be meant."""
    random = np.random.default_rng(seed)
    arrays = {}
    for part in parts(kind):
        if part.default is not MISSING and not optional:
            continue
        shape = tuple(axis_length(axis, sizes) for axis in part.metadata["axes"])
        letter = part.metadata["kind"]
        if part.name == "rows":
            value = random.permutation(shape[0] + 3)[: shape[0]]
        elif part.name == "quantities":
            value = np.array(["fisher", "response", "ig", "attention", "rollout"])
        elif letter == "U":
            texts = [f"{part.name} {i}" for i in range(int(np.prod(shape)))]
            value = np.array(texts, dtype=str).reshape(shape)
        elif letter == "b":
            value = random.uniform(size=shape) < 0.5
        elif letter == "i":
            value = random.integers(0, 50, shape)
        elif part.name.endswith("edges"):
            value = np.cumsum(random.uniform(0.1, 1, shape))
        else:
            value = random.uniform(0.1, 5, shape)
        arrays[part.name] = value
    return kind(**arrays)


def axes_of(kind):
    names = {axis.removesuffix("+1") for part in parts(kind) for axis in part.metadata["axes"]}
    return sorted(name for name in names if not name.isdigit())


@st.composite
def sizes_of(draw, kind):
    sizes = {axis: draw(st.integers(1, 4)) for axis in axes_of(kind)}
    return sizes | ({"Q": 5} if kind is Explanation else {})


@pytest.mark.parametrize("kind", KNOWN)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_what_is_written_comes_back(run, kind, data):
    made = sound(kind, data.draw(sizes_of(kind)), data.draw(st.integers(0, 99)), data.draw(st.booleans()))
    path = made.write(run, "some")
    assert path == run.path / "arrays" / f"{kind.FILE}_some.npz"
    assert kind.exists(run, "some")
    back = kind.read(run, "some").arrays()
    assert back.keys() == made.arrays().keys()
    for name, value in made.arrays().items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)


@pytest.mark.parametrize("kind", KNOWN)
def test_any_damage_of_an_array_is_refused_in_one_line_or_leaves_it_what_it_was_meant_for(run, kind):
    """Deleted, of another kind, shape or size: what is read all the same has the declared kinds and axes."""
    made = sound(kind, dict.fromkeys(axes_of(kind), 3) | ({"Q": 5} if kind is Explanation else {}))
    refused = 0
    for what, arrays in damaged_arrays(made.arrays()):
        run.write_arrays(kind.file("harm"), **arrays)
        line = refusal(lambda: kind.read(run, "harm"))
        if line:
            refused += 1
            assert f"{kind.FILE}_harm.npz" in line, what
            assert "--fresh" in line, what
            continue
        sizes = {}
        for part in parts(kind):
            value = getattr(kind.read(run, "harm"), part.name)
            if value is None:
                assert part.default is None, what
                continue
            assert value.dtype.kind in KINDS[part.metadata["kind"]][1], what
            for axis, length in zip(part.metadata["axes"], value.shape, strict=True):
                base = int(axis) if axis.isdigit() else sizes.setdefault(axis.removesuffix("+1"), None)
                if base is None:
                    sizes[axis.removesuffix("+1")] = length - axis.endswith("+1")
                else:
                    assert length - axis.endswith("+1") == base, what
    assert refused > len(parts(kind))


@pytest.mark.parametrize("kind", KNOWN)
def test_every_array_that_must_be_there_is_missed_by_its_name(run, kind):
    made = sound(kind, dict.fromkeys(axes_of(kind), 2) | ({"Q": 5} if kind is Explanation else {}))
    for part in parts(kind):
        rest = {name: value for name, value in made.arrays().items() if name != part.name}
        run.write_arrays(kind.file("part"), **rest)
        if part.default is MISSING:
            with pytest.raises(DataError) as caught:
                kind.read(run, "part")
            held = ", ".join(sorted(rest))
            assert f"no array '{part.name}'; it holds {held}; {MEND}" in str(caught.value)
        elif part.name not in ("quantiles", "probabilities"):
            assert getattr(kind.read(run, "part"), part.name) is None


def test_a_missing_file_is_named_with_what_to_do(run):
    assert not StarTable.exists(run)
    with pytest.raises(DataError, match=r"arrays/test\.npz is missing; start the run again to go on"):
        StarTable.read(run)


TABLE = {"label_names": ["teff"], "labels": np.ones((3, 1)), "snr": np.ones(3), "mag": np.ones(3)}
ESTIMATES = {"names": ["teff"], "mean": np.ones((3, 1))}
ROWS = {
    "label_names": ["teff"],
    "mean": np.ones((2, 1)),
    "variance": np.ones((2, 1)),
    "ess": np.ones(2),
    "converged": [True, False],
}


@pytest.mark.parametrize(
    ("kind", "arrays", "words"),
    [
        (StarTable, TABLE | {"labels": np.ones(3)}, "'labels' has shape (3,), expected (N, 1)"),
        (StarTable, TABLE | {"snr": np.ones(4)}, "'snr' has shape (4,), expected (3)"),
        (StarTable, TABLE | {"labels": np.ones((3, 2))}, "'labels' has shape (3, 2), expected (N, 1)"),
        (StarTable, TABLE | {"labels": np.full((3, 1), "x")}, "'labels' holds <U1, expected numbers"),
        (StarTable, TABLE | {"label_names": [1.0]}, "'label_names' holds float64, expected texts"),
        (StarTable, TABLE | {"snr": [1.0, 0.0, np.nan]}, "'snr' of 2 spectra is not a positive number"),
        (StarTable, TABLE | {"labels": np.full((3, 1), np.nan)}, "'labels' holds values that are not finite"),
        (
            Estimates,
            ESTIMATES | {"mean": np.full((3, 1), np.nan)},
            "'mean' holds no finite teff; the fit failed",
        ),
        (
            Estimates,
            ESTIMATES | {"quantiles": np.ones((3, 1, 2))},
            "'quantiles' and 'probabilities' belong together",
        ),
        (
            Estimates,
            ESTIMATES | {"quantiles": np.ones((3, 1, 2)), "probabilities": [0.1, 0.5, 0.9]},
            "'probabilities' has shape (3,), expected (2)",
        ),
        (Posteriors, ROWS | {"rows": [0, 0]}, "'rows' names a spectrum twice, or one below zero"),
        (Posteriors, ROWS | {"rows": [-1, 0]}, "'rows' names a spectrum twice, or one below zero"),
        (Posteriors, ROWS | {"rows": [0.0, 1.0]}, "'rows' holds float64, expected whole numbers"),
        (
            Posteriors,
            ROWS | {"rows": [0, 1], "converged": [1, 0]},
            "'converged' holds int64, expected true or false",
        ),
        (
            Posteriors,
            ROWS | {"rows": [0, 1], "variance": -np.ones((2, 1))},
            "'variance' holds negative values",
        ),
    ],
)
def test_what_cannot_be_meant_is_named_when_written_and_when_read(run, kind, arrays, words):
    """What is refused on reading is refused on writing too: a job fails at once, not its report."""
    before = sorted(run.path.rglob("*"))
    with pytest.raises(DataError) as written:
        kind(**arrays).write(run, "wrong")
    assert sorted(run.path.rglob("*")) == before
    run.write_arrays(kind.file("wrong"), **arrays)
    with pytest.raises(DataError) as read:
        kind.read(run, "wrong")
    for caught in (written, read):
        assert f"arrays/{kind.FILE}_wrong.npz: {words}" in str(caught.value)
        assert "--fresh" in str(caught.value)
        assert "\n" not in str(caught.value)
    (run.path / "arrays" / f"{kind.FILE}_wrong.npz").unlink()


@pytest.mark.parametrize(
    ("kind", "name"), [(k, p.name) for k in KNOWN for p in parts(k) if p.metadata["finite"]]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_an_axis_is_drawn_from_is_finite(run, kind, name, bad):
    made = sound(kind, dict.fromkeys(axes_of(kind), 2) | ({"Q": 5} if kind is Explanation else {}))
    getattr(made, name).flat[-1] = bad
    with pytest.raises(DataError, match=rf"'{name}' holds values that are not finite; start the run again"):
        made.write(run, "endless")


def test_edges_that_fall_and_an_unknown_sigma_are_refused(run):
    cells = sound(CellScores, {"F": 2, "G": 3, "K": 1, "E": 1})
    cells.second_edges[1] = 99.0
    with pytest.raises(DataError, match="'second_edges' do not increase"):
        cells.write(run)
    examples = sound(Examples, {"S": 2, "L": 4, "P": 1})
    examples.sigma[0, 0] = np.inf
    examples.write(run)
    examples.sigma[0, 0] = np.nan
    with pytest.raises(DataError, match="'sigma' holds NaN"):
        examples.write(run)


def test_edges_hold_one_more_than_their_cells(run):
    sizes = {"F": 2, "G": 3, "K": 1, "E": 1}
    cells = sound(CellScores, sizes)
    assert (len(cells.first_edges), len(cells.second_edges), len(cells.snr_edges)) == (3, 4, 2)
    arrays = cells.arrays() | {"first_edges": np.arange(3.0)[:0]}
    run.write_arrays("cells", **arrays)
    with pytest.raises(
        DataError, match=r"'first_edges' has shape \(0,\), expected \(F\+1\), none of length 0"
    ):
        CellScores.read(run)
    run.write_arrays("cells", **arrays | {"first_edges": np.arange(4.0)})
    with pytest.raises(DataError, match=r"'stars' has shape \(1, 3, 2\), expected \(1, 3, 3\)"):
        CellScores.read(run)


@pytest.mark.parametrize(
    ("kind", "axis"),
    [(kind, axis) for kind in KNOWN for axis in axes_of(kind) if (kind, axis) != (Explanation, "Q")],
)
def test_an_artefact_of_nothing_is_refused(run, kind, axis):
    """A figure of no stars cannot be drawn: it would fail much later, and say less."""
    sizes = dict.fromkeys(axes_of(kind), 2) | ({"Q": 5} if kind is Explanation else {}) | {axis: 0}
    with pytest.raises(DataError, match=r"expected \(.*\)(, none of length 0)?; start the run again"):
        sound(kind, sizes).write(run, "nothing")


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["response", "ig"], "fisher"),
        (["fisher", "ig"], "response"),
        (["fisher", "response"], "ig"),
        (["fisher", "response", "ig", "rollout"], "attention"),
        (["fisher", "response", "ig", "attention"], "rollout"),
    ],
)
def test_an_explanation_holds_all_that_its_figure_shows(run, names, missing):
    made = sound(Explanation, dict.fromkeys(axes_of(Explanation), 2) | {"Q": 5}).arrays()
    made |= {"quantities": np.array(names)}
    made |= {name: made[name][: len(names)] for name in ("density", "share", "likeness")}
    with pytest.raises(DataError, match=f"'quantities' lack {missing}"):
        Explanation(**made).write(run, "less")


def test_lists_and_tensors_become_arrays():
    import torch

    made = Estimates(["teff"], torch.ones(3, 1, dtype=torch.float32))
    assert made.mean.dtype == np.float32
    assert made.names.dtype.kind == "U"
    assert made.of("teff").dtype == np.float64


def test_quantities_are_found_by_label():
    table = StarTable(["teff", "log_g"], [[5000.0, 4.0], [4000.0, 2.0]], [3.0, 5.0])
    assert table.names == ("teff", "log_g")
    np.testing.assert_array_equal(table.truth("log_g"), [4.0, 2.0])
    assert len(table) == 2
    with pytest.raises(DataError, match="no label 'm_h'; it holds teff, log_g"):
        table.truth("m_h")
    estimates = Estimates(["log_g"], [[4.1], [2.2]])
    assert estimates.knows("log_g")
    assert not estimates.knows("teff")
    bounds = sound(StarBounds, {"M": 2, "P": 2, "S": 2})
    np.testing.assert_array_equal(bounds.of("crlb", 1, "label_names 1"), bounds.crlb[1, :, 1])
    posteriors = sound(Posteriors, {"M": 2, "P": 2})
    np.testing.assert_array_equal(posteriors.of("mean", "label_names 1"), posteriors.mean[:, 1])
    cells = sound(CellScores, {"F": 2, "G": 3, "K": 1, "E": 2})
    np.testing.assert_array_equal(cells.of("efficiency", "estimators 1"), cells.efficiency[1])
    assert column(["a", "b"], "b", "here") == 1


def test_a_set_frees_its_labels_and_the_one_that_is_bounded():
    bounds = StarBounds(
        **{
            **sound(StarBounds, {"M": 1, "P": 3, "S": 2}).arrays(),
            "label_names": ["teff", "log_g", "c_m"],
            "free": [[True, True, True], [True, True, False]],
        }
    )
    assert bounds.free_labels(1, "log_g") == ("teff", "log_g")
    assert bounds.free_labels(1, "c_m") == ("teff", "log_g", "c_m")
    assert bounds.free_labels(0, "c_m") == ("teff", "log_g", "c_m")


def test_artefacts_are_not_changed_by_those_who_hold_them():
    table = StarTable(["teff"], [[5000.0]], [3.0])
    with pytest.raises(AttributeError):
        table.snr = np.ones(1)
    assert copy.copy(table).snr is table.snr
    assert issubclass(StarTable, Artefact)
