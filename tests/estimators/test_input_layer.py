"""One rule for the input of every estimator: what it takes, what is dead, what is refused, which unit."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.errors import DataError, ShapeError
from specvit.estimators import network_config
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.inference import PosteriorMean, TemplateFit
from specvit.limits.bayes import SamplerSettings
from specvit.models import PLS, LightGBM, Origin, PCARidge, Ridge
from specvit.models.network import build_network
from specvit.simulate import Simulator
from specvit.training.starts import fit_front

NETWORKS = {
    "mlp": {"width": 16, "depth": 1},
    "vit": {"patch": 64, "stride": 64, "width": 16, "depth": 1, "heads": 2, "channels": "flux,sigma"},
    "subspace": {"width": 16, "components": 12, "patterns": 3},
}
#: A visit to a GPU (docs/gpu.md) runs these tests where LightGBM may be missing.
BOOSTED = ("lightgbm",) if importlib.util.find_spec("lightgbm") else ()
FITTED = ("ridge", "pca_ridge", "pls", *BOOSTED, "template", "posterior")
NAMES = (*FITTED, *NETWORKS)


@pytest.fixture(scope="module")
def world():
    return Simulator.build(instrument="gaia_rvs")


@pytest.fixture(scope="module")
def stars(world):
    return world.draw("test", 3, 0, 4)


@pytest.fixture(scope="module")
def estimators(world):
    """Every estimator, fitted to 200 spectra; the networks untrained."""
    train, held_out = world.source("train", 1, 200), world.source("validation", 1, 240)
    sampler = SamplerSettings(round_size=128, minimum_ess=40, maximum_samples=2048)
    found = [
        Ridge(),
        PCARidge(),
        PLS(),
        *(LightGBM(rounds=60, threads=1) for _ in BOOSTED),
        TemplateFit(world.observed, starts=1),
        PosteriorMean(world.observed, bank_size=1 << 10, settings=sampler),
    ]
    return {model.name: model.fit(train, held_out) for model in found} | {
        name: untrained(name, world) for name in NETWORKS
    }


def untrained(name, world):
    torch.manual_seed(0)
    train = world.source("train", 1, 200)
    config = network_config(name).with_options(NETWORKS[name])
    network = build_network(config, train.grid, train.label_space)
    fit_front(network, world.draw("train", 1, 0, 200))
    # Zero-initialised layers would hide a dependence on the input.
    with torch.no_grad():
        for parameter in network.body.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return NetworkEstimator(name).adopt(network, Origin.of(train, train))


def answers(prediction):
    """Return all numbers of a prediction but the continuum, which has the unit of the flux."""
    return {k: v for k, v in prediction.to_arrays().items() if k not in ("names", "diagnostics/continuum")}


def assert_same(found, expected):
    ours, theirs = answers(found), answers(expected)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


# --- what it takes ------------------------------------------------------------------------------------------


def read_only(values):
    array = values.numpy().copy()
    array.flags.writeable = False
    return array


FORMS = {
    "lists": lambda v: v.tolist(),
    "list of arrays": lambda v: list(v.numpy()),
    "float64": lambda v: v.double(),
    "float16": lambda v: v.half(),
    "bfloat16": lambda v: v.bfloat16(),
    "numpy": lambda v: v.numpy(),
    "read-only": read_only,
    "big-endian": lambda v: v.numpy().astype(">f4"),
    "not contiguous": lambda v: v.T.contiguous().T,
    "every other": lambda v: v.repeat_interleave(2, dim=1)[:, ::2],
    "reversed twice": lambda v: v.numpy()[:, ::-1].copy()[:, ::-1],
    "integers": lambda v: (1e4 * v).round().long(),
    "int32 array": lambda v: (1e4 * v).round().numpy().astype(np.int32),
    "with gradient": lambda v: v.clone().requires_grad_(),
    "masked": lambda v: np.ma.masked_array(v.numpy(), np.arange(v.numel()).reshape(v.shape) % 9 == 5),
}


#: Conversion is the same for all; the slow ones are asked once or twice.
ASKED = [
    (n, f) for n in NAMES for f in FORMS if n not in ("template", "posterior") or f in ("lists", "masked")
]


@pytest.mark.parametrize(("name", "form"), ASKED)
def test_every_form_of_numbers_gives_the_same_answer(estimators, stars, name, form):
    """That of the same numbers as float64 tensors; masked ones are NaN."""
    given_flux, given_sigma = FORMS[form](stars.flux[:1]), FORMS[form](stars.sigma[:1])
    plain = [
        torch.tensor(np.ma.filled(np.ma.asarray(v).astype(float), np.nan))
        if not isinstance(v, torch.Tensor)
        else v.detach().double()
        for v in (given_flux, given_sigma)
    ]
    found = estimators[name].predict(given_flux, given_sigma)
    assert_same(found, estimators[name].predict(*plain))
    assert not found.mean.requires_grad
    assert found.mean.dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
def test_no_spectra_have_no_answers_of_the_same_kind(estimators, stars, name):
    found = estimators[name].predict(stars.flux[:0], stars.sigma[:0])
    some = estimators[name].predict(stars.flux[:1], stars.sigma[:1])
    assert len(found) == 0
    ours, theirs = found.to_arrays(), some.to_arrays()
    assert {k: (v.dtype, v.shape[1:]) for k, v in ours.items() if k != "names"} == {
        k: (v.dtype, v.shape[1:]) for k, v in theirs.items() if k != "names"
    }


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_spectra_on_another_device_are_taken(estimators, stars, name):
    found = estimators[name].predict(stars.flux.cuda(), stars.sigma.cuda())
    expected = estimators[name].predict(stars.flux, stars.sigma)
    assert found.mean.device.type == "cpu"
    assert ((found.mean - expected.mean) / expected.std).abs().max() < (1 if name == "posterior" else 1e-3)


# --- what is refused ----------------------------------------------------------------------------------------


def put(values, row, pixel, value):
    values = values.clone()
    values[row, pixel] = value
    return values


REFUSED = {
    "one spectrum": (lambda f, s: (f[0], s[0]), ShapeError, r"write flux\[None\] and sigma\[None\]"),
    "three axes": (lambda f, s: (f[..., None], s[..., None]), ShapeError, r"of one shape \(spectra, "),
    "other lengths": (lambda f, s: (f[:, :-1], s[:, :-1]), ShapeError, "resample them to the model's grid"),
    "other counts": (lambda f, s: (f, s[:1]), ShapeError, "of one shape"),
    "one sigma": (lambda f, s: (f, 0.1), ShapeError, "of one shape"),
    "no pixels": (lambda f, s: (f[:, :0], s[:, :0]), ShapeError, "these spectra have 0"),
    "words": (lambda f, s: (f.numpy().astype(str), s), DataError, "flux holds <U.. values"),
    "nothing": (lambda f, s: (f, None), DataError, "sigma holds object values"),
    "ragged": (lambda f, s: ([[1.0], [1.0, 2.0]], s), DataError, "flux is no array of numbers"),
    "complex": (lambda f, s: (f + 0j, s), DataError, "tensor of torch.complex64"),
    "complex array": (lambda f, s: (f.numpy() + 0j, s), DataError, "holds complex64 values"),
    "flags": (lambda f, s: (f > 0, s), DataError, "tensor of torch.bool"),
    "all dead": (
        lambda f, s: (f, s.index_fill(0, torch.tensor([1]), torch.inf)), DataError, "spectrum 1 has 0% usable"
    ),
    "all NaN": (
        lambda f, s: (f.index_fill(0, torch.tensor([2]), torch.nan), s), DataError, "spectrum 2 has 0% usable"
    ),
    "sigma 0": (lambda f, s: (f, put(s, 3, 7, 0.0)), DataError, r"sigma is 0 in spectrum 3, pixel 7 \(1 such"),
    "negative sigma": (lambda f, s: (f, put(s, 1, 0, -2.0)), DataError, "sigma is -2 in spectrum 1, pixel 0"),
    "sigma -inf": (lambda f, s: (f, put(s, 1, 0, -torch.inf)), DataError, "sigma is -inf in spectrum 1"),
    "all zero": (lambda f, s: (0 * f, 0 * s), DataError, "sigma is 0 in spectrum 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_in_the_same_line(estimators, stars, case):
    make, kind, words = REFUSED[case]
    lines = set()
    for name, model in estimators.items():
        with pytest.raises(DataError, match=words) as caught:
            model.predict(*make(stars.flux, stars.sigma))
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"{name}: ")
        lines.add(str(caught.value).removeprefix(f"{name}: "))
    assert len(lines) == 1
    assert "\n" not in lines.pop()


def test_an_answer_that_is_not_finite_is_refused(world, stars):
    model = Ridge().fit(world.source("train", 1, 100), world.source("validation", 1, 60))
    model.predict(stars.flux, stars.sigma)
    model.weights[4, 1] = torch.nan
    with pytest.raises(DataError, match=r"ridge: no finite estimate of spectrum 0 \(4 such spectra\)"):
        model.predict(stars.flux, stars.sigma)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_error_of_a_network_that_is_not_finite_is_refused(stars, world, name):
    model = untrained(name, world)
    with torch.no_grad():
        model.network.head.linear.bias.fill_(torch.nan)
    with pytest.raises(DataError, match=f"{name}: no finite estimate of spectrum 0"):
        model.adopt(model.network, model.origin).predict(stars.flux, stars.sigma)


# --- dead pixels --------------------------------------------------------------------------------------------

DEAD = {
    "sigma inf": ("sigma", math.inf),
    "sigma NaN": ("sigma", math.nan),
    "flux NaN": ("flux", math.nan),
    "flux inf": ("flux", math.inf),
    "flux -inf": ("flux", -math.inf),
    "flux 1e18": ("flux", 1e18),
    "flux -1e30": ("flux", -1e30),
    "flux 2e6": ("flux", 2e6),
    "sigma 1e30": ("sigma", 1e30),
    "sigma 1e-30": ("sigma", 1e-30),
}


@pytest.mark.parametrize("kind", DEAD)
@pytest.mark.parametrize("name", NAMES)
def test_a_dead_pixel_is_dead_to_every_estimator(estimators, stars, name, kind):
    flux, sigma = stars.flux[:2].double(), stars.sigma[:2].double()
    masked = sigma.clone()
    masked[1, 20:30] = torch.inf
    expected = estimators[name].predict(flux, masked)
    what, value = DEAD[kind]
    {"flux": flux, "sigma": sigma}[what][1, 20:30] = value
    found = estimators[name].predict(flux, sigma)
    assert_same(found, expected)
    assert found.diagnostics.usable_share.tolist() == [1, 1 - 10 / flux.shape[1]]


@pytest.mark.parametrize("name", NAMES)
def test_spikes_that_a_detector_can_give_are_not_dead(estimators, stars, name):
    flux = stars.flux[:1].clone()
    flux[:, ::7] = 1e4
    found = estimators[name].predict(flux, stars.sigma[:1])
    assert found.diagnostics.usable_share.tolist() == [1]
    assert not torch.equal(found.mean, estimators[name].predict(stars.flux[:1], stars.sigma[:1]).mean)


# --- units --------------------------------------------------------------------------------------------------

exponents = st.lists(st.integers(-40, 40), min_size=4, max_size=4)


def assert_unmoved(name, found, expected, tolerance):
    """Within a share of the stated error; posteriors, where sampled well enough, within a coarse sampling error."""
    if name == "posterior":
        sampled = found.diagnostics.converged & expected.diagnostics.converged
        assert sampled.sum() > 1
        found, expected, tolerance = found[sampled], expected[sampled], 1.0
    assert ((found.mean - expected.mean) / expected.std).abs().max() < tolerance
    assert (found.std / expected.std).log().abs().max() < tolerance


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_of_a_spectrum_does_not_matter(estimators, stars, name):
    model = estimators[name]
    expected = model.predict(stars.flux, stars.sigma)

    @settings(max_examples=6 if name in ("template", "posterior") else 30, deadline=None)
    @given(exponents)
    def check(power):
        unit = 10.0 ** torch.tensor(power, dtype=torch.float64)[:, None]
        found = model.predict(unit * stars.flux, unit * stars.sigma)
        assert_unmoved(name, found, expected, 2e-3)
        if name == "template":
            ratio = found.diagnostics.continuum / (unit * expected.diagnostics.continuum)
            torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-5, atol=0)
            torch.testing.assert_close(found.diagnostics.chi2, expected.diagnostics.chi2, rtol=1e-5, atol=0)

    check()


@pytest.mark.parametrize("power", [-36, -17, 17, 36])
@pytest.mark.parametrize("name", NAMES)
def test_nor_does_it_in_float32_as_far_as_that_reaches(estimators, stars, name, power):
    flux, sigma = ((10.0**power * values.double()).float() for values in (stars.flux, stars.sigma))
    expected = estimators[name].predict(stars.flux, stars.sigma)
    assert_unmoved(name, estimators[name].predict(flux, sigma), expected, 5e-3)


@pytest.mark.parametrize("name", ["ridge", "pls", "lightgbm"])
def test_the_unit_of_training_spectra_does_not_matter(world, stars, name):
    """As in a world normalised by what no observer knows: each spectrum by another factor."""
    free = Simulator.build(instrument="gaia_rvs", normalisation="noise_free_median")
    make = {"ridge": Ridge, "pls": PLS, "lightgbm": lambda: LightGBM(rounds=5, threads=1)}[name]
    ours, theirs = (
        make().fit(w.source("train", 1, 200), w.source("validation", 1, 60)).predict(stars.flux, stars.sigma)
        for w in (world, free)
    )
    assert_unmoved(name, theirs, ours, 5e-3)


@pytest.mark.parametrize("shift", [0.0, -1.0, -3.0])
@pytest.mark.parametrize("name", NAMES)
def test_spectra_without_a_positive_median_have_finite_answers_of_the_noisiest(
    estimators, stars, name, shift
):
    """Sky subtraction leaves a median of about zero, or below; the level is then 0.05 of the median sigma."""
    noise = torch.randn(stars.flux.shape, generator=torch.Generator().manual_seed(1))
    found = estimators[name].predict(noise + shift, torch.ones_like(noise))
    assert torch.isfinite(found.mean).all()
    assert (found.std > 0).all()
    if name in FITTED:  # the networks are not trained
        sure = estimators[name].predict(stars.flux, 0.1 * stars.sigma)
        assert (found.std.mean(dim=0) > sure.std.mean(dim=0)).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_flux_at_all_has_a_finite_answer(estimators, stars, name):
    found = estimators[name].predict(torch.zeros_like(stars.flux), stars.sigma)
    assert torch.isfinite(found.mean).all()
    assert (found.std > 0).all()
