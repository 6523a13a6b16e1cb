"""The registry file that numcheck brings along: the regulator's mobile codes, so that a first try needs no download."""

import lzma
from datetime import date
from importlib.resources import files

from numcheck.plan.reading import Source

BUNDLED_DATE = date(2026, 8, 19)
"""The day of the bundled registry; later allotments are not in it."""

FILE_NAME = f"DEF-9xx_{BUNDLED_DATE}.csv"


def bundled_source() -> Source:
    """Return the bundled registry file, as the regulator published it, for read_registry."""
    return FILE_NAME, lzma.decompress(files("numcheck.plan").joinpath("data", f"{FILE_NAME}.xz").read_bytes())
