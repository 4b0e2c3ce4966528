# SPDX-License-Identifier: Apache-2.0

"""What programs look for in rtree.core: the exception, and which functions the library below has, none of which are here."""
from .exceptions import RTreeError

__all__ = ["RTreeError", "rt"]


class _NoLibrary:
    """Stands for the handle of libspatialindex."""


rt = _NoLibrary()
