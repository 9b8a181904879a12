"""Readers of other people's synthetic libraries: BOSZ 2017, BOSZ 2024, pfsspec grids -> SyntheticLibrary."""

from specvit.library.importers.bosz2017 import import_bosz2017
from specvit.library.importers.bosz2024 import import_bosz2024
from specvit.library.importers.pfsspec import import_pfsspec
from specvit.library.importers.window import LibraryWindow

__all__ = ["LibraryWindow", "import_bosz2017", "import_bosz2024", "import_pfsspec"]
