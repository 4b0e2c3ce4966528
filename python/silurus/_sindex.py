# SPDX-License-Identifier: Apache-2.0

"""The spatial index of a GeoDataFrame, over a server."""
from __future__ import annotations

from typing import Any, List, Optional, Sequence, Set, Tuple

import numpy as np
from numpy.typing import NDArray

from ._client import Client
from ._open import open as _open

_Positions = NDArray[np.intp]
_PREPARED = {"contains", "contains_properly", "covers", "intersects"}  # shapely's prepared geometries have these


class SpatialIndex:
    """The spatial index protocol of geopandas: query(), query_bulk(), nearest(), intersection(), size, is_empty.

    Entries are positions of geometries, with their bounds; None and empty geometries are left out. Answers are
    positions, as intp. Bounds are searched by the server; predicates are then decided here, by shapely.
    """

    def __init__(self, geometries: NDArray[np.object_], client: Client) -> None:
        self.geometries = geometries
        self.client = client
        bounds = [None if _is_empty(one) else one.bounds for one in geometries]
        positions = np.array([i for i, box in enumerate(bounds) if box is not None], dtype=np.uint64)
        self._size = len(positions)
        if self._size > 0:
            client.load(positions, np.array([box for box in bounds if box is not None], dtype=np.float64))

    @property
    def valid_query_predicates(self) -> Set[Optional[str]]:
        """What query() takes."""
        return {
            None,
            "contains",
            "contains_properly",
            "covered_by",
            "covers",
            "crosses",
            "intersects",
            "overlaps",
            "touches",
            "within",
        }

    def query(self, geometry: Any, predicate: Optional[str] = None, sort: bool = False) -> _Positions:
        """Positions of the geometries whose bounds intersect those of `geometry`, and of which the predicate holds."""
        found: _Positions = self.query_bulk([geometry], predicate, sort)[1]
        return found

    def query_bulk(self, geometry: Any, predicate: Optional[str] = None, sort: bool = False) -> _Positions:
        """The same of many geometries: shape (2, m), positions of inputs and of what they found."""
        if predicate not in self.valid_query_predicates:
            raise ValueError(f"predicate is one of {self.valid_query_predicates}, not {predicate!r}")
        asked = list(geometry)
        whole = [i for i, one in enumerate(asked) if not _is_empty(one)]
        boxes = np.array([asked[i].bounds for i in whole], dtype=np.float64).reshape(-1, 4)
        ids, offsets = self.client.range_v(boxes[:, :2], boxes[:, 2:])
        inputs = np.repeat(np.array(whole, dtype=np.intp), np.diff(offsets))
        found = ids.astype(np.intp)
        if predicate is not None:
            parts: List[NDArray[np.bool_]] = [
                self._decide(asked[one], predicate, found[begin:end])
                for one, begin, end in zip(whole, offsets[:-1], offsets[1:])
            ]
            holds = np.concatenate(parts) if parts else np.zeros(0, dtype=bool)
            inputs, found = inputs[holds], found[holds]
        if sort:
            order = np.lexsort((found, inputs))
            inputs, found = inputs[order], found[order]
        return np.vstack([inputs, found])

    def nearest(
        self,
        geometry: Any,
        return_all: bool = True,
        max_distance: Optional[float] = None,
        return_distance: bool = False,
    ) -> Any:
        """The nearest geometries of each input: shape (2, m), and their distances if return_distance, shape (m,)."""
        # A GeoSeries has types, one for each geometry.
        is_one = isinstance(getattr(geometry, "geom_type", None), str)
        asked = [geometry] if is_one else list(geometry)
        rows: List[Tuple[int, int, float]] = []
        for i, one in enumerate(asked):
            if not _is_empty(one) and self._size > 0:
                rows += [(i, j, distance) for j, distance in self._nearest(one, return_all, max_distance)]
        indices = np.array([row[:2] for row in rows], dtype=np.intp).reshape(-1, 2).T
        if return_distance:
            return indices, np.array([row[2] for row in rows], dtype=np.float64)
        return indices

    def intersection(self, coordinates: Sequence[float]) -> _Positions:
        """Positions of the geometries whose bounds intersect (minx, miny, maxx, maxy), or hold the point (x, y)."""
        box = tuple(coordinates)
        if len(box) not in (2, 4):
            raise TypeError(f"coordinates are (minx, miny, maxx, maxy) or (x, y), not {coordinates!r}")
        return self.client.range(box if len(box) == 4 else box + box).astype(np.intp)

    @property
    def size(self) -> int:
        """How many geometries it has."""
        return self._size

    @property
    def is_empty(self) -> bool:
        """Whether it has none."""
        return self._size == 0

    def __len__(self) -> int:
        return self._size

    def _decide(self, geometry: Any, predicate: str, found: _Positions) -> NDArray[np.bool_]:
        from shapely.prepared import prep

        asked = prep(geometry) if predicate in _PREPARED and len(found) > 1 else geometry
        if predicate == "contains_properly":
            asked = prep(geometry)
        decide = getattr(asked, predicate)
        return np.array([decide(self.geometries[j]) for j in found], dtype=bool)

    def _nearest(self, geometry: Any, return_all: bool, max_distance: Optional[float]) -> List[Tuple[int, float]]:
        # No geometry is nearer than its bounds are, and the one whose bounds are nearest to the middle is no nearer than
        # the nearest: all that can be lies within its distance.
        low, high = np.array(geometry.bounds[:2]), np.array(geometry.bounds[2:])
        first = int(self.client.nearest(((low + high) / 2).tolist())[0][0])
        reach = float(geometry.distance(self.geometries[first]))
        if max_distance is not None:
            reach = min(reach, max_distance)
        grown = np.nextafter(reach, np.inf)
        near = self.client.range([*(low - grown), *(high + grown)])
        distances = [(float(geometry.distance(self.geometries[int(j)])), int(j)) for j in np.sort(near)]
        if max_distance is not None:
            distances = [one for one in distances if one[0] <= max_distance]
        if not distances:
            return []
        least = min(distances)[0]
        nearest = [(j, distance) for distance, j in distances if distance == least]
        return nearest if return_all else nearest[:1]


def _is_empty(geometry: Any) -> bool:
    return geometry is None or not hasattr(geometry, "bounds") or bool(geometry.is_empty)


def sindex(geodataframe: Any, client: Optional[Client] = None) -> SpatialIndex:
    """The spatial index of a GeoDataFrame or a GeoSeries, over a server: geopandas' protocol.

    client: of a server with an empty tree, which then holds the bounds of the geometries; None: of a server that open()
    starts, in memory.
    """
    return SpatialIndex(np.array(geodataframe.geometry.values, dtype=object), client or _open())
