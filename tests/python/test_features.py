# SPDX-License-Identifier: Apache-2.0

"""Entries with geometries and properties; what is found is compared with shapely, which is GEOS."""
import json
import pathlib

import numpy as np
import pytest
from conftest import brute_force

import silurus

wkb = pytest.importorskip("shapely.wkb")
geometry = pytest.importorskip("shapely.geometry")

SHORELINES = pathlib.Path("/usr/share/cartopy/data/shapefiles/gshhs")


def test_a_record_is_what_was_put(db):
    ports = db.create("ports", records=True)
    properties = {"name": "Ærø", "depth": 7.5, "open": True, "note": None}
    ports.put_features([3, 4], [geometry.Point(4, 52), "POLYGON ((0 0, 2 0, 2 1, 0 0))"], [properties, None])
    got = ports.get_features([4, 3, 9])
    assert got.ids.tolist() == [4, 3] and got.missing.tolist() == [9]
    assert got.boxes.tolist() == [[0, 0, 2, 1], [4, 52, 4, 52]]
    assert got.properties == [None, properties]
    assert wkb.loads(got.geometries[1]).equals(geometry.Point(4, 52))
    assert [(one.name, one.keyed, one.records) for one in db.collections() if one.records] == [("ports", True, True)]


def test_geometries_come_in_several_forms(db):
    ports = db.create("ports", records=True)
    point = geometry.Point(1, 2)
    forms = [point, point.wkb, point.wkt, geometry.mapping(point), json.dumps(geometry.mapping(point))]
    ports.put_features(range(len(forms)), forms)
    assert set(ports.get_features(range(len(forms))).geometries) == {point.wkb}
    with pytest.raises(TypeError):
        ports.put_features([1], [7])


def test_what_is_wrong_is_said(db):
    ports = db.create("ports", records=True)
    with pytest.raises(silurus.errors.InvalidArgumentError, match="geometry 1"):
        ports.put_features([1, 2], [geometry.Point(1, 2), None])
    with pytest.raises(silurus.errors.InvalidArgumentError, match="the box does not hold"):
        ports.put_features([1], [geometry.Point(1, 2)], boxes=[[0, 0, 1, 1]])
    with pytest.raises(ValueError):
        ports.features()
    with pytest.raises(silurus.errors.InvalidArgumentError, match="where"):
        ports.features([0, 0, 1, 1], where="depth >")
    assert db.put_features([1], [geometry.Point(1, 2)]).failed == {0: "unsupported"}


def test_conditions_and_older_versions(db):
    ports = db.create("ports", records=True)
    ports.put_features([1, 2, 3], [None] * 3, [{"depth": one} for one in (5, 15, 25)], [[0, 0], [1, 1], [2, 2]])
    before = ports.get_features([1]).version
    found = ports.features([0, 0, 2, 2], where="depth > 10")
    assert sorted(found.ids.tolist()) == [2, 3] and found.geometries == [None, None]
    ports.put_features([2], [None], [{"depth": 1}], [[1, 1]])
    assert ports.features([0, 0, 2, 2], where="depth > 10").ids.tolist() == [3]
    assert sorted(ports.at(before).features([0, 0, 2, 2], where="depth > 10").ids.tolist()) == [2, 3]
    assert ports.at(before).get_features([2]).properties == [{"depth": 15}]


def test_batches_are_parted_by_their_bytes(db):
    ports = db.create("ports", records=True)
    long = [{"text": "x" * 100_000, "number": i} for i in range(30)]
    assert ports.put_features(range(30), [None] * 30, long, [[i, i] for i in range(30)]).failed == {}
    got = ports.get_features(range(30))
    assert got.properties == long


def star(random, centre, radius):
    """A polygon that does not cross itself, around a point."""
    corners = random.integers(3, 12)
    angles = np.sort(random.random(corners)) * 2 * np.pi
    distances = radius * (0.2 + 0.8 * random.random(corners))
    made = geometry.Polygon(np.c_[centre[0] + distances * np.cos(angles), centre[1] + distances * np.sin(angles)])
    return made if made.is_valid and made.area > 0 else star(random, centre, radius)


PREDICATES = {  # the entry's geometry and the one asked for
    "intersects": lambda entry, asked: entry.intersects(asked),
    "within": lambda entry, asked: entry.within(asked),
    "contains": lambda entry, asked: entry.contains(asked),
}


@pytest.mark.skipif(not SHORELINES.is_dir(), reason="needs Debian's package python-cartopy-data")
def test_what_is_found_along_real_shores_is_what_geos_finds(db, seed):
    """1,000 random polygons against the shores and lakes of GSHHG, by three predicates."""
    geopandas = pytest.importorskip("geopandas")
    shores = []
    for name in ("c/GSHHS_c_L1.shp", "l/GSHHS_l_L2.shp"):
        shores += [one for one in geopandas.read_file(SHORELINES / name).geometry if one is not None and one.is_valid]
    layer = db.create("shores", records=True)
    assert layer.put_features(range(len(shores)), shores).failed == {}
    assert len(layer) >= 742
    bounds = np.array([one.bounds for one in shores])
    random = np.random.default_rng(seed)
    found_in_all = dict.fromkeys(PREDICATES, 0)
    for i in range(1000):
        kind = list(PREDICATES)[i % 3]
        # Where shores are; large ones hold islands whole, tiny ones lie within continents.
        shore = shores[random.integers(len(shores))]
        centre = shore.representative_point() if i % 2 else shore.boundary.interpolate(random.random(), normalized=True)
        radius = 10 ** random.uniform(-3, 0) if kind == "contains" else 10 ** random.uniform(-2, 1.3)
        asked = star(random, (centre.x, centre.y), radius)
        expected = {int(near) for near in brute_force(bounds, asked.bounds) if PREDICATES[kind](shores[near], asked)}
        found = layer.features(geometry=asked, predicate=kind).ids.tolist()
        assert set(found) == expected and len(found) == len(expected), (kind, asked.wkt)
        found_in_all[kind] += len(found)
    assert min(found_in_all.values()) > 50, found_in_all
