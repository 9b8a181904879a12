"""What a name in a job stands for: an estimator fitted in it, one that comes trained, a saved one, or your own.

ridge              fitted in the job
mlp-nano           a network of a named size, trained in the job
subspace           a network that comes trained, used as it is
runs/mine/model    the folder of any saved estimator, used as it is
package.mod:Class  a class of yours that keeps the protocol of `specvit.models.Estimator`
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from specvit.errors import ConfigError, DataError
from specvit.estimators.own import own_spec
from specvit.estimators.pretrained import find_bundle, pretrained_names
from specvit.estimators.spec import EstimatorSpec
from specvit.estimators.table import NETWORK, TABLE
from specvit.models.bundle import load_bundle
from specvit.models.protocol import Estimator


@dataclass(frozen=True)
class Choice:
    """An estimator that a job was asked for.

    Args:
        name: as it was asked for.
        key: what files and tables call it.
        spec: its row in the table.
        title: what a reader calls it.
        size: of a network to be trained; "" for all others.
        folder: of a saved one; None for one that is fitted in the job.
        source: file of a class of your own, else None.
    """

    name: str
    key: str
    spec: EstimatorSpec
    title: str
    size: str = ""
    folder: Path | None = None
    source: Path | None = None
    # A list, because the record is frozen.
    _loaded: list[Estimator] = field(default_factory=list, repr=False, compare=False)

    @property
    def is_own(self) -> bool:
        """Whether it is a class of the user's."""
        return self.spec.family == "own"

    @property
    def is_fitted_here(self) -> bool:
        """Whether the job fits it."""
        return self.folder is None

    def load(self) -> Any:
        """Return a saved estimator, read once."""
        assert self.folder is not None
        if not self._loaded:
            self._loaded.append(self.spec.load(self.folder))
        return self._loaded[0]


def choose(name: str, key: str = "models.names") -> Choice:
    """Return what a name stands for; messages call it by the `key` that a user gave it under.

    Raises:
        ConfigError: if it is neither an estimator nor the folder of a saved one; names the nearest that is.
        DataError: if the folder was changed or holds an estimator that this specvit does not know.
    """
    model, dash, size = name.partition("-")
    spec = TABLE.get(model)
    if dash and spec is not None and spec.architecture is not None and size in spec.architecture.sizes:
        return Choice(name, name, spec, spec.title_of(size), size)
    if name in pretrained_names():
        return _saved(name, name)
    if name in TABLE and TABLE[name].architecture is None:
        return Choice(name, name, TABLE[name], TABLE[name].title)
    # A path may hold a colon, too.
    if ":" in name and not Path(name).exists():
        return _own(name, key)
    try:
        return _saved(name, Path(name).resolve().name)
    except DataError as error:
        # It is there but damaged: what is wrong with it says more than a hint at spelling.
        if Path(name).exists():
            raise DataError(f"{key}: {error}") from None
        near = difflib.get_close_matches(name, known_names(), 1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose {', '.join(known_names())}"
        raise ConfigError(
            f"{key}: '{name}' is neither an estimator nor the folder of a saved one; {hint}"
        ) from error


def choose_all(names: Sequence[str]) -> list[Choice]:
    """Return what names stand for; ConfigError also if two would share a file."""
    choices = [choose(name) for name in names]
    keys = [choice.key for choice in choices]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"models.names: two estimators would be called '{key}'; rename a folder")
    return choices


def known_names() -> list[str]:
    """Return every name that stands for an estimator without being a path, in the order they are offered."""
    fitted = [name for name, spec in TABLE.items() if spec.architecture is None]
    sized = [
        f"{name}-{size}"
        for name, spec in TABLE.items()
        if spec.architecture is not None
        for size in spec.architecture.sizes
    ]
    return [*fitted, *pretrained_names(), *sized]


def load_estimator(folder: Path | str) -> Any:
    """Read whichever estimator `folder` holds; DataError if it is unknown, changed or incomplete."""
    return spec_of_saved(Path(folder)).load(Path(folder))


def spec_of_saved(folder: Path) -> EstimatorSpec:
    """Return the row of a saved estimator; DataError if the folder holds none that is known."""
    bundle = load_bundle(folder)
    saved_as = bundle.estimator
    if saved_as == NETWORK:
        # Settings are not validated yet: anything may stand there.
        model = bundle.settings.get("network", {}).get("model")
        if isinstance(model, str) and model in TABLE:
            return TABLE[model]
        raise DataError(f"{folder}: a network of an unknown kind, '{model}'; upgrade specvit")
    for spec in TABLE.values():
        if spec.saved_as == saved_as:
            return spec
    known = ", ".join(dict.fromkeys(spec.saved_as for spec in TABLE.values()))
    raise DataError(
        f"{folder}: unknown estimator '{saved_as}'; this specvit knows {known}, and your own by module:Class"
    )


def _saved(name: str, key: str) -> Choice:
    folder = find_bundle(name)
    spec = spec_of_saved(folder)
    # One that comes trained is the network of its name; a folder tells which of several it is.
    title = spec.title if name in pretrained_names() else f"{spec.title} ({key})"
    return Choice(name, key, spec, title, folder=folder)


def _own(name: str, key: str) -> Choice:
    spec, source = own_spec(name, key)
    return Choice(name, spec.name, spec, spec.title, source=source)
