import re
import tomllib
from pathlib import Path

import pytest

from specvit.documents import dump_toml
from specvit.errors import ConfigError
from specvit.estimators import choose_all
from specvit.jobs.config import Config, resolve
from specvit.jobs.config.resolve import CONFIGURATION
from specvit.jobs.survey import check_options, check_slices


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "train.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_line_wins_over_file_over_preset_over_default(file):
    path = file("[simulate]\ntrain = 77\nvalidation = 66\n")
    config = resolve("smoke", path, ["simulate.train=55"])
    assert config.simulate.train == 55  # line
    assert config.simulate.validation == 66  # file
    assert config.simulate.test == 400  # preset
    assert config.simulate.seed == Config().simulate.seed  # default


def test_a_file_stands_on_what_it_extends(file, tmp_path):
    (tmp_path / "base.toml").write_text('extends = "smoke"\n[simulate]\ntrain = 77\n', encoding="utf-8")
    config = resolve(
        "laptop", file('extends = "base.toml"\n[limits]\nbayes_stars = 7\n'), ["simulate.test=55"]
    )
    assert (config.simulate.train, config.limits.bayes_stars, config.simulate.test) == (77, 7, 55)
    # Not the laptop's: the chain ends in another preset.
    assert config.simulate.validation == resolve("smoke").simulate.validation
    assert config.models.options == resolve("smoke").models.options


@pytest.mark.parametrize("preset", CONFIGURATION.names())
def test_presets_are_valid_and_named_after_themselves(preset):
    assert resolve(preset).run.name == preset


def test_resolved_configuration_survives_toml():
    config = resolve("smoke", None, ["simulate.bounds.m_h=[-0.25, 0.75]", "library.name='my \"own\" é.h5'"])
    assert Config.model_validate(tomllib.loads(dump_toml(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[simulate]\n\ntrian = 5\n", "simulate.trian: unknown key; did you mean 'train'? (.*train.toml:3)"),
        ("[simlate]\ntrain = 5\n", "simlate: unknown key; did you mean 'simulate'?"),
        ("train = 5\n", "train: unknown key; did you mean 'simulate.train'?"),
        ("[models.networks]\nminuts = 5\n", "did you mean 'minutes'? (.*train.toml:2)"),
        ("[simulate]\ntrain = 3\n", "simulate.train: .*greater than or equal to 10, got 3 (.*:2)"),
        ("[evaluate]\nsnr_edges = [3, 2]\n", "snr_edges: expected increasing numbers.*(.*:2)"),
        ("[simulate.bounds]\nm_h = [1, 0]\n", "m_h: low 1 is not below high 0"),
        ("[models]\nnames = ['ridge', 'ridge']\n", "'ridge' is given twice"),
        ("[models]\nnames = 'ridge'\n", 'expected a list, as in ["one", "two"], got'),
        ("[models]\nnames = []\n", "expected at least 1, got []"),
        (
            "[run]\nname = '../up'\n",
            "run.name: expected letters, digits, '.', '_' and '-', first a letter or digit, got",
        ),
        ("[simulate\n", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_line_naming_key_and_place(file, text, expected):
    import re

    with pytest.raises(ConfigError) as caught:
        resolve("smoke", file(text))
    message = str(caught.value)
    pattern = re.escape(expected).replace(r"\.\*", ".*")
    assert re.search(pattern, message), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("simulate.tran=5", "did you mean 'train'"),
        ("simulate.train", "expected section.key=value"),
        ("=5", "expected section.key=value"),
        ("simulate.train=many", "valid integer"),
        ("simulate=5", "simulate: "),
    ],
)
def test_a_wrong_override_is_named_as_typed(override, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        resolve("smoke", None, [override])
    assert f"--set {override}" in str(caught.value)


def test_bare_words_in_overrides_are_strings():
    assert resolve("smoke", None, ["instrument.name=gaia_rvs"]).instrument.name == "gaia_rvs"


def test_unknown_preset_and_missing_file_are_usage_errors(tmp_path):
    for arguments in (("huge",), ("smoke", tmp_path / "absent.toml")):
        with pytest.raises(ConfigError) as caught:
            resolve(*arguments)
        assert caught.value.exit_code == 2


def test_configuration_cannot_be_changed_after_validation():
    with pytest.raises(ValueError, match="frozen"):
        resolve("smoke").simulate.train = 5


def test_the_run_section_does_not_belong_to_the_science():
    one, two = resolve("smoke"), resolve("smoke", None, ["run.threads=1", "run.name=other"])
    assert one != two
    assert one.science() == two.science()


def test_the_example_of_the_documentation_is_a_configuration(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "survey.md"
    (example,) = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my.toml").write_text(example)
    config = resolve(None, tmp_path / "my.toml")
    check_options(config.models, choose_all([n for n in config.models.names if n != "vit"]))
    assert check_slices(config.evaluate, ("teff", "log_g", "m_h")) == []
