"""`specvit calibrate`: which spectra correct and measure, what is saved, and errors that hold for other stars."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from damage import copied, damaged_documents, refusal, reseal
from specvit.cli import main
from specvit.errors import ConfigError, DomainError, WavelengthRangeError
from specvit.estimators import NetworkEstimator, load_pretrained, network_config
from specvit.estimators.pretrained import FOLDER
from specvit.jobs import NewStars, recalibrate, recalibration, simulated_stars, stored_stars
from specvit.jobs.recalibration import training_world
from specvit.jobs.worlds import changed_world, differences
from specvit.models import build_network
from specvit.models.manifest import MANIFEST, TENSORS
from specvit.models.origin import Origin
from specvit.simulate import Simulator, UniformPrior, World, WriteJob
from specvit.spectra import RowsOf
from test_wiring import poisoned
from truncated_normal import Anywhere

DWARFS = {"log_g": (4.0, 5.0)}
SMALL = World(instrument="gaia_rvs")


@pytest.fixture
def few(monkeypatch):
    """As many spectra as a test can wait for."""
    monkeypatch.setattr(recalibration, "MEASURED", 600)


def small(gaia, head="ordinal", labels=None, world=SMALL):
    """A network that learnt nothing: its errors can be corrected all the same."""
    torch.manual_seed(0)
    space = gaia.prior.label_space
    config = network_config("mlp").with_options({"width": 8, "depth": 1, "head": head, "bins": 16})
    network = build_network(config, gaia.grid, space.select(labels) if labels else space)
    train, sample = world.build().source("train", 1, 64), gaia.draw("train", 1, 0, 64)
    network.front.fit(sample.flux, sample.sigma)
    return NetworkEstimator("small").adopt(network, Origin.of(train, train))


def corrected(estimator, world, spectra=600, seed=3, **options):
    return recalibrate(estimator, simulated_stars(estimator, world, spectra, seed), **options)


def state(estimator):
    return {name: value.clone() for name, value in estimator.network.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def answers(estimator, gaia):
    stars = gaia.draw("test", 9, 0, 50)
    found = estimator.predict(stars.flux, stars.sigma)
    return found.mean, found.std, found.quantiles.values


def held(found, stars, columns=slice(None)):
    low, high = found.quantiles.interval(0.68)
    truth = stars.labels.double()
    return ((low <= truth) & (truth <= high)).double().mean(dim=0)[columns]


def test_intervals_of_dwarfs_hold_after_it_and_did_not_before(monkeypatch):
    """The shipped network: 4,000 dwarfs correct, 4,000 others measure, known to 0.7 points; 1 point for the fit."""
    monkeypatch.setattr(recalibration, "MEASURED", 4000)
    estimator = load_pretrained("subspace")
    whole = state(estimator)
    found = corrected(estimator, replace(training_world(estimator), bounds=DWARFS), 4000, 43)
    before, after = found.before.scores(), found.after.scores()
    assert before["log_g"]["coverage_68"] < 0.645
    for name in estimator.label_space.names:
        assert after[name]["coverage_68"] == pytest.approx(0.68, abs=0.03), name
        assert after[name]["coverage_95"] == pytest.approx(0.95, abs=0.012), name
        assert after[name]["rmse"] <= before[name]["rmse"], name
    # 500 stars each: 2.1 points, three of them.
    np.testing.assert_allclose(found.after.held_by_snr[68][:, 1], 0.68, rtol=0, atol=0.07)
    # Of labels between 4 and 5 alone, 0.29 dex would be the error without any spectrum.
    assert after["log_g"]["rmse"] < 0.27 < 0.5 < before["log_g"]["rmse"]
    # The network it was made from is as it was, and so are all weights of the new one.
    assert same(whole, state(estimator))
    changed = {n for n, v in state(found.estimator).items() if n not in whole or not torch.equal(v, whole[n])}
    assert all(".calibration." in name or ".reweighting." in name for name in changed)


def test_a_prior_alone_holds_too_without_any_spectra_of_the_new_stars():
    """2,000 dwarfs: 1.0 points; and the other labels are untouched."""
    estimator = load_pretrained("subspace")
    dwarfs = World(bounds=DWARFS).build().draw("calibration", 44, 0, 2000, truth=False)
    other = estimator.reweighted(UniformPrior(estimator.label_space.replace(**DWARFS)))
    before, after = (e.predict(dwarfs.flux, dwarfs.sigma) for e in (estimator, other))
    assert held(before, dwarfs, 1) < 0.65
    assert held(after, dwarfs, 1) == pytest.approx(0.68, abs=0.045)
    assert torch.equal(before.mean[:, [0, 2, 3, 4]], after.mean[:, [0, 2, 3, 4]])
    low, high = after.quantiles.values[:, 1].min(), after.quantiles.values[:, 1].max()
    assert 4 - 1e-6 <= low <= high <= 5 + 1e-6


def test_a_prior_set_again_takes_the_place_of_the_first_and_the_old_one_brings_the_old_answers(gaia):
    estimator = small(gaia)
    space = estimator.label_space
    cut, other = UniformPrior(space.replace(**DWARFS)), UniformPrior(space.replace(m_h=(-2, 0)))
    expected = answers(estimator.reweighted(cut), gaia)
    for found, wanted in zip(
        answers(estimator.reweighted(other).reweighted(cut), gaia), expected, strict=True
    ):
        assert torch.equal(found, wanted)
    back = estimator.reweighted(cut).reweighted(UniformPrior(space))
    for found, wanted in zip(answers(back, gaia), answers(estimator, gaia), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.usefixtures("few")
def test_correcting_and_measured_spectra_are_of_the_reserve_and_share_none(gaia):
    stars = simulated_stars(small(gaia), SMALL, 700, 3)
    parts = [source.provenance for source in (stars.correcting, stars.measured)]
    assert [part["rows"] for part in parts] == [[0, 700], [700, 1300]]
    assert {part["split"] for part in parts} == {"calibration"}
    expected = gaia.draw("calibration", 3, 700, 1300)
    assert torch.equal(stars.measured.draw(0, 600).flux, expected.flux)
    assert torch.equal(
        torch.cat([b.labels for b in stars.correcting.batches(512)]),
        gaia.draw("calibration", 3, 0, 700).labels,
    )


@pytest.mark.usefixtures("few")
def test_poisoned_spectra_leave_a_trace_only_where_they_may(gaia):
    """Test, validation and training spectra are never looked at."""
    whole = corrected(small(gaia), SMALL)
    for split, touched in (("test", False), ("validation", False), ("train", False), ("calibration", True)):
        estimator = small(gaia)
        with poisoned(split):
            other = corrected(estimator, SMALL)
        assert same(state(whole.estimator), state(other.estimator)) != touched, split
        assert (whole.after.scores() == other.after.scores()) != touched, split


@pytest.mark.usefixtures("few")
def test_measured_spectra_correct_nothing(gaia):
    whole, estimator = corrected(small(gaia), SMALL), small(gaia)
    stars = simulated_stars(estimator, SMALL, 600, 3)
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(stars.measured, "draw", stars.correcting.draw)
        other = recalibrate(estimator, stars)
    assert same(state(whole.estimator), state(other.estimator))
    assert whole.after.scores() != other.after.scores()


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("world", [replace(SMALL, bounds=DWARFS), replace(SMALL, noise_level=2.0)])
def test_a_corrected_network_is_saved_with_what_was_done_and_answers_the_same(gaia, tmp_path, world):
    found = corrected(small(gaia, labels=["log_g", "teff"]), world).estimator
    found.save(tmp_path / "b")
    again = NetworkEstimator.load(tmp_path / "b")
    for mine, theirs in zip(answers(found, gaia), answers(again, gaia), strict=True):
        assert torch.equal(mine, theirs)
    done = again.recalibration
    assert (done.spectra, done.measured_spectra, done.source["seed"]) == (600, 600, 3)
    assert World.from_dict(done.world) == world
    assert World.from_dict(again.origin.training.world) == SMALL
    assert done.scores["log_g"].coverage_68.after == found.recalibration.scores["log_g"].coverage_68.after
    assert (again.network.head.reweighting is not None) == bool(world.bounds)
    card = (tmp_path / "b" / "card.md").read_text()
    assert "spectra that corrected its errors: 600" in card
    assert f"- noise level: {world.noise_level}" in card
    assert f"- labels: log_g {'4 to 5' if world.bounds else '1 to 5'}, teff 3750 to 6000" in card
    assert ("bounds: log_g 4.0 to 5.0" in card) == bool(world.bounds)
    assert ("| log_g | dex | 4 | 5 |" in card) == bool(world.bounds)

    # What a run says of other worlds is of the stars the errors are right for.
    class Choice:
        is_fitted_here, load = False, staticmethod(lambda: again)

    assert differences(Choice, world.build()) == {}
    assert set(differences(Choice, SMALL.build())) == {"bounds" if world.bounds else "noise_level"}


def test_the_shipped_networks_are_read_and_saved_as_before(tmp_path):
    load_pretrained("subspace").save(tmp_path / "b")
    was, now = (
        json.loads((f / MANIFEST).read_text())["settings"] for f in (FOLDER / "subspace", tmp_path / "b")
    )
    assert was.keys() == now.keys()
    assert (tmp_path / "b" / TENSORS).read_bytes() == (FOLDER / "subspace" / TENSORS).read_bytes()
    assert (tmp_path / "b" / "card.md").read_text() == (FOLDER / "subspace" / "card.md").read_text()


@pytest.mark.usefixtures("few")
def test_a_tampered_correction_is_refused_in_one_line(gaia, tmp_path):
    corrected(small(gaia), replace(SMALL, bounds=DWARFS)).estimator.save(tmp_path / "b")
    for file in (TENSORS, MANIFEST):
        manifest = copied(tmp_path / "b", tmp_path / file)
        content = bytearray((tmp_path / file / file).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / file / file).write_bytes(content)
        assert str(tmp_path / file) in refusal(lambda file=file: NetworkEstimator.load(tmp_path / file))
    # Behind a good checksum: the description of what was done is read strictly.
    manifest.pop("sha256")
    settings, names = manifest["settings"], ("reweighted", "recalibration")
    stated = {name: settings.pop(name) for name in names}
    # One label and little of what the spectra say stand for all, which takes a fifth of the time.
    stated["recalibration"]["scores"] = {"log_g": stated["recalibration"]["scores"]["log_g"]}
    stated["recalibration"]["source"] = {"world": stated["recalibration"]["source"]["world"]}
    taken = []
    for done, changed in damaged_documents(stated, (None, "seven", {"a": 1})):
        reseal(tmp_path / MANIFEST, {**manifest, "settings": {**settings, **changed}}, {})
        if not refusal(lambda: NetworkEstimator.load(tmp_path / MANIFEST)):
            taken.append(done)
    # What the spectra say of themselves is for people; without a record the weights alone are what counts.
    meant = tuple(f"recalibration{end}" for end in (".source", " deleted", " = None", ".date"))
    meant += (
        "recalibration.labels.units",
        "recalibration.labels.names",
        "recalibration.scores.log_g deleted",
    )
    assert [done for done in taken if not done.startswith(meant)] == []


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("split", ["validation", "calibration"])
def test_stored_spectra_serve_too(gaia, tmp_path, split):
    world = replace(SMALL, prior="lattice", noise_level=1.5)
    WriteJob(tmp_path / "set", world, split, 5, 2000, 2, False).run()
    estimator = small(gaia)
    stars = stored_stars(estimator, tmp_path / "set", None, 1)
    assert (len(stars.correcting), len(stars.measured)) == (1500, 500)
    found = recalibrate(estimator, stars)
    assert found.estimator.recalibration.world["noise_level"] == 1.5
    # The box of a lattice is that of the training, and its nodes are not weighted.
    assert found.estimator.network.head.reweighting is None


@pytest.mark.parametrize("split", ["train", "test"])
def test_stored_spectra_that_were_trained_on_or_are_scored_are_refused(gaia, tmp_path, split):
    WriteJob(tmp_path / "set", SMALL, split, 5, 70, 1, False).run()
    with pytest.raises(ConfigError, match=f"holds {split} spectra"):
        stored_stars(small(gaia), tmp_path / "set", None, 1)


@pytest.mark.usefixtures("few")
def test_a_head_that_states_only_errors_is_corrected_but_not_weighted(gaia):
    estimator = small(gaia, head="gaussian")
    with pytest.raises(ConfigError, match=r"gaussian head states no distributions.*--no-reweight"):
        corrected(estimator, replace(SMALL, bounds=DWARFS))
    found = corrected(estimator, replace(SMALL, bounds=DWARFS), reweight=False)
    dwarfs = replace(SMALL, bounds=DWARFS).build().draw("calibration", 3, 2000, 3000)
    answer = found.estimator.predict(dwarfs.flux, dwarfs.sigma)
    pull = (answer.mean - dwarfs.labels) / answer.std
    # Errors are known to 3 % from 600 spectra; 4 of that.
    torch.testing.assert_close(pull.square().mean(dim=0).sqrt(), torch.ones(5).double(), rtol=0.12, atol=0)
    with pytest.raises(ConfigError, match="point head states no errors"):
        corrected(small(gaia, head="point"), SMALL)


class Sequence(Anywhere):
    """Dwarfs along a main sequence: log g falls as Teff rises."""

    def sample(self, count, generator):
        labels = super().sample(count, generator)
        labels[:, 1] = 4.9 - 0.8 * (labels[:, 0] - 3750) / 2250
        return labels


def test_a_prior_of_ones_own_that_couples_labels_acts_by_its_marginals(gaia):
    space = gaia.prior.label_space.replace(**DWARFS)
    world = Simulator(gaia.observed, gaia.instrument, Sequence(space))
    parts = [RowsOf(world.source("calibration", 3, 1600), *rows) for rows in ((0, 1000), (1000, 1600))]
    found = recalibrate(small(gaia), NewStars(*parts, prior=world.prior))
    # 16 bins from 1 to 5, and log g uniform from 4.1 to 4.9; counted in a million draws.
    expected = np.array([0] * 12 + [0.15, 0.25, 0.25, 0.15]) / 0.8 * 16
    np.testing.assert_allclose(found.estimator.network.head.reweighting.ratio[1], expected, rtol=0.01)
    stars = world.draw("calibration", 3, 2000, 3000)
    answer = found.estimator.predict(stars.flux, stars.sigma)
    # 1,000 stars in the fit and in the measurement: 2.1 points together, three of them.
    torch.testing.assert_close(held(answer, stars), torch.full((5,), 0.68).double(), rtol=0, atol=0.065)
    assert found.estimator.recalibration.world is None


@pytest.mark.usefixtures("few")
def test_a_prior_cannot_take_the_place_of_one_that_is_not_uniform_or_not_known(gaia):
    lattice = replace(SMALL, prior="lattice")
    estimator = small(gaia, world=lattice)
    with pytest.raises(ConfigError, match=r"was 'lattice', not uniform.*--no-reweight"):
        corrected(estimator, SMALL)
    assert corrected(estimator, SMALL, reweight=False).estimator.network.head.reweighting is None
    # The same prior takes no other's place.
    assert corrected(estimator, lattice).estimator.network.head.reweighting is None
    unknown = small(gaia)
    unknown.origin.training.train.pop("world")
    with pytest.raises(ConfigError, match="prior of its training is not known"):
        unknown.reweighted(UniformPrior(unknown.label_space))


def test_stars_and_spectra_that_are_not_the_networks_are_refused(gaia):
    estimator = small(gaia)
    with pytest.raises(WavelengthRangeError, match="small: expected"):
        simulated_stars(estimator, World(), 600, 3)
    with pytest.raises(ConfigError, match="--spectra 10: expected at least 500"):
        simulated_stars(estimator, SMALL, 10, 3)
    with pytest.raises(ConfigError, match="bounds: prior: log_g = 0 dex lies outside"):
        simulated_stars(estimator, replace(SMALL, bounds={"log_g": (0.0, 5.0)}), 600, 3)
    inside = small(gaia, world=replace(SMALL, bounds={"log_g": (2.0, 4.0)}))
    cut = build_network(inside.network.config, gaia.grid, inside.label_space.replace(log_g=(2, 4)))
    with pytest.raises(DomainError, match="log_g from 1 to 5 reaches outside 2 to 4"):
        inside.adopt(cut, inside.origin).reweighted(gaia.prior)
    with pytest.raises(ConfigError, match="'seeing_' is not known of a world; choose library"):
        changed_world(SMALL, {"seeing_": 1})
    with pytest.raises(ConfigError, match="noise_level"):
        changed_world(SMALL, {"noise_level": "loud"})


@pytest.fixture
def saved(gaia, tmp_path):
    small(gaia).save(tmp_path / "small")
    return tmp_path / "small"


def call(capsys, *arguments):
    code = main(["calibrate", *map(str, arguments)])
    return code, *capsys.readouterr()


@pytest.mark.usefixtures("few")
def test_the_command_tells_what_it_did(saved, tmp_path, capsys):
    out = tmp_path / "new" / "dwarfs"
    options = ("--bounds", "log_g=4:5", "--set", "noise_level=2", "--spectra", 600, "--out", out)
    code, told, said = call(capsys, saved, *options, "--json")
    assert code == 0, said
    facts = json.loads(told)
    assert (facts["model"], facts["reweighted"], facts["spectra"]) == (str(out), True, 600)
    assert (facts["world"]["noise_level"], facts["world"]["bounds"]) == (2.0, {"log_g": [4.0, 5.0]})
    assert facts["after"]["log_g"]["coverage_68"] == pytest.approx(0.68, abs=0.1)
    assert len(facts["before"]["teff"]["coverage_95_by_snr"]) == 8
    assert "noise level 2" in said
    assert "coverage after" in said
    # Again into the same folder, as a table.
    code, told, said = call(capsys, saved, *options)
    assert code == 0, said
    assert "weighted by the new prior inside log_g 4 to 5" in told
    assert "68 % intervals hold" in told
    assert NetworkEstimator.load(out).recalibration.spectra == 600


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--bounds", "log_g=5:4"), 2, "--bounds log_g=5:4: expected LABEL=LOW:HIGH"),
        (("--bounds", "log_g"), 2, "--bounds log_g: expected LABEL=LOW:HIGH"),
        (("--bounds", "log_g=4:nan"), 2, "expected LABEL=LOW:HIGH"),
        (("--bounds", "log_g=4:5", "--bounds", "log_g=1:2"), 2, "log_g is given twice"),
        (("--bounds", "age=1:2"), 2, "bounds: unknown label 'age'"),
        (("--bounds", "log_g=0:5"), 2, "log_g = 0 dex lies outside"),
        (("--instrument", "pfs_mr"), 1, "small: expected"),
        (("--prior", "gaussian"), 2, "prior: 'gaussian' is not known"),
        (("--noise-level", "-1"), 2, "noise"),
        (("--set", "colour=red"), 2, "'colour' is not known of a world"),
        (("--spectra", "3"), 2, "--spectra 3: expected at least 500"),
        (("--data", "nowhere"), 1, "nowhere"),
        (("--data", "nowhere", "--prior", "lattice"), 2, "leave out prior"),
    ],
)
def test_what_cannot_be_meant_is_one_line(saved, tmp_path, capsys, options, code, message):
    found, _, said = call(capsys, saved, "--out", tmp_path / "new", *options)
    assert found == code
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "new").exists()


def test_folders_that_must_stay_are_not_written(saved, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for out, message in ((tmp_path / "mine", "is not a saved estimator"), (saved, "is the network itself")):
        _, _, said = call(capsys, saved, "--out", out)
        assert message in said
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"
    assert call(capsys, "nowhere", "--out", tmp_path / "new")[0] == 1
    assert Path(saved).exists()


def test_help_shows_examples(capsys):
    code, told, _ = call(capsys, "--help")
    assert code == 0
    assert "specvit calibrate subspace --bounds log_g=4:5 --out dwarfs" in told
