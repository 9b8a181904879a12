"""Which spectra go where: what is fitted on, chosen by, corrected by and scored on, in every job.

Formulas are tested elsewhere; here each wrong wire must show. `tests/contract/test_mutations.py` cuts the wires
one by one and looks whether these tests notice.
"""

import contextlib
import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from small_surveys import settings
from specvit.estimators import NetworkEstimator, load_estimator, make_estimator, network_config
from specvit.estimators.network_fitter import calibrate
from specvit.jobs import run_survey, run_training
from specvit.jobs.config.training import training_config
from specvit.jobs.sources import simulated
from specvit.jobs.stages import DrawTestStars, explain_network
from specvit.jobs.stages.bounds import star_bounds
from specvit.models import build_network
from specvit.models.origin import Origin
from specvit.runs import read_summary
from specvit.simulate import Simulator
from specvit.training import Recipe

FITTED = ("ridge", "lightgbm", "mlp-nano")
QUICK = (
    f"models.names={json.dumps(FITTED)}",
    *("models.networks.steps=6", "models.options.mlp.width=16", "models.options.mlp.validations=3"),
    *("limits.bayes_stars=0", "limits.ceiling_stars=3", "evaluate.explain_stars=0", "evaluate.bootstrap=20"),
)


def quiet(done, total, text=""):
    pass


