"""Test spectra that lack their ends: the same stars, less known of them, and no estimator that sees what was cut."""

import numpy as np
import pytest
import torch

from small_studies import SMALL, study_file
from specvit.errors import ConfigError
from specvit.jobs import Quiet
from specvit.jobs.trial import yardstick_from
from specvit.runs import Posteriors, RunFolder
from specvit.spectra import Cropped
from specvit.studies import Store, make_plan, read_study, run_studies, scaled_studies
from specvit.studies.judge import evidence_of

SPAN = (8500.0, 8650.0)
CROPPING = {
    **SMALL,
    "id": "cropping",
    "rule": "excess(whole) <= excess(cropped)",
    "slices": {},
    "shares": {},
    "base": {"estimator": {"name": "ridge"}},
    "factors": {"tested": {"whole": {}, "cropped": {"test": {"span": list(SPAN)}}}},
}


@pytest.fixture(scope="module")
def cropped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cropping")
    scaled = scaled_studies([read_study(study_file(folder, CROPPING))], "smoke")
    store = Store(folder / "runs")
    plan = make_plan(scaled, store)
    session = run_studies(plan, store, folder / "results", Quiet())
    assert not session.failed
    return scaled[0], store, plan


def test_one_fit_serves_both_and_the_stars_are_the_same(cropped):
    scaled, store, plan = cropped
    # Two seeds, two sets of test stars.
    assert len(plan.tasks) == 4
    whole, cut = (scaled.variant(name).yardstick for name in ("whole", "cropped"))
    assert whole.digest != cut.digest
    assert whole.spectra != cut.spectra == cut.source.provenance["identity"]
    assert yardstick_from(cut.to_dict()) == cut
    first, second = (one.source.draw(0, 5) for one in (whole, cut))
    outside = torch.tensor(
        (whole.source.grid.wavelength < SPAN[0]) | (whole.source.grid.wavelength > SPAN[1])
    )
    assert torch.equal(first.flux, second.flux)
    assert torch.isinf(second.sigma[:, outside]).all()
    assert torch.equal(first.sigma[:, ~outside], second.sigma[:, ~outside])
    truths = [evidence_of(scaled, store, "log_g").variants[name].truth for name in ("whole", "cropped")]
    assert np.array_equal(*truths)


def test_less_is_known_of_cropped_stars_and_estimators_are_given_no_more(cropped):
    scaled, store, _ = cropped
    whole, cut = (
        Posteriors.read(RunFolder.open(store.folder_of(scaled.variant(name).yardstick)))
        for name in ("whole", "cropped")
    )
    assert cut.of("variance", "log_g").mean() > 1.02 * whole.of("variance", "log_g").mean()
    trial = scaled.variant("cropped").trials[1]
    folder = RunFolder.open(store.folder_of(trial))
    model = trial.choice.spec.load(folder.path / "models" / trial.choice.key)
    stars = scaled.variant("cropped").yardstick.source.draw(0, 16)
    expected = model.predict(stars.flux, stars.sigma).mean[:, 0]
    np.testing.assert_allclose(trial.estimates(folder).of("log_g"), expected, rtol=1e-6)
    assert not np.allclose(
        trial.estimates(folder).of("log_g"),
        evidence_of(scaled, store, "log_g").variants["whole"].estimates[0],
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"factors": {"tested": {"whole": {}, "cropped": {"test": {"span": [9000.0, 8000.0]}}}}},
            "first < last",
        ),
        (
            {"rule": "fisher_error(whole) <= fisher_error(cropped)", "metric": "error"},
            "bounds are those of whole spectra",
        ),
    ],
)
def test_a_span_that_cannot_be_meant_is_refused(tmp_path, changes, told):
    path = study_file(tmp_path, {**CROPPING, **changes})
    with pytest.raises(ConfigError, match=told):
        scaled_studies([read_study(path)], "smoke")


def test_a_span_without_pixels_is_refused(cropped):
    whole = cropped[0].variant("whole").yardstick.source
    with pytest.raises(ConfigError, match=r"span: no pixel lies in 5000-5100 Å; these spectra have 8460\.5"):
        Cropped(whole, 5000.0, 5100.0)
