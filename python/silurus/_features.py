# SPDX-License-Identifier: Apache-2.0

"""Geometries and properties of entries, as users have them and as the library takes them."""
from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from . import _silurus


class Features(NamedTuple):
    """Entries with their records. With GeoPandas:

    geopandas.GeoDataFrame(pandas.DataFrame(list(found.properties), index=found.ids), geometry=shapely.from_wkb(found.geometries))
    """

    ids: NDArray[np.uint64]  #: shape (m,)
    boxes: NDArray[np.float64]  #: shape (m, 2 * dimensions)
    versions: NDArray[np.uint64]  #: in which each was written last: shape (m,)
    geometries: List[Optional[bytes]]  #: well-known binary; None where an entry has none
    properties: List[Optional[Dict[str, Any]]]  #: None where an entry has none
    missing: NDArray[np.uint64]  #: ids asked for of which there is no entry
    version: int  #: that all of them are of


def to_features(found: Any) -> Features:
    """What the library found."""
    ids, boxes, versions, geometries, properties, missing, version = found
    read = [None if text is None else json.loads(text) for text in properties]
    return Features(ids, boxes, versions, geometries, read, missing, version)


def to_wkb(geometry: Any) -> bytes:
    """A geometry as well-known binary; b"" of None."""
    if geometry is None:
        return b""
    if isinstance(geometry, (bytes, bytearray, memoryview)):
        return bytes(geometry)
    if isinstance(geometry, str):
        return _silurus.geometry_of_text(geometry)
    wkb = getattr(geometry, "wkb", None)
    if isinstance(wkb, bytes):
        return wkb
    if isinstance(geometry, dict):
        return _silurus.geometry_of_text(json.dumps(geometry))
    if hasattr(geometry, "__geo_interface__"):
        return _silurus.geometry_of_text(json.dumps(geometry.__geo_interface__))
    raise TypeError(f"a geometry is shapely's, WKB, WKT or a dict of GeoJSON, not {type(geometry).__name__}")


def to_properties(properties: Any) -> str:
    """Properties as the text of a JSON object; "" of None."""
    if properties is None:
        return ""
    return json.dumps(dict(properties), allow_nan=False, separators=(",", ":"))


def to_records(geometries: Sequence[Any], properties: Optional[Sequence[Any]]) -> Tuple[List[bytes], List[str]]:
    """The same of many entries, whose properties may all be missing."""
    wkbs = [to_wkb(one) for one in geometries]
    texts = [""] * len(wkbs) if properties is None else [to_properties(one) for one in properties]
    return wkbs, texts
