"""The emulator inside an estimator: what it may be asked, and how it is packed into the saved bundle.

A saved template fit works alone: it needs no library and no instrument file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from specvit.documents import Section
from specvit.errors import LabelError
from specvit.library import Emulator
from specvit.library.emulator_record import EmulatorRecord
from specvit.models.bundle import Bundle, StoredBundle, load_bundle, save_bundle
from specvit.models.origin import Origin
from specvit.spectra import LabelSpace

_PREFIX = "emulator."

Options = TypeVar("Options", bound=Section)


class DomainRecord(EmulatorRecord):
    """An emulator on the pixels of its bundle."""

    domain: LabelSpace


class EmulatorSettings(Section, Generic[Options]):
    """The settings of an estimator that works by an emulator."""

    options: Options
    emulator: DomainRecord


def check_origin(origin: Origin, emulator: Emulator, who: str) -> None:
    """Raise unless pixels and labels of the training set are those of the emulator.

    Raises:
        WavelengthRangeError: if the emulator is on other pixels.
        LabelError: if the labels are others.
        DomainError: if the box of the labels reaches outside the emulator's domain, or lies in a hole of it; names
            the label.
    """
    origin.grid.check_matches(emulator.grid, f"{who}: the emulator")
    box, domain = origin.label_space, emulator.label_space
    if box.names != domain.names:
        raise LabelError(
            f"{who}: expected the emulator's labels {', '.join(domain.names)}, got {', '.join(box.names)}"
        )
    domain.check(torch.tensor([box.low, box.high], dtype=torch.float64), f"{who}: box of the labels")
    if emulator.coverage is not None:
        emulator.coverage.cut(box)


def save_with_emulator(
    name: str, origin: Origin, options: dict[str, Any], emulator: Emulator, folder: Path
) -> None:
    """Write a bundle of options and emulator into `folder`, all or nothing."""
    description, tensors = emulator_entries(emulator)
    save_bundle(Bundle(name, origin, {"options": options, "emulator": description}, tensors), folder)


def emulator_entries(emulator: Emulator) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a bundle says of an emulator, a `DomainRecord`, and its tensors."""
    description = {
        "regressor": emulator.regressor.to_dict(),
        "resolution": emulator.resolution,
        "domain": emulator.label_space.to_dict(),
        "provenance": emulator.provenance,
        "errors": emulator.errors,
    }
    if emulator.coverage is not None:
        description["coverage"] = emulator.coverage.to_dict()
    return description, {_PREFIX + key: value for key, value in emulator.state_dict().items()}


def read_emulator(bundle: StoredBundle, record: DomainRecord, who: str) -> Emulator:
    """Return the emulator among the tensors of a bundle, set aside there, on the bundle's pixels.

    Raises:
        DataError: if its entries do not go together, or it is not for the labels of the bundle.
    """
    emulator = Emulator.from_tensors(bundle.tensors.part(_PREFIX), record, record.domain, bundle.origin.grid)
    with bundle.naming_settings():
        check_origin(bundle.origin, emulator, who)
    return emulator


def load_with_emulator(
    folder: Path, name: str, options: type[Options]
) -> tuple[StoredBundle, Options, Emulator]:
    """Return a saved bundle, its options and its emulator, on the bundle's pixels.

    Raises:
        DataError: if the folder was changed, is incomplete, or its entries do not go together.
    """
    bundle = load_bundle(folder, name)
    settings = bundle.settings_as(EmulatorSettings[options])  # type: ignore[valid-type]
    emulator = read_emulator(bundle, settings.emulator, name)
    bundle.tensors.finish()
    return bundle, settings.options, emulator
