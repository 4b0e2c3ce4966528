# SPDX-License-Identifier: Apache-2.0

# %% [markdown]
# # Coastlines and the sea floor from Python
#
# This tutorial loads two data sets that Debian ships into two servers, and asks them from numpy: the world's coastlines
# (`gmt-gshhg-full`, 10.8 million pieces) and the relief of the Earth in cells of five minutes (`ferret-datasets`, 9.3
# million). It is [tutorial.py](../examples/python/tutorial.py), which `scripts/notebook` has run; a test compares what it
# prints and draws. Cells begin with `# %%`, which Jupyter (jupytext), VS Code and Spyder open as a notebook.

# %%
import subprocess

import numpy as np
from drawing import Map, between
from osgeo import gdal

import silurus

# %% [markdown]
# ## A server beside the notebook
#
# `silurus.open()` starts a server that ends with this process. The tool `silurus load` reads files of many formats
# ([data-sets.md](data-sets.md)); `gshhg` stands for the coastlines.

# %%
coast = silurus.open(memory="4G")


def load(db, data, *options):
    subprocess.run(["silurus", "--server", db.url, "load", data, *options], check=True, capture_output=True)
    print(f"{len(db):,} entries")


load(coast, "gshhg")

# %% [markdown]
# ## A window
#
# The Westfjords of Iceland: boxes are `[xmin, ymin, xmax, ymax]`, here in degrees, the longitude first. `entries()` has
# ids and boxes, `range()` the ids alone, `count()` neither.

# %%
westfjords = [-24.7, 65.3, -21.2, 66.6]
ids, boxes = coast.entries(westfjords)
print(f"{coast.count(westfjords):,} pieces of coast, as an array of shape {boxes.shape}")
Map(westfjords).outline(boxes).picture()

# %% [markdown]
# ## Many points at once
#
# How far is it to the coast from each point of a grid? `nearest_v` keeps the searches in flight together. Distances are
# in the unit of the data, here degrees. Dark is far.

# %%
STEP = 0.05
x, y = np.meshgrid(np.arange(-24.7, -21.2, STEP), np.arange(65.3, 66.6, STEP))
points = np.column_stack([x.ravel(), y.ravel()]) + STEP / 2
_, distances = coast.nearest_v(points, k=1)
print(f"{len(points):,} points; the farthest is {distances.max():.2f} degrees from the coast")
cells = np.hstack([points - STEP / 2, points + STEP / 2])
far = between(distances[:, 0], 0, 0.5, (0.95, 0.97, 1.0), (0.15, 0.25, 0.5))
Map(westfjords).fill(cells, far).outline(boxes, width=0.5).picture()

# %% [markdown]
# ## The relief
#
# Cells of a grid in netCDF become boxes, and their ids are their places in the file: `row * columns + column`. So an
# array of the file's values is indexed by the ids that a search finds. This file counts longitudes from 0 to 360:
# nothing is transformed, and so the window is moved.

# %%
RELIEF = "/usr/share/ferret-vis/data/etopo5.cdf"
relief = silurus.open(memory="4G")
load(relief, RELIEF)
gdal.UseExceptions()
file = gdal.OpenEx(RELIEF, gdal.OF_MULTIDIM_RASTER)
heights = file.GetRootGroup().OpenMDArray("ROSE").ReadAsArray().ravel()

# %%
turn = np.array([360, 0, 360, 0])
ids, cells = relief.entries(westfjords + turn)
height = heights[ids]
print(f"{len(ids)} cells, from {height.min():.0f} m to {height.max():.0f} m")
sea = between(height, -400, 0, (0.1, 0.25, 0.5), (0.75, 0.87, 0.95))
land = between(height, 0, 700, (0.75, 0.85, 0.6), (0.5, 0.4, 0.3))
colours = np.where(height[:, None] < 0, sea, land)
Map(westfjords).fill(cells - turn, colours).outline(boxes, width=0.5).picture()

# %% [markdown]
# ## One data set asks the other
#
# Each piece of coast is a window into the relief: `range_v` answers all of them, those of window `i` in
# `ids[offsets[i]:offsets[i + 1]]`.

# %%
ids, offsets = relief.range_v(boxes[:, :2] + turn[:2], boxes[:, 2:] + turn[2:])
print(f"{len(ids):,} pairs of a piece of coast and a cell")
print(f"each piece meets {np.diff(offsets).min()} to {np.diff(offsets).max()} cells")
print(f"the coast lies in {len(np.unique(ids))} cells, of a median height of {np.median(heights[np.unique(ids)]):.0f} m")

# %% [markdown]
# ## On to other libraries
#
# `table()` has ids and boxes as columns for everything that takes Arrow's streams: `pyarrow.table(...)`,
# `polars.DataFrame(...)`, DuckDB.

# %%
print(relief.table(westfjords + turn))

# %%
relief.close()
coast.close()
