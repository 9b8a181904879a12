"""A kind of document, read: inheritance, overrides, and messages that name key, file and line."""

from typing import Annotated

import pytest
from pydantic import Field

from specvit.documents import DocumentKind, Format, Section
from specvit.documents.reader import LONGEST_CHAIN
from specvit.errors import ConfigError


class Paint(Section):
    colour: str = "red"
    coats: Annotated[int, Field(ge=1, le=9)] = 1
    mix: dict[str, float] = Field(default_factory=dict)


class Wheel(Section):
    kind: str
    spokes: int


class Wagon(Section):
    version: int = 2
    name: str
    paint: Paint = Paint()
    wheel: Wheel | None = None


def to_two(tables):
    return {("name" if key == "title" else key): value for key, value in tables.items()}


@pytest.fixture
def kind(tmp_path):
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "cart.toml").write_text(
        'name = "cart"\n[paint]\ncoats = 2\n[wheel]\nkind = "solid"\nspokes = 0\n'
    )
    return DocumentKind("wagon", Wagon, folder, Format("version", 2, {1: to_two}), whole=("wheel",))


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_overrides_win_over_file_over_what_it_extends(kind, write):
    write("middle.toml", 'extends = "cart"\n[paint]\ncolour = "blue"\ncoats = 3\n')
    top = write("top.toml", 'extends = "middle.toml"\nname = "top"\n')
    wagon = kind.read(top, ["paint.coats=4", "paint.coats=5"]).value
    assert (wagon.name, wagon.paint.colour, wagon.paint.coats) == ("top", "blue", 5)
    assert wagon.wheel.kind == "solid"


def test_the_base_lies_below_a_file_unless_it_extends_a_preset(kind, write):
    (kind.presets / "sledge.toml").write_text('name = "sledge"\n[paint]\ncolour = "white"\n')
    plain = write("plain.toml", "[paint]\ncoats = 7\n")
    assert kind.read(plain, base="sledge").value.paint.model_dump() == {
        "colour": "white",
        "coats": 7,
        "mix": {},
    }
    extending = write("extending.toml", 'extends = "cart"\n')
    assert kind.read(extending, base="sledge").value.paint.colour == "red"
    with pytest.raises(ConfigError, match=r"wagon 'sled' is not known; .*did you mean 'sledge'"):
        kind.read(extending, base="sled")


def test_a_file_replaces_whole_tables_and_an_override_one_key(kind, write):
    path = write("a.toml", 'extends = "cart"\n[wheel]\nkind = "spoked"\n')
    with pytest.raises(ConfigError, match=r"wheel\.spokes: is missing \(.*a\.toml:2\)"):
        kind.read(path)
    assert kind.read(path, ["wheel.spokes=8"]).value.wheel.model_dump() == {"kind": "spoked", "spokes": 8}


def test_each_layer_is_migrated_by_itself(kind, write):
    write("old.toml", 'version = 1\ntitle = "old"\n')
    assert kind.read(write("new.toml", 'version = 2\nextends = "old.toml"\n')).value.name == "old"
    with pytest.raises(
        ConfigError, match=r"version: .*got 3: pip install --upgrade specvit \(.*newer\.toml:2\)"
    ):
        kind.read(write("newer.toml", '\nversion = 3\nname = "x"\n'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\n[paint]\n\ncolor = "x"\n', r"paint\.color: unknown key; did you mean 'colour'\? \(.*a\.toml:4\)"),
        ('name = "a"\ncoats = 2\n', r"coats: unknown key; did you mean 'paint\.coats'\? \(.*:2\)"),
        ('name = "a"\n[paint]\ncoats = 10\n', r"paint\.coats: .*less than or equal to 9, got 10 \(.*:3\)"),
        ('name = "a"\npaint = 5\n', r"paint: expected a table, got 5 \(.*:2\)"),
        ('name = "a"\npaint.mix = { x = nan }\n', r"paint\.mix\.x: .*finite number, got nan \(.*:2\)"),
        ('nmae = "a"\n', r"nmae: unknown key; did you mean 'name'\? \(.*:1\)"),
        ('name = "a"\nextend = "cart"\n', r"extend: unknown key; did you mean 'extends'\?"),
        ('extends = 5\n', r"extends: expected the name of a preset or the path of a \.toml file, got 5 \(.*:1\)"),
        ('extends = "crat"\n', r"extends: wagon 'crat' is not known; .*did you mean 'cart'\? \(.*:1\)"),
        ('extends = "b.toml"\n', r"extends: wagon file b\.toml does not exist \(.*:1\)"),
        ('"a\\nb\\u001b" = 1\n', r"'a\\nb\\x1b': unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line_naming_key_and_place(kind, write, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        kind.read(write("a.toml", text))
    assert str(caught.value).isprintable()


def test_what_is_wrong_is_blamed_on_the_layer_that_set_it(kind, write):
    write("below.toml", 'name = "b"\n[paint]\ncoats = 99\n')
    top = write("top.toml", 'extends = "below.toml"\n[paint]\ncolour = "blue"\n')
    with pytest.raises(ConfigError, match=r"paint\.coats: .*below\.toml:3\)"):
        kind.read(top)
    with pytest.raises(ConfigError, match=r"paint\.coats: .*got 'many' \(--set paint\.coats=many\)"):
        kind.read(top, ["paint.coats=many"])


def test_endless_extension_is_refused(kind, write):
    path = write("a.toml", 'extends = "b.toml"\n')
    write("b.toml", '\nextends = "a.toml"\n')
    with pytest.raises(ConfigError, match=r"extends: a file cannot extend itself.*b\.toml:2"):
        kind.read(path)
    for k in range(LONGEST_CHAIN + 1):
        write(f"{k}.toml", f'extends = "{k + 1}.toml"\n')
    write(f"{LONGEST_CHAIN + 1}.toml", 'name = "deep"\n')
    with pytest.raises(ConfigError, match=f"extends: more than {LONGEST_CHAIN} files"):
        kind.read(kind.find(str(path.with_name("0.toml"))))
    assert kind.read(path.with_name("2.toml")).value.name == "deep"


def test_the_folder_of_a_key_is_that_of_the_file_that_set_it(kind, write):
    path = write("a.toml", 'extends = "cart"\nname = "a"\n')
    document = kind.read(path, ["paint.coats=4"])
    assert document.folder_of("wheel") == kind.presets
    assert document.folder_of("name") == path.parent
    assert document.folder_of("version") is None
