# SPDX-License-Identifier: Apache-2.0

"""The tree of a server, in this process."""
from __future__ import annotations

from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _silurus
from ._arrays import to_boxes, to_ids, to_points
from ._display import card, numbers, svg_of_boxes


class LocalTree:
    """An R-tree in this process, without a server; nothing is kept when it is gone.

    Boxes, ids and distances are those of Client. Batches release the GIL. Threads may share a tree.
    """

    def __init__(self, dimensions: int = 2) -> None:
        if dimensions not in (2, 3):
            raise ValueError(f"a tree has 2 or 3 dimensions, not {dimensions}")
        self._core: Union[_silurus.Tree2, _silurus.Tree3] = _silurus.Tree2() if dimensions == 2 else _silurus.Tree3()
        self._dimensions = dimensions

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return self._dimensions

    def load(self, ids: ArrayLike, boxes: ArrayLike, fill: float = 0.0) -> int:
        """Builds the tree of all these entries; returns its version. ConflictError unless it is empty."""
        return self._core.load(to_ids(ids), to_boxes(boxes, self._dimensions), fill)

    def insert_v(self, ids: ArrayLike, boxes: ArrayLike) -> None:
        """Adds entries. ids: shape (n,); boxes: (n, 2 * dimensions), or points (n, dimensions)."""
        self._core.insert_v(to_ids(ids), to_boxes(boxes, self._dimensions))

    def range(self, box: Sequence[float], predicate: str = "intersects") -> NDArray[np.uint64]:
        """As Client.range()."""
        return self._core.range(box, predicate)

    def range_v(
        self, mins: ArrayLike, maxs: ArrayLike, predicate: str = "intersects"
    ) -> Tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """As Client.range_v()."""
        d = self._dimensions
        return self._core.range_v(to_points(mins, d, "mins"), to_points(maxs, d, "maxs"), predicate)

    def nearest_v(self, points: ArrayLike, k: int = 1) -> Tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """As Client.nearest_v()."""
        return self._core.nearest_v(to_points(points, self._dimensions), k)

    @property
    def bounds(self) -> Optional[List[float]]:
        """The least box that holds all entries, minima first; None if there are none."""
        return self._core.bounds()

    @property
    def version(self) -> int:
        """Counts changes that searches have seen."""
        return self._core.version()

    def __len__(self) -> int:
        return self._core.size()

    def __bool__(self) -> bool:
        return True  # also if it is empty

    def _describe(self) -> str:
        box = self.bounds
        bounds = "no bounds" if box is None else f"bounds {numbers(box)}"
        return f"{len(self)} entries, {bounds}, version {self.version}"

    def __repr__(self) -> str:
        return f"<silurus.LocalTree: {self._describe()}>"

    def _repr_html_(self) -> str:
        leaves = [bounds for _, _, bounds in self._core.leaves()[:2000]]
        boxes = np.array(leaves, dtype=np.float64).reshape(-1, 2 * self._dimensions)
        return card([self._describe()], svg_of_boxes(boxes, self._dimensions), f"boxes of {len(leaves)} leaves")
