"""The emulator inside an estimator: what it may be asked, and how it is packed into the saved bundle.

A saved template fit works alone: it needs no library and no instrument file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specvit.errors import LabelError
from specvit.library import Emulator
from specvit.library.regressor import CoefficientNetwork
from specvit.models.bundle import Bundle, Origin, save_bundle
from specvit.spectra import LabelSpace

_PREFIX = "emulator."


def check_origin(origin: Origin, emulator: Emulator, who: str) -> None:
    """Raise unless pixels and labels of the training set are those of the emulator.

    Raises:
        WavelengthRangeError: if the emulator is on other pixels.
        LabelError: if the labels are others.
        DomainError: if the box of the labels reaches outside the emulator's domain; names the label.
    """
    origin.grid.check_matches(emulator.grid, f"{who}: the emulator")
    box, domain = origin.label_space, emulator.label_space
    if box.names != domain.names:
        raise LabelError(
            f"{who}: expected the emulator's labels {', '.join(domain.names)}, got {', '.join(box.names)}"
        )
    domain.check(torch.tensor([box.low, box.high], dtype=torch.float64), f"{who}: box of the labels")


def save_with_emulator(
    name: str, origin: Origin, options: dict[str, Any], emulator: Emulator, folder: Path
) -> None:
    """Write a bundle of options and emulator into `folder`, all or nothing."""
    description = {
        "regressor": emulator.regressor.to_dict(),
        "resolution": emulator.resolution,
        "domain": emulator.label_space.to_dict(),
        "provenance": emulator.provenance,
        "errors": emulator.errors,
    }
    tensors: dict[str, Tensor] = {_PREFIX + key: value for key, value in emulator.state_dict().items()}
    save_bundle(Bundle(name, origin, {"options": options, "emulator": description}, tensors), folder)


def emulator_of(bundle: Bundle) -> Emulator:
    """Return the emulator saved in a bundle, on the bundle's pixels."""
    description = bundle.settings["emulator"]
    domain = LabelSpace.from_dict(description["domain"])
    state = {
        key.removeprefix(_PREFIX): value for key, value in bundle.tensors.items() if key.startswith(_PREFIX)
    }
    emulator = Emulator(
        CoefficientNetwork(domain, **description["regressor"]),
        state["mean"],
        state["basis"],
        bundle.origin.grid,
        description["resolution"],
        domain,
        description["provenance"],
        description["errors"],
    )
    emulator.load_state_dict(state)
    return emulator.requires_grad_(False).eval()
