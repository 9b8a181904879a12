"""Which spectra are meant: files, folders, tables of files and lists on standard input, as one list of inputs.

Looks at names, and at the headings of tables; what a file holds is the business of `specvit.observed`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from specvit.documents.opening import read_bytes
from specvit.errors import ConfigError, DataError, SpecvitError
from specvit.observed import ReadOptions
from specvit.runs.atomic import check_own
from specvit.runs.identity import content_digest

#: Endings of the files that are taken from a folder.
_PLAIN = (".fits", ".fit", ".csv", ".ecsv", ".xml", ".vot", ".txt", ".dat", ".asc", ".ascii")
SPECTRA = (*_PLAIN, *(f"{ending}.gz" for ending in _PLAIN))
#: Endings of what may be a table of files, and what the column of their names is called.
TABLES, PATH_COLUMNS = (".csv", ".ecsv"), ("file", "path", "filename", "spectrum_file")
#: Bytes in which the heading of a table is looked for.
HEADING = 1 << 16
#: Further columns of a table of files -> the option of the same meaning.
COLUMNS = {
    **dict.fromkeys(("id", "name", "star"), "name"),
    **dict.fromkeys(("format", "form"), "form"),
    **dict.fromkeys(("resolution", "r"), "resolution"),
    **dict.fromkeys(("prior", "priors"), "priors"),
    **{word: word for word in ("medium", "hdu", "unit", "select", "columns")},
}

Priors = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class StarInput:
    """One file to read, and what is known of it beforehand.

    Args:
        path: of the file.
        options: of the readers.
        name: of the star, whatever the file calls it; None leaves the file's.
        priors: label -> (mean, sigma), for this star alone.
        problem: why it cannot be read as its table asks; it is refused with this line.
    """

    path: str
    options: ReadOptions = field(default_factory=ReadOptions)
    name: str | None = None
    priors: Priors = field(default_factory=dict)
    problem: str = ""

    def key(self, recipe: str) -> str:
        """Return what identifies the results of this file: what is asked of it, its size and its time."""
        try:
            found = Path(self.path).stat()
            state: list[int] = [found.st_size, found.st_mtime_ns]
        except OSError:
            state = []
        asked = asdict(self) | {"path": str(Path(self.path).absolute())}
        return content_digest({"asked": asked, "file": state, "recipe": recipe})


def star_inputs(words: Iterable[str], options: ReadOptions, lines: Iterable[str] = ()) -> list[StarInput]:
    """Return the inputs that words of a command line mean.

    Args:
        words: files, folders (of which all spectra are taken), tables of files, or - for `lines`.
        options: of all files; a column of a table counts more.
        lines: standard input, one file a line.

    Raises:
        ConfigError: for an address.
        DataError: for a folder or a table without files.
    """
    found: list[StarInput] = []
    for word in words:
        if word == "-":
            names = [line.strip() for line in lines if line.strip()]
            if not names:
                raise DataError("-: standard input is empty; give one file a line")
            found += [StarInput(name, options) for name in names]
        elif "://" in word:
            raise ConfigError(f"{word}: spectra are read from files; download it first")
        elif Path(word).is_dir():
            found += [StarInput(str(path), options) for path in _spectra_in(Path(word))]
        elif (rows := _table_of_files(Path(word))) is not None:
            found += [_input_of(row, Path(word), number, options) for number, row in enumerate(rows, 1)]
        else:
            found.append(StarInput(word, options))
    return found


def inputs_of_table(table: Path, options: ReadOptions) -> list[tuple[dict[str, str], StarInput]]:
    """Return the rows of a table of files, by columns in lower case, and the input that each means.

    Raises:
        DataError: if it is no table of files.
    """
    rows = _table_of_files(table)
    if rows is None:
        raise DataError(f"{table}: expected a table of files, CSV or ECSV with a column {PATH_COLUMNS[0]}")
    return [(row, _input_of(row, table, number, options)) for number, row in enumerate(rows, 1)]


def parse_prior(text: str, where: str = "--prior") -> tuple[str, tuple[float, float]]:
    """Return label, mean and sigma of 'teff=5777+-50'; ConfigError for anything else."""
    name, _, rest = text.partition("=")
    mean, _, sigma = rest.replace("±", "+-").partition("+-")
    try:
        found = float(mean), float(sigma)
    except ValueError:
        raise ConfigError(f"{where} {text}: expected label=mean+-sigma, as in teff=5777+-50") from None
    if not (math.isfinite(found[0]) and 0 < found[1] < math.inf):
        raise ConfigError(f"{where} {text}: expected a finite mean and a positive sigma, as in teff=5777+-50")
    return name.strip(), found


def parse_columns(text: str, where: str = "--columns") -> dict[str, str]:
    """Return role -> column of 'wavelength=WAVE,flux=FLX'; ConfigError for anything else."""
    pairs = {}
    for word in filter(None, text.replace(";", ",").split(",")):
        role, equals, column = word.partition("=")
        if not equals or not column.strip():
            raise ConfigError(f"{where} {text}: expected role=column, as in wavelength=WAVE,flux=FLX")
        pairs[role.strip()] = column.strip()
    return pairs


def parse_windows(text: str) -> list[tuple[float, float]]:
    """Return the windows of '8740:8760' or of a file with one a line, as 'low:high' or 'low high', # before comments.

    Raises:
        ConfigError: for anything else; names the line.
        DataError: if a file cannot be read.
    """
    if not Path(text).is_file():
        return [_window(text, f"--mask {text}", "or the name of a file")]
    content = read_bytes(Path(text), "file of windows", "write one low:high a line")
    found = []
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), 1):
        if words := line.partition("#")[0].strip():
            found.append(_window(":".join(words.replace(",", " ").split()), f"--mask {text}, line {number}"))
    if not found:
        raise ConfigError(f"--mask {text}: a file without windows; write one low:high a line")
    return found


def _window(text: str, where: str, more: str = "") -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        window = float(low), float(high)
    except ValueError:
        window = (0.0, 0.0)
    if not 0 < window[0] < window[1] < math.inf:
        raise ConfigError(f"{where}: expected low:high in Å, as in 8740:8760{more and f', {more}'}")
    return window


def _spectra_in(folder: Path) -> list[Path]:
    inside = sorted(
        path for path in folder.rglob("*") if path.name.lower().endswith(SPECTRA) and path.is_file()
    )
    if not inside:
        raise DataError(f"{folder}: a folder without spectra ({', '.join(_PLAIN)}, also .gz)")
    return inside


def _table_of_files(path: Path) -> list[dict[str, str]] | None:
    """Return the rows of a table of files, None if `path` is none by its name or heading."""
    if not path.name.lower().endswith(TABLES):
        return None
    try:
        with path.open("rb") as stream:
            head = stream.read(HEADING)
    except OSError:
        # Its reader says why.
        return None
    if not set(_table_rows(head, 1)[0]) & set(PATH_COLUMNS):
        return None
    heading, *rows = _table_rows(read_bytes(path, "table of files", "give a table of files"), None)
    if not rows:
        raise DataError(f"{path}: a table of files without a row")
    return [dict(zip(heading, row, strict=False)) for row in rows]


def _table_rows(content: bytes, count: int | None) -> list[list[str]]:
    """Return heading (lower case) and rows of CSV or ECSV, at most `count`; an empty heading if it is neither."""
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    # ECSV is CSV below comments, its delimiter a blank or a comma.
    body = [line for line in lines if line.strip() and not line.startswith("#")][:count]
    if not body:
        return [[]]
    delimiter = next((mark for mark in ",;\t" if mark in body[0]), " ")
    rows = list(csv.reader(body, delimiter=delimiter, skipinitialspace=True))
    return [[word.strip().lower() for word in rows[0]], *rows[1:]]


def _input_of(row: Mapping[str, str], table: Path, number: int, options: ReadOptions) -> StarInput:
    """Return the input of a row; a row that cannot be meant is refused when its turn comes, the others go on."""
    name = next((row[key].strip() for key in PATH_COLUMNS if row.get(key)), "")
    # Names are relative to the table, which can then be moved with its spectra.
    path = str(table.parent / name)
    given = {option: row[key].strip() for key, option in COLUMNS.items() if (row.get(key) or "").strip()}
    where = f"{table}, row {number}"
    try:
        if not name:
            raise ConfigError(f"{where}: names no file")
        if "://" in name:
            raise ConfigError(f"{where}: {name}: spectra are read from files; download it first")
        priors = dict(parse_prior(text, f"{where}: prior") for text in given.pop("priors", "").split())
        return StarInput(path, _options(given, options, where), given.get("name"), priors)
    except SpecvitError as error:
        return StarInput(path if name else f"{table}:{number}", options, problem=str(error))


def _options(given: Mapping[str, str], options: ReadOptions, where: str) -> ReadOptions:
    changed: dict[str, Any] = {key: given[key] for key in ("form", "medium", "hdu", "unit") if key in given}
    if "resolution" in given:
        try:
            changed["resolution"] = float(given["resolution"])
        except ValueError:
            raise ConfigError(f"{where}: resolution '{given['resolution']}' is no number") from None
    if "select" in given:
        changed["select"] = tuple(given["select"].split())
    if "columns" in given:
        changed["columns"] = parse_columns(given["columns"], f"{where}: columns")
    try:
        return replace(options, **changed)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def check_output(path: Path, option: str, given: Sequence[str], inputs: Sequence[StarInput]) -> None:
    """Raise if a file to be written is one of those that are read, or was not made by `specvit predict`.

    Args:
        path: to be written.
        option: that named it.
        given: files, folders and tables of the command.
        inputs: the files that they stand for.

    Raises:
        ConfigError: if it is read.
        RunError: if it is somebody else's.
    """
    if path.exists():
        read = {file for file in (*given, *(one.path for one in inputs)) if Path(file).exists()}
        if any(path.samefile(file) for file in read):
            raise ConfigError(f"{option} {path}: is one of the files that are read; choose another name")
    # The columns of every table, and the foot of every page, name the package.
    check_own(path, "specvit", "specvit predict", option)
