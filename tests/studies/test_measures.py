"""What variants are measured by beside their errors: the bounds of their stars, and what a network looks at."""

import shutil

import numpy as np
import pytest

from small_studies import SMALL, study_file
from specvit.errors import ConfigError
from specvit.explain import WINDOWS, window_of_pixels
from specvit.jobs import Quiet
from specvit.jobs.stages.focus import focus, line_pixels
from specvit.jobs.trial import Yardstick
from specvit.runs import Posteriors, RunFolder, StarBounds
from specvit.spectra import WavelengthGrid
from specvit.studies import Store, make_plan, read_study, run_studies, scaled_studies
from specvit.studies.measures import MEASURES, Judged

TRUTH = np.array([1.0, 2.0, 3.0, 4.0])
BOUND = np.array([0.01, 0.5, 5.0, np.inf])


def judged(**known):
    return Judged(TRUTH, np.stack([TRUTH + 0.1, TRUTH - 0.2]), **known)


def test_bounds_are_of_the_stars_and_finite_where_the_crlb_is_not():
    found, variance = judged(bound=BOUND), TRUTH.var()
    expected = [bound * variance / (bound + variance) for bound in BOUND[:3]] + [variance]
    np.testing.assert_allclose(MEASURES["fisher_error"].of(found), [expected, expected])
    clipped = [1 - 0.01 / variance, 1 - 0.5 / variance, 0, 0]
    np.testing.assert_allclose(MEASURES["fisher_ceiling"].of(found)[1], clipped)
    np.testing.assert_allclose(MEASURES["fisher_ceiling_nodes"].of(found)[0, 1], 1 - 0.5 / 1.6667)
    assert np.array_equal(found.on(TRUTH > 2).bound, BOUND[2:])


def test_the_least_error_is_that_of_the_posterior_mean():
    found = judged(mean=TRUTH, variance=np.full(4, 0.3))
    assert (MEASURES["least_error"].of(found) == 0.3).all()


def test_what_is_not_there_is_no_measure():
    known = {name for name, measure in MEASURES.items() if measure.is_known_of(judged())}
    assert known == {"error", "mae", "r2"}
    more = judged(bound=BOUND, focus={"response": np.ones((2, 4))})
    assert MEASURES["line_response"].is_known_of(more)
    assert not MEASURES["line_attention"].is_known_of(more)
    assert MEASURES["fisher_error"].is_known_of(more)
    assert more.on(TRUTH > 3).focus["response"].shape == (2, 1)


def test_an_even_profile_has_a_focus_of_one_and_one_on_lines_the_inverse_of_their_share():
    grid = WavelengthGrid.linear(8400.0, 1.0, 400)
    inside = line_pixels(grid)
    names = np.array(WINDOWS)[window_of_pixels(grid)]
    assert set(names[inside]) == {"Ca II", "Fe I", "Mg I", "Paschen", "other lines"} & set(names)
    assert 0.1 < inside.mean() < 0.5
    profiles = np.stack([np.full(400, 3.0), inside.astype(float), (~inside).astype(float)])
    np.testing.assert_allclose(focus(profiles, inside), [1, 1 / inside.mean(), 0])


def test_bounds_are_added_to_stars_whose_posteriors_are_known(ran, tmp_path):
    shutil.copytree(ran[1].root, tmp_path / "runs")
    store = Store(tmp_path / "runs")
    changes = {"rule": "excess(once) <= 1.0 * fisher_error(once)", "id": "bounded"}
    study = read_study(study_file(tmp_path, SMALL, **changes))
    plan = make_plan(scaled_studies([study], "smoke"), store)
    (task,) = plan.remaining
    assert isinstance(task.run, Yardstick)
    run = RunFolder.open(store.folder_of(task.run))
    before = Posteriors.read(run)
    session = run_studies(plan, store, tmp_path / "results", Quiet())
    assert not session.failed
    assert np.array_equal(Posteriors.read(run).mean, before.mean)
    bound = StarBounds.read(run).of("crlb", 0, "log_g")
    scores = session.results[0].variants["once"].scores["all"]
    # Of one world both say what a star allows; they differ by how far its posterior is from a Gaussian.
    assert len(bound) == session.results[0].stars.drawn
    assert scores["fisher_error"].value == pytest.approx(scores["least_error"].value, rel=0.5)
    # And whoever does not ask for them has what there was.
    assert (
        make_plan(scaled_studies([read_study(study_file(tmp_path, SMALL))], "smoke"), store).remaining == ()
    )


def test_what_ridge_looks_at_is_no_question(tmp_path):
    study = read_study(study_file(tmp_path, SMALL, rule="line_response(once) >= 1.5", metric="line_response"))
    with pytest.raises(ConfigError, match="networks alone"):
        scaled_studies([study], "smoke")
