# SPDX-License-Identifier: Apache-2.0

"""Arrays as the library takes them, from what users have."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_ids(ids: Any) -> NDArray[np.uint64]:
    """Ids as uint64, without a copy if they are that already."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.zeros(0, dtype=np.uint64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"ids are integers, not {array.dtype}")
    if array.dtype.kind == "i" and array.min() < 0:
        raise ValueError("ids are not negative")
    return np.ascontiguousarray(array, dtype=np.uint64)


def to_boxes(boxes: Any, dimensions: int) -> NDArray[np.float64]:
    """Boxes of the shape (n, 2 * dimensions), minima first; points, (n, dimensions), as boxes without extent."""
    array = np.asarray(boxes, dtype=np.float64)
    if array.ndim == 2 and array.shape[1] == dimensions:
        array = np.hstack([array, array])
    if array.ndim != 2 or array.shape[1] != 2 * dimensions:
        if array.size == 0:
            return np.zeros((0, 2 * dimensions))
        raise ValueError(f"boxes have the shape (n, {2 * dimensions}), or points (n, {dimensions}), not {array.shape}")
    return np.ascontiguousarray(array)


def to_points(points: Any, dimensions: int, name: str = "points") -> NDArray[np.float64]:
    """Points of the shape (n, dimensions)."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != dimensions:
        if array.size == 0:
            return np.zeros((0, dimensions))
        raise ValueError(f"{name} have the shape (n, {dimensions}), not {array.shape}")
    return np.ascontiguousarray(array)
