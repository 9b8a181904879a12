"""Batches with and without what only a simulator, or nobody, knows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import DataError, LabelError
from specvit.spectra import LOW_T_BOX, MemorySource, SpectraBatch, Truth, WavelengthGrid, collect

#: What a batch may lack.
OPTIONAL = ("labels", "snr", "truth", "mag", "moon")


def make(count, lacking=(), seed=0):
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        return torch.rand(count, *shape, generator=generator)

    flux, sigma, labels, snr, mag, moon = numbers(6), numbers(6), numbers(5), numbers(), numbers(), numbers()
    truth = Truth(numbers(6), numbers(6), numbers())
    there = {"labels": labels, "snr": snr, "truth": truth}
    conditions = {"mag": mag, "moon": moon}
    return SpectraBatch(
        flux,
        sigma,
        conditions={name: values for name, values in conditions.items() if name not in lacking},
        **{name: value for name, value in there.items() if name not in lacking},
    )


def same(one, two):
    """Whether two batches have the same fields with the same values, truth included."""
    mine, theirs = one._tensors(), two._tensors()
    return list(mine) == list(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)


@given(st.sets(st.sampled_from(OPTIONAL)), st.integers(0, 9), st.integers(1, 9))
def test_cut_moved_and_joined_a_batch_is_what_it_was(lacking, start, length):
    whole = make(20, lacking)
    stop = start + length
    assert same(whole.to("cpu"), whole)
    assert same(whole[torch.arange(20)], whole)
    assert same(SpectraBatch.concatenate([whole[:start], whole[start:stop], whole[stop:]]), whole)
    assert whole.to("cpu").fingerprint == whole.fingerprint
    for name in ("labels", "snr", "truth"):
        assert (getattr(whole, name) is None) == (name in lacking)


@pytest.mark.parametrize("missing", ["labels", "snr", "mag"])
@pytest.mark.parametrize("first", [True, False])
def test_what_only_some_batches_have_is_neither_dropped_nor_made_up(missing, first):
    batches = [make(3), make(4, {missing})]
    if first:
        batches.reverse()
    with pytest.raises(DataError, match=rf"concatenate: batch {int(first)} has .*{missing}"):
        SpectraBatch.concatenate(batches)


def test_truth_is_kept_if_all_batches_have_it():
    assert SpectraBatch.concatenate([make(2), make(3)]).truth.flux.shape == (5, 6)
    assert SpectraBatch.concatenate([make(2), make(3, {"truth"})]).truth is None


def test_nothing_cannot_be_joined():
    with pytest.raises(DataError, match="at least one batch"):
        SpectraBatch.concatenate([])


def test_real_spectra_need_neither_labels_nor_truth():
    batch = SpectraBatch(torch.ones(3, 6), torch.ones(3, 6))
    source = MemorySource(batch, WavelengthGrid.linear(8000, 1.0, 6), LOW_T_BOX)
    assert same(collect(source, 2), batch)
    assert source.provenance["spectra"] == 3


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        ("known_labels", LabelError, "labels: expected spectra with known labels, got 3 without any"),
        ("known_snr", DataError, "snr: expected spectra whose noise-free S/N is known, got 3"),
        ("known_truth", DataError, "truth: expected spectra whose noise-free flux is known, got 3"),
    ],
)
def test_who_needs_what_is_not_known_says_so(ask, error, message):
    with pytest.raises(error, match=message) as raised:
        getattr(make(3, {"labels", "snr", "truth"}), ask)()
    assert "\n" not in str(raised.value)
    assert getattr(make(3), ask)() is not None


@pytest.mark.parametrize("changed", ["flux", "sigma", "labels", "snr"])
def test_the_fingerprint_sees_every_visible_change(changed):
    batch = make(4)
    before = batch.fingerprint
    batch.truth.flux[2] += 1
    assert batch.fingerprint == before
    getattr(batch, changed)[2] += 1
    assert batch.fingerprint != before
    assert make(4, {changed} & {"labels", "snr"}, seed=1).fingerprint != before
