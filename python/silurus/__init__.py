# SPDX-License-Identifier: Apache-2.0

"""Silurus for Python: an adaptive spatial index service.

    import silurus

    db = silurus.open()                              # a server beside this process; connect(url) to one that runs
    db.load(ids, boxes)                              # (n,) integers and (n, 4) or (n, 6) floats, minima first
    db.range([2.2, 48.8, 2.4, 48.9])                 # ids in a window: numpy, uint64
    ids, offsets = db.range_v(mins, maxs)            # many windows, in flight together
    ids, distances = db.nearest_v(points, k=10)      # the ten nearest to each point

docs/python.md of the source tells more.
"""
from . import aio, errors
from ._client import Client, Collection, Difference, Got, KeptVersion, View, WriteResult, connect
from ._features import Features
from ._open import open
from ._sindex import SpatialIndex, sindex
from ._silurus import probe
from ._table import Table
from ._tree import LocalTree
from .errors import SilurusError

__version__ = "0.1.0"
__all__ = [
    "Client",
    "Collection",
    "Difference",
    "Features",
    "Got",
    "KeptVersion",
    "LocalTree",
    "SilurusError",
    "SpatialIndex",
    "Table",
    "View",
    "WriteResult",
    "aio",
    "connect",
    "errors",
    "open",
    "probe",
    "sindex",
]
