# SPDX-License-Identifier: Apache-2.0

"""A drop-in for python3-rtree 1.0, over the R-tree of Silurus instead of libspatialindex.

    from silurus.rtree import index                  # instead of: from rtree import index

    silurus.rtree.install()                          # before geopandas or others import rtree

Indexes are in memory, of 2 or 3 dimensions. docs/python.md of the source tells what differs.
"""
import sys

from . import core, exceptions, index
from .index import Index, Rtree

__version__ = "1.0.1"
__all__ = ["Index", "Rtree", "core", "exceptions", "index", "install"]


def install() -> None:
    """Has `import rtree`, from now on and in this process, import this package."""
    sys.modules["rtree"] = sys.modules[__name__]
    for name in ("core", "exceptions", "index"):
        sys.modules[f"rtree.{name}"] = sys.modules[f"{__name__}.{name}"]
