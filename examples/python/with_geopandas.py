# SPDX-License-Identifier: Apache-2.0

"""Which points lie in which polygons, by geopandas and a server.

    python3 examples/python/with_geopandas.py
"""
import geopandas
import numpy as np
from shapely.geometry import Point

import silurus

random = np.random.default_rng(seed=1)
circles = geopandas.GeoSeries([Point(x, y).buffer(0.05) for x, y in random.random((100, 2))])
points = geopandas.GeoSeries([Point(x, y) for x, y in random.random((1000, 2))])

index = silurus.sindex(circles)  # over a server that is started for it
inputs, found = index.query_bulk(points, predicate="within", sort=True)
print(f"{len(np.unique(inputs))} points lie in circles; point {inputs[0]} in circle {found[0]}")

indices, distances = index.nearest(points[:5], return_distance=True)
print("nearest circles of the first five:", indices[1], distances.round(3))
