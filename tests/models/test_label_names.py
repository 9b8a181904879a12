"""Labels to estimate, as every estimator takes them."""

import pytest

from specvit import PLS, LightGBM, PCARidge, Ridge, make_estimator
from specvit.errors import LabelError


@pytest.mark.parametrize(
    "make",
    [Ridge, PCARidge, PLS, LightGBM, lambda labels: make_estimator("mlp", "nano", labels=labels)],
)
def test_a_string_is_no_list_of_labels(make):
    with pytest.raises(LabelError, match=r'expected names such as \["log_g"\], got the string "log_g"'):
        make("log_g")
    assert make(["log_g"]) is not None
