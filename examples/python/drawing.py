# SPDX-License-Identifier: Apache-2.0

"""Maps as SVG, for the tutorial: no more than it needs."""
import numpy as np


class Picture:
    """An SVG, which notebooks show."""

    def __init__(self, svg):
        self._svg = svg

    def _repr_svg_(self):
        return self._svg


class Map:
    """A map of a window, [xmin, ymin, xmax, ymax], at its true shape in the middle if the numbers are degrees."""

    WIDTH = 640.0

    def __init__(self, window):
        self._low = np.array(window[:2], dtype=float)
        extent = np.array(window[2:]) - self._low
        squeeze = np.cos(np.radians((window[1] + window[3]) / 2))
        self._height = round(self.WIDTH * extent[1] / (extent[0] * squeeze))
        self._scale = np.array([self.WIDTH, self._height]) / extent
        self._parts = []

    def _corners(self, boxes):
        """Left, top, width and height of boxes on the map, a row each."""
        low = (boxes[:, :2] - self._low) * self._scale
        high = (boxes[:, 2:] - self._low) * self._scale
        return np.column_stack([low[:, 0], self._height - high[:, 1], high - low])

    def fill(self, boxes, colours):
        """Boxes, each with a colour: (n, 3) numbers from 0 to 1."""
        order = np.lexsort((boxes[:, 0], boxes[:, 1]))
        for (x, y, w, h), (r, g, b) in zip(self._corners(boxes[order]), np.rint(colours[order] * 255).astype(int)):
            self._parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{w + 0.3:.1f}" height="{h + 0.3:.1f}" fill="#{r:02x}{g:02x}{b:02x}"/>'
            )
        return self

    def outline(self, boxes, colour="#222", width=0.8):
        """The outlines of boxes, to the pixel: of coastlines, whose boxes are small, this is the coast."""
        pixels = np.unique(np.maximum(np.rint(self._corners(boxes)), [-9, -9, 1, 1]).astype(int), axis=0)
        lines = "".join(f"M{x} {y}h{w}v{h}h-{w}z" for x, y, w, h in pixels)
        self._parts.append(f'<path d="{lines}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        return self

    def picture(self):
        body = "\n".join(self._parts)
        return Picture(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.WIDTH:.0f}" height="{self._height}" '
            f'viewBox="0 0 {self.WIDTH:.0f} {self._height}">\n{body}\n</svg>\n'
        )


def between(values, least, most, low, high):
    """Colours of values: from the colour `low`, at `least`, to `high`, at `most`."""
    part = np.clip((values - least) / (most - least), 0, 1)[:, None]
    return np.array(low) * (1 - part) + np.array(high) * part
