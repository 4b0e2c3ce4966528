# SPDX-License-Identifier: Apache-2.0

"""Entries as a table that other libraries take."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _silurus
from ._arrays import to_boxes, to_ids


class Table:
    """Entries: ids, uint64, shape (n,), and boxes, float64, shape (n, 2 * dimensions).

    Whatever takes Arrow's streams takes it (`__arrow_c_stream__`), without pyarrow: pyarrow.table(table),
    polars.DataFrame(table), duckdb, pandas 3. Columns: id, xmin, ymin, xmax, ymax; in three dimensions id, xmin, ymin,
    zmin, xmax, ymax, zmax.
    """

    def __init__(self, ids: ArrayLike, boxes: ArrayLike, dimensions: int = 2) -> None:
        if dimensions not in (2, 3):
            raise ValueError(f"boxes have 2 or 3 dimensions, not {dimensions}")
        self._ids = to_ids(ids)
        self._boxes = to_boxes(boxes, dimensions)
        if len(self._ids) != len(self._boxes):
            raise ValueError(f"there are {len(self._ids)} ids and {len(self._boxes)} boxes")
        self._dimensions = dimensions

    @property
    def ids(self) -> NDArray[np.uint64]:
        """Shape (n,)."""
        return self._ids

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Shape (n, 2 * dimensions), minima first."""
        return self._boxes

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return self._dimensions

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """A capsule of an ArrowArrayStream of one batch. A schema that is asked for is not looked at."""
        return _silurus.arrow_stream(self._ids, self._boxes)

    def __arrow_c_schema__(self) -> Any:
        """A capsule of the stream's ArrowSchema."""
        return _silurus.arrow_schema(self._dimensions)

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"<silurus.Table: {len(self)} entries, {self._dimensions} dimensions>"
