"""Documents of an older format are brought to today's, step by step; newer ones are refused."""

import pytest

from specvit.documents import Format
from specvit.errors import ConfigError

STEPS = {
    1: lambda tables: {**tables, "path": [*tables["path"], "1to2"]},
    2: lambda tables: {**tables, "path": [*tables["path"], "2to3"]},
}


def test_migrations_run_in_order_from_the_stated_version():
    form = Format("version", 3, STEPS)
    assert form.migrate({"version": 1, "path": []}, "f") == {"version": 3, "path": ["1to2", "2to3"]}
    assert form.migrate({"version": 2, "path": []}, "f")["path"] == ["2to3"]
    assert form.migrate({"path": []}, "f") == {"path": []}


@pytest.mark.parametrize(
    ("version", "expected"), [(99, "upgrade"), (0, "from 1 to"), ("1", "from 1 to"), (True, "from 1 to")]
)
def test_versions_that_cannot_be_read_are_refused(version, expected):
    with pytest.raises(ConfigError, match=rf"version: .*{expected}.*\(old\.toml\)"):
        Format("version", 3, STEPS).migrate({"version": version}, "old.toml")


def test_a_version_without_a_migration_is_refused():
    with pytest.raises(ConfigError, match="no longer read"):
        Format("version", 3, {2: dict}).migrate({"version": 1}, "old.toml")
