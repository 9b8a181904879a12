"""Where links of the hub lead, seen from the page that holds them."""

from __future__ import annotations

from collections.abc import Callable

#: From a link's target, see `specvit.report.phrase.Link`, to an address; '' where there is nothing to lead to.
Address = Callable[[str], str]


def addresses_from(depth: int, ending: str, files: str = "") -> Address:
    """Return the addresses of a page `depth` folders below the first, whose pages end in `ending`.

    Args:
        files: from the first page to the folder in which files lie, e.g. "../".
    """

    def address(to: str) -> str:
        page, hash_, anchor = to.partition("#")
        if not page:
            return to
        is_file = "." in page.rpartition("/")[2]
        return "../" * depth + (f"{files}{page}" if is_file else f"{page}{ending}") + hash_ + anchor

    return address
