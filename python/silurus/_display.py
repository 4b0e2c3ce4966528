# SPDX-License-Identifier: Apache-2.0

"""How clients and trees show themselves in notebooks."""
from __future__ import annotations

import html
from typing import Any, Iterable, Optional, Sequence

import numpy as np
from numpy.typing import NDArray

_WIDTH = 360.0


def svg_of_boxes(boxes: NDArray[np.float64], dimensions: int) -> str:
    """A map of boxes, of the shape (n, 2 * dimensions), by their first two dimensions."""
    if len(boxes) == 0:
        return ""
    low = boxes[:, :2]
    high = boxes[:, dimensions : dimensions + 2]
    least = low.min(axis=0)
    extent = high.max(axis=0) - least
    extent[extent <= 0] = 1.0
    height = float(np.clip(_WIDTH * extent[1] / extent[0], 60, 480))
    scale = np.array([_WIDTH / extent[0], height / extent[1]])
    at = (low - least) * scale
    size = np.maximum((high - low) * scale, 1.0)
    rects = "".join(
        f'<rect x="{x:.1f}" y="{height - y - h:.1f}" width="{w:.1f}" height="{h:.1f}"/>'
        for (x, y), (w, h) in zip(at.tolist(), size.tolist())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 2:.0f}" height="{height + 2:.0f}" '
        f'viewBox="-1 -1 {_WIDTH + 2:.1f} {height + 2:.1f}">'
        f'<g fill="#1f77b4" fill-opacity="0.15" stroke="#1f77b4" stroke-width="0.5">{rects}</g></svg>'
    )


def card(lines: Iterable[str], picture: str, caption: Optional[str]) -> str:
    """HTML of some lines, a picture and what is seen there."""
    text = "<br>".join(html.escape(line) for line in lines)
    below = f"<div><small>{html.escape(caption)}</small></div>" if picture and caption else ""
    return f"<div>{text}</div>{picture}{below}"


def numbers(values: Sequence[Any]) -> str:
    """A box, short."""
    return "[" + ", ".join(f"{float(value):.6g}" for value in values) + "]"
