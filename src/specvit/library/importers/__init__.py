"""Readers of other people's synthetic libraries -> SyntheticLibrary: BOSZ, PHOENIX, MARCS, Kurucz/Castelli, pfsspec."""

from specvit.library.importers.bosz2017 import import_bosz2017
from specvit.library.importers.bosz2024 import import_bosz2024
from specvit.library.importers.castelli import import_castelli
from specvit.library.importers.marcs import import_marcs
from specvit.library.importers.pfsspec import import_pfsspec
from specvit.library.importers.phoenix import import_phoenix
from specvit.library.importers.window import LibraryWindow

__all__ = [
    "LibraryWindow",
    "import_bosz2017",
    "import_bosz2024",
    "import_castelli",
    "import_marcs",
    "import_pfsspec",
    "import_phoenix",
]
