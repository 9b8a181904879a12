"""What a saved estimator says of its training: typed, frozen, and read back as it was written."""

import json
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from specvit.documents.records import read_record
from specvit.errors import DataError
from specvit.estimators.pretrained import FOLDER, pretrained_names
from specvit.models import TrainingRecord
from specvit.models.origin import Origin, snr_range
from specvit.simulate import World
from specvit.spectra import LOW_T_BOX, MemorySource, SpectraBatch, WavelengthGrid

RECORD = TrainingRecord(
    train_spectra=100,
    seconds=2.5,
    recipe={"lr": 0.1},
    train={"world": {"library": "builtin"}},
    facts={"run": 7},
    snr=(2.5, 18.0),
)


def test_a_record_survives_its_description():
    assert read_record(TrainingRecord, json.loads(json.dumps(RECORD.to_dict())), "here", "mend") == RECORD
    assert RECORD.to_dict().keys() == {"train_spectra", "seconds", "recipe", "train", "facts", "snr"}
    assert RECORD.to_dict()["snr"] == [2.5, 18.0]
    assert (RECORD.world, TrainingRecord().world) == ({"library": "builtin"}, None)


@pytest.mark.parametrize("name", pretrained_names())
def test_the_records_that_come_with_specvit_lose_nothing(name):
    stored = json.loads((FOLDER / name / "manifest.json").read_text())["training"]
    record = read_record(TrainingRecord, stored, name, "mend")
    assert record.to_dict() == stored
    assert record.facts == {}


def test_entries_are_replaced_and_checked():
    assert RECORD.with_entries({"seconds": 3.0, "device": "cpu"}).seconds == 3.0
    assert RECORD.with_entries({}).train_spectra == 100
    with pytest.raises(ValidationError, match="stepz"):
        RECORD.with_entries({"stepz": 3})
    with pytest.raises(ValidationError, match="frozen"):
        RECORD.seconds = 1.0


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"seconds": "5"}, "'seconds'"),
        ({"steps": -1}, "'steps'"),
        ({"train": {"world": 7}}, "'train'"),
        ({"validation_r2": float("nan")}, "'validation_r2'"),
        ({"speed": 1}, "'speed'"),
        ({"snr": [5.0, 2.0]}, "5 is above 2"),
        ({"snr": [0.0, 2.0]}, "'snr.0'"),
        ([], "an object"),
    ],
)
def test_what_does_not_fit_is_named(entries, named):
    with pytest.raises(DataError, match=f"here: .*{named}"):
        read_record(TrainingRecord, entries, "here", "mend")


def test_the_purpose_says_frame_medium_snr_prior_and_bounds():
    grid, space = WavelengthGrid.linear(8000, 1.0, 96), LOW_T_BOX.select(["log_g", "teff"])
    training = RECORD.with_entries({"train": {"world": {"prior": "lattice"}}})
    assert Origin(grid, space, training).purpose == (
        "spectra in the rest frame, 96 pixels, 8000.00-8095.00 Å (vacuum), S/N 2.5 to 18 per pixel, of stars like its "
        "training's: prior lattice, log_g 1 to 5 dex, teff 3750 to 6000 K"
    )
    # What was not recorded is not made up.
    assert "S/N" not in Origin(grid, space).purpose
    assert "prior" not in Origin(grid, space).purpose


def test_the_range_of_snr_is_that_of_spectra_that_have_one():
    def batch(snr):
        return SpectraBatch(torch.ones(3, 2), torch.ones(3, 2), None, {}, snr)

    assert snr_range(batch(torch.tensor([3.0, 2.0, 8.0]))) == (2.0, 8.0)
    assert snr_range(batch(torch.tensor([3.0, torch.inf, 8.0]))) == (3.0, 8.0)
    assert snr_range(batch(torch.full((3,), torch.inf))) is None
    assert snr_range(batch(None)) is None


def test_a_domain_is_learnt_once_for_the_same_spectra_and_anew_for_others():
    """What is the same is decided by spectra too: a source of a user's own may say anything of itself."""
    world = World(instrument="gaia_rvs").build()
    validation = world.source("validation", 3, 60)
    first = Origin.of(world.source("train", 3, 90), validation).domain
    assert Origin.of(world.source("train", 3, 90), world.source("validation", 3, 60)).domain is first
    batch = world.source("train", 3, 90, truth=True).draw(0, 90)
    for other in (
        Origin.of(world.source("train", 4, 90), validation),
        Origin.of(world.source("train", 3, 91), validation),
        Origin.of(world.source("train", 3, 90), world.source("validation", 4, 60)),
        Origin.of(MemorySource(batch, world.grid, world.prior.label_space), validation),
    ):
        assert other.domain is not None
        assert other.domain is not first
    liars = [
        Liar(replace(batch, **{name: values}), world.grid, world.prior.label_space)
        for name, values in (
            ("flux", batch.flux),
            ("flux", batch.flux.flip(1)),
            ("sigma", 2 * batch.sigma),
            ("truth", None),
        )
    ]
    domains = [Origin.of(liar, validation).domain for liar in liars]
    assert domains[3] is None
    assert len({id(domain) for domain in domains}) == 4


class Liar(MemorySource):
    """Says the same of all spectra."""

    @property
    def provenance(self):
        return {"identity": "mine"}
