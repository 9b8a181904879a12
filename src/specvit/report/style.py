"""The look of all pages, type and lines of all figures, and how these are saved. Knows nothing of what they show."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from specvit.runs import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save the enclosed figures in the house style."""
    import matplotlib

    with as_file(files("specvit.report") / "specvit.mplstyle") as path:
        parameters = matplotlib.rc_params_from_file(path, use_default_template=False)
    with matplotlib.rc_context(parameters):
        yield


def style_sheet() -> str:
    """Return the style sheet that every page shares."""
    return (files("specvit.report") / "templates" / "style.css").read_text(encoding="utf-8")


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `folder/NAME.pdf` and `.png` and return their paths."""
    return [write_atomic(folder / f"{name}.{kind}", _render(figure, kind)) for kind in ("pdf", "png")]


def save_png(figure: Figure, path: Path) -> Path:
    """Write one image and return its path."""
    return write_atomic(path, _render(figure, "png"))


def to_pdf(figure: Figure) -> bytes:
    """Return the figure as PDF."""
    return _render(figure, "pdf")


def to_data_uri(figure: Figure) -> str:
    """Return the figure as an SVG image that a page can hold in itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(_render(figure, "svg")).decode()


def _render(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # Dates would make equal figures differ.
    unwanted = {"svg": ("Date", "Creator", "Format", "Type"), "pdf": ("CreationDate",), "png": ()}[kind]
    with house_style():
        figure.savefig(buffer, format=kind, metadata=dict.fromkeys(unwanted))
    return buffer.getvalue()
