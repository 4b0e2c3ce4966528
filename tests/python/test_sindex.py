# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

import silurus

geopandas = pytest.importorskip("geopandas", reason="python3-geopandas is not installed")
from shapely.geometry import LineString, Point, box  # noqa: E402


@pytest.fixture
def frame():
    return geopandas.GeoDataFrame(
        geometry=[box(i, 0, i + 1, 1) for i in range(10)] + [None, Point(), LineString([(0, 5), (9, 6)])]
    )


@pytest.fixture
def made(frame, db):
    return silurus.sindex(frame, db)


def test_it_leaves_out_what_is_empty(made):
    assert len(made) == made.size == 11 and not made.is_empty


def test_query_finds_bounds(made):
    assert made.query(box(2.5, 0.5, 4.5, 0.6), sort=True).tolist() == [2, 3, 4]


def test_query_decides_predicates_by_geometry(made):
    assert made.query(box(0, 5.8, 1, 6), sort=True).tolist() == [12]  # its bounds, not its line
    assert made.query(box(0, 5.8, 1, 6), predicate="intersects").tolist() == []
    assert made.query(box(1.5, 0, 4.5, 1), predicate="contains", sort=True).tolist() == [2, 3]
    assert made.query(Point(2.5, 0.5), predicate="within").tolist() == [2]


def test_query_of_nothing_finds_nothing(made):
    assert made.query(None).tolist() == [] and made.query(Point()).tolist() == []


def test_query_refuses_what_is_no_predicate(made):
    with pytest.raises(ValueError):
        made.query(Point(0, 0), predicate="near")


def test_query_bulk_agrees_with_geopandas(made, frame):
    pytest.importorskip("rtree", reason="python3-rtree is not installed")
    asked = [box(0.5, 0.5, 2.2, 0.6), None, Point(4.5, 0.5)]
    for predicate in (None, "intersects", "contains", "within", "touches"):
        theirs = frame.sindex.query_bulk(geopandas.GeoSeries(asked), predicate=predicate, sort=True)
        assert made.query_bulk(asked, predicate=predicate, sort=True).tolist() == theirs.tolist()


def test_intersection_takes_boxes_and_points(made):
    assert sorted(made.intersection((0.5, 0.5, 1.5, 0.6)).tolist()) == [0, 1]
    assert made.intersection((2.5, 0.5)).tolist() == [2]


def test_nearest_is_by_geometry(made):
    indices, distances = made.nearest([Point(0, 5.5), Point(20, 0.5)], return_distance=True)
    assert indices.tolist() == [[0, 1], [12, 9]]
    assert distances[1] == 10.0
    assert made.nearest(Point(3, 0.5)).tolist() == [[0, 0], [2, 3]]
    assert made.nearest(Point(3, 0.5), return_all=False).tolist() == [[0], [2]]
    assert made.nearest(Point(0, 50), max_distance=1).tolist() == [[], []]


def test_positions_are_intp(made):
    assert made.query(box(0, 0, 1, 1)).dtype == np.intp
