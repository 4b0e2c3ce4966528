# SPDX-License-Identifier: Apache-2.0

"""Boxes of a numpy array, asked in batches.

    python3 examples/python/with_numpy.py
"""
import numpy as np

import silurus

random = np.random.default_rng(seed=1)
corners = random.random((100_000, 2))
boxes = np.hstack([corners, corners + 0.001])

with silurus.open() as db:  # a server beside this process, in memory
    db.load(np.arange(len(boxes)), boxes)

    # One window, and the three nearest to a point.
    ids = db.range([0.50, 0.50, 0.51, 0.51])
    print(f"{len(ids)} boxes in the window")
    ids, distances = db.nearest([0.5, 0.5], k=3)
    print("nearest:", ids, distances)

    # Many windows at once: those of window i are ids[offsets[i]:offsets[i + 1]].
    mins = random.random((10_000, 2))
    ids, offsets = db.range_v(mins, mins + 0.01)
    print(f"{len(ids)} boxes in {len(mins)} windows, {np.diff(offsets).max()} at most in one")

    # Many points at once.
    ids, distances = db.nearest_v(random.random((10_000, 2)), k=10)
    print(f"the tenth nearest is {distances[:, 9].mean():.4f} away, on average")
