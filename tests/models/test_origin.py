"""What a saved estimator says of its training: typed, frozen, and read back as it was written."""

import json

import pytest
from pydantic import ValidationError

from specvit.documents.records import read_record
from specvit.errors import DataError
from specvit.estimators.pretrained import FOLDER, pretrained_names
from specvit.models import TrainingRecord

RECORD = TrainingRecord(
    train_spectra=100,
    seconds=2.5,
    recipe={"lr": 0.1},
    train={"world": {"library": "builtin"}},
    facts={"run": 7},
)


def test_a_record_survives_its_description():
    assert read_record(TrainingRecord, json.loads(json.dumps(RECORD.to_dict())), "here", "mend") == RECORD
    assert RECORD.to_dict().keys() == {"train_spectra", "seconds", "recipe", "train", "facts"}
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
        ([], "an object"),
    ],
)
def test_what_does_not_fit_is_named(entries, named):
    with pytest.raises(DataError, match=f"here: .*{named}"):
        read_record(TrainingRecord, entries, "here", "mend")