@contextlib.contextmanager
def poisoned(split):
    """Every spectrum of one split is another star's, with the labels of a third, wherever it is drawn."""
    whole = Simulator.draw

    def draw(self, wanted, seed, start, stop, *more, **options):
        batch = whole(self, wanted, seed, start, stop, *more, **options)
        if wanted != split:
            return batch
        return replace(batch, flux=batch.flux.roll(1, 0).flip(1), labels=batch.labels.roll(2, 0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Simulator, "draw", draw)
        yield


def training(folder, **network):
    stars = {"train": 0, "validation": 64, "test": 90, "seed": 3}
    return training_config(
        {
            "instrument": {"name": "gaia_rvs"},
            "simulate": stars,
            "network": {
                "model": "mlp",
                "device": "cpu",
                "options": {"steps": 6, "width": 16, "depth": 1, "batch": 32, "validations": 3},
                **network,
            },
            "evaluate": {"bootstrap": 20},
            "run": {"name": "training", "folder": str(folder), "threads": 1},
        }
    )


def weights(folder):
    """Everything a saved estimator holds, and by what it was chosen, but not what the clock wrote into it."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "card.md"}
    manifest = json.loads(found.pop("manifest.json"))
    tested = ("metrics", "by_true_label")
    said = {name: value for name, value in manifest["settings"].items() if name not in tested}
    for entry in said.get("choice", {}).values():
        entry.pop("seconds", None)
    return found, said, manifest["training"].get("validation_r2")


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return run_survey(settings(tmp_path_factory.mktemp("runs"), *QUICK))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run_training(training(tmp_path_factory.mktemp("runs")))


def test_poisoned_test_spectra_leave_no_trace_in_a_survey_but_in_its_scores(survey, tmp_path):
    with poisoned("test"):
        other = run_survey(settings(tmp_path, *QUICK))
    first, second = read_summary(survey), read_summary(other)
    for name in FITTED:
        assert weights(survey.path / "models" / name) == weights(other.path / "models" / name)
        assert first.score(name, "r2") != second.score(name, "r2")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_poisoned_spectra_of_a_fit_do_leave_a_trace(survey, tmp_path, split):
    """The check above could not fail if nothing ever did."""
    with poisoned(split):
        other = run_survey(settings(tmp_path, *QUICK))
    changed = [n for n in FITTED if weights(survey.path / "models" / n) != weights(other.path / "models" / n)]
    assert changed == list(FITTED)


def test_poisoned_test_spectra_leave_no_trace_in_a_training_but_in_its_scores(trained, tmp_path):
    with poisoned("test"):
        other = run_training(training(tmp_path))
    first, second = (weights(run.path / read_summary(run).model) for run in (trained, other))
    assert first == second
    assert read_summary(trained).score("mlp-nano", "r2") != read_summary(other).score("mlp-nano", "r2")


def test_poisoned_validation_and_calibration_spectra_change_a_training(trained, tmp_path):
    whole = weights(trained.path / read_summary(trained).model)
    for split in ("train", "validation", "calibration"):
        with poisoned(split):
            other = run_training(training(tmp_path / split))
        assert weights(other.path / read_summary(other).model) != whole, split


def test_every_fitted_estimator_says_which_splits_it_saw(survey, trained):
    folders = [survey.path / "models" / name for name in FITTED]
    for folder in [*folders, trained.path / read_summary(trained).model]:
        record = load_estimator(folder).origin.training
        assert record.train["split"] == "train"
        assert record.validation["split"] == "validation"


def test_a_training_is_scored_on_the_test_split(trained):
    """Against spectra drawn here, scored by scikit-learn."""
    summary = read_summary(trained)
    world = Simulator.build(instrument="gaia_rvs")
    stars = world.draw("test", 3, 0, 90)
    model = load_estimator(trained.path / summary.model)
    found, space = model.predict(stars.flux, stars.sigma), world.prior.label_space
    measures = {"r2": r2_score, "mae": mean_absolute_error, "rmse": root_mean_squared_error}
    for at, label in enumerate(found.names):
        truth = stars.labels[:, space.index(label)]
        for metric, measure in measures.items():
            value = measure(truth, found.mean[:, at])
            assert summary.score("mlp-nano", metric, label).value == pytest.approx(value, rel=1e-5)
            assert model.metrics[label][metric] == pytest.approx(value, rel=1e-5)


def test_errors_are_corrected_by_the_calibration_split(gaia):
    """The correction equals one fitted by hand on that split, and no other's."""
    recipe = Recipe(steps=4, batch=32, validations=1)
    validation = gaia.source("validation", 5, 64)
    estimator = make_estimator("mlp", "nano", recipe=recipe, options={"width": 16, "depth": 1})
    estimator.fit(gaia.source("train", 5, 64), validation)
    network = estimator.network
    record = calibrate(network, validation, 300)
    assert record == {"calibration_spectra": 300}
    corrected = {name: value.clone() for name, value in network.head.calibration.state_dict().items()}

    def by_hand(split, count):
        stars = gaia.draw(split, 5, 0, count)
        with torch.inference_mode():
            inputs = network.front(stars.flux, stars.sigma)
            network.head.calibrate(network.body(inputs), inputs.level, stars.labels)
        return network.head.calibration.state_dict()

    def differs(state):
        return any(
            not torch.allclose(corrected[name], state[name], rtol=1e-4, atol=1e-5) for name in corrected
        )

    assert not differs(by_hand("calibration", 300))
    assert differs(by_hand("validation", 300))
    assert differs(by_hand("validation", 64))


def test_cramer_rao_bounds_go_with_the_square_of_the_noise_level(gaia):
    louder = Simulator.build(instrument="gaia_rvs", noise_level=3.0)
    found = []
    for world in (gaia, louder):
        test = DrawTestStars(simulated(world, 1, 0, 10, 12).test).draw()
        found.append(star_bounds(world, world.world.emulator(), test, 12, "log_g", quiet))
    np.testing.assert_array_equal(found[0].rows, found[1].rows)
    np.testing.assert_allclose(found[1].crlb / found[0].crlb, 9.0, rtol=2e-3)


def test_the_response_of_a_network_is_to_the_noise_and_not_to_the_flux(gaia):
    """(∂estimate/∂flux · sigma)², with the derivative by moving every pixel up and down."""
    train = gaia.source("train", 1, 64)
    sample = gaia.draw("train", 1, 0, 64)
    torch.manual_seed(0)
    config = network_config("mlp").with_options({"width": 8, "depth": 1, "head": "point"})
    network = build_network(config, gaia.grid, gaia.prior.label_space)
    network.front.fit(sample.flux, sample.sigma)
    estimator = NetworkEstimator("random").adopt(network, Origin.of(train, train))
    stars = gaia.draw("test", 1, 0, 1)
    found = explain_network(estimator, gaia, stars, "log_g", quiet)
    slope, row = slope_of(network, stars), list(found.quantities).index("response")
    width = torch.from_numpy(gaia.grid.width.copy())

    def spread(response):
        """How far the stored response is from being proportional to another one, over half of the pixels."""
        ratio = torch.from_numpy(found.density[row, 0]) * width / response
        low, middle, high = torch.quantile(ratio, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
        return float((high - low) / middle)

    # Not all pixels: those near the median also move the level, which the stored response holds fixed.
    assert spread((slope * stars.truth.sigma[0].double()).square()) < 1e-3
    assert spread(slope.square()) > 0.05


def slope_of(network, star, step=1e-4):
    """∂log_g/∂flux of one spectrum, by central differences in double precision."""
    exact, at = copy.deepcopy(network).double(), network.label_space.index("log_g")
    moves = step * torch.eye(star.flux.shape[1], dtype=torch.float64)
    sigma = star.sigma.double().expand_as(moves)
    with torch.no_grad():
        up, down = (exact.mean(exact(star.flux.double() + move, sigma))[:, at] for move in (moves, -moves))
    return (up - down) / (2 * step)
