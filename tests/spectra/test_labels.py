import numpy as np
import pytest
import torch

from specvit.documents.records import read_record
from specvit.errors import DomainError, LabelError
from specvit.spectra import LOW_T_BOX, LabelSpace


def test_labels_on_the_bounds_are_inside():
    LOW_T_BOX.check(torch.tensor([LOW_T_BOX.low, LOW_T_BOX.high], dtype=torch.float32))


@pytest.mark.parametrize("name", LOW_T_BOX.names)
def test_a_label_out_of_bounds_is_named(name):
    labels = (np.array(LOW_T_BOX.low) + np.array(LOW_T_BOX.high)) / 2
    labels[LOW_T_BOX.index(name)] = LOW_T_BOX.high[LOW_T_BOX.index(name)] * 1.1 + 0.1
    with pytest.raises(DomainError, match=f"{name} = "):
        LOW_T_BOX.check(labels)


def test_non_finite_and_wrong_shapes_are_refused():
    with pytest.raises(LabelError, match="log_g is not finite in row 1"):
        LOW_T_BOX.check(np.array([[5000, 3, 0, 0, 0], [5000, np.nan, 0, 0, 0]], dtype=float))
    with pytest.raises(LabelError, match="expected 5 labels"):
        LOW_T_BOX.check(np.zeros((2, 3)))


def test_select_replace_and_round_trip():
    box = LOW_T_BOX.select(["log_g", "teff"]).replace(log_g=(1, 3))
    assert box.names == ("log_g", "teff")
    assert box.high == (3.0, 6000.0)
    assert read_record(LabelSpace, box.to_dict(), "here", "mend") == box
    with pytest.raises(LabelError, match="known labels are teff"):
        LOW_T_BOX.index("logg")
    with pytest.raises(LabelError, match="not below"):
        LOW_T_BOX.replace(log_g=(3, 3))
