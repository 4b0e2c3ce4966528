# SPDX-License-Identifier: Apache-2.0

"""What programs expect of rtree.index, of python3-rtree."""
import copy
import ctypes
import json
import pickle

import numpy as np
import pytest

from silurus.rtree import core, index
from silurus.rtree.exceptions import RTreeError


def grid(count=10):
    """Unit boxes at (2 i, 2 j), ids row by row."""
    return [(i * count + j, (2 * i, 2 * j, 2 * i + 1, 2 * j + 1)) for i in range(count) for j in range(count)]


@pytest.fixture
def idx():
    made = index.Index()
    for id, box in grid():
        made.insert(id, box)
    return made


def index_3d(**options):
    return index.Index(properties=index.Property(dimension=3), **options)


# --- searches


def test_intersection_is_in_the_order_of_ids(idx):
    assert list(idx.intersection((0, 0, 3, 3))) == [0, 1, 10, 11]


def test_intersection_is_an_iterator(idx):
    assert next(idx.intersection((0, 0, 60, 60))) == 0


def test_edges_count_as_inside(idx):
    assert list(idx.intersection((1, 1, 1, 1))) == [0]


def test_a_point_can_be_searched(idx):
    assert list(idx.intersection((2.5, 0.5))) == [10]


def test_windows_may_be_infinite(idx):
    inf = float("inf")
    assert idx.count((-inf, -inf, inf, inf)) == 100


def test_coordinates_may_be_an_array(idx):
    assert list(idx.intersection(np.array([0.0, 0, 3, 3]))) == [0, 1, 10, 11]


def test_contains_finds_what_lies_within(idx):
    assert list(idx.contains((0, 0, 3, 1))) == [0, 10]


def test_count_is_the_number_of_intersections(idx):
    assert idx.count((0, 0, 3, 3)) == 4


def test_ids_are_signed():
    idx = index.Index()
    for id in (5, -7, 2**63 - 1, -(2**63)):
        idx.insert(id, (0, 0, 1, 1))
    assert list(idx.intersection((0, 0, 1, 1))) == [-(2**63), -7, 5, 2**63 - 1]
    assert list(idx.nearest((9, 9), 1)) == [-(2**63), -7, 5, 2**63 - 1]


def test_ids_need_not_be_unique():
    idx = index.Index()
    idx.add(1, (2, 2))
    idx.add(1, (3, 3))
    assert list(idx.intersection((0, 0, 5, 5))) == [1, 1]


def test_results_can_be_paged(idx):
    idx.set_result_offset(1)
    idx.result_limit = 2
    assert list(idx.intersection((0, 0, 3, 3))) == [1, 10]
    assert idx.get_result_offset() == 1 and idx.get_result_limit() == 2


# --- nearest


def test_nearest_is_by_distance(idx):
    assert list(idx.nearest((-1, 0.2), 3)) == [0, 1, 10]


def test_nearest_gives_all_that_are_as_near_as_the_last(idx):
    assert list(idx.nearest((1.5, 1.5), 1)) == [0, 1, 10, 11]


def test_nearest_is_by_the_distance_between_boxes(idx):
    assert list(idx.nearest((2, 30, 9, 40), 1)) == [19, 29, 39, 49]


def test_nearest_of_more_than_there_are_gives_all(idx):
    assert sorted(idx.nearest((0, 0), 1000)) == list(range(100))


def test_nearest_of_nothing_is_nothing():
    assert list(index.Index().nearest((0, 0), 3)) == []


def test_nearest_gives_objects():
    idx = index.Index()
    idx.add(0, (14, 10, 14, 10), obj={"a": 42})
    idx.add(1, (16, 10, 16, 10), obj={"b": 43})
    assert [(i.id, i.object) for i in idx.nearest((15, 10), 1, objects=True)] == [(0, {"a": 42}), (1, {"b": 43})]


# --- objects


def test_items_have_bounds_in_both_orders():
    idx = index.Index()
    idx.insert(7, (0, 1, 2, 3), obj="here")
    (item,) = idx.intersection((0, 0, 9, 9), objects=True)
    assert (item.id, item.object, item.bbox, item.bounds) == (7, "here", [0, 1, 2, 3], [0, 2, 1, 3])


def test_raw_objects_come_alone():
    idx = index.Index()
    idx.insert(7, (0, 0, 1, 1), obj="here")
    idx.insert(8, (0, 0, 1, 1))
    assert list(idx.intersection((0, 0, 1, 1), objects="raw")) == ["here", None]


def test_entries_of_the_same_id_and_box_have_an_object_each():
    idx = index.Index()
    idx.insert(7, (0, 0, 1, 1), obj="one")
    idx.insert(7, (0, 0, 1, 1), obj="two")
    assert list(idx.intersection((0, 0, 1, 1), objects="raw")) == ["one", "two"]
    idx.delete(7, (0, 0, 1, 1))
    assert list(idx.intersection((0, 0, 1, 1), objects="raw")) == ["one"]


def test_objects_are_copies():
    idx, thing = index.Index(), [1]
    idx.insert(7, (0, 0, 1, 1), obj=thing)
    thing.append(2)
    assert next(idx.intersection((0, 0, 1, 1), objects="raw")) == [1]


def test_serializers_can_be_replaced():
    class JsonIndex(index.Index):
        def dumps(self, obj):
            return json.dumps(obj).encode()

        def loads(self, string):
            return json.loads(string.decode())

    idx = JsonIndex()
    idx.add(0, (0, 0, 1, 1), {"a": [1, 2]})
    assert list(idx.nearest((0, 0), 1, objects="raw")) == [{"a": [1, 2]}]


# --- writes


def test_delete_removes_the_entry_of_that_box(idx):
    idx.delete(0, (0, 0, 1, 1))
    assert list(idx.intersection((0, 0, 1, 1))) == []


def test_delete_of_what_is_not_there_changes_nothing(idx):
    idx.delete(0, (5, 5, 6, 6))
    assert len(idx) == 100


def test_everything_can_be_deleted(idx):
    for id, box in grid():
        idx.delete(id, box)
    assert len(idx) == 0 and list(idx.intersection((0, 0, 60, 60))) == []


@pytest.mark.parametrize("box", [(0, 0, -1, 1), (0, 0, 1), (float("nan"), 0, 1, 1)])
def test_boxes_that_make_no_sense_are_refused(box):
    idx = index.Index()
    with pytest.raises(RTreeError):
        idx.add(None, box)
    with pytest.raises(RTreeError):
        idx.intersection(box)


def test_an_id_that_is_no_integer_is_refused():
    with pytest.raises(ctypes.ArgumentError):
        index.Index().add(None, (1, 1))


def test_what_is_no_sequence_is_a_type_error():
    with pytest.raises(TypeError, match="sequence"):
        index.Index().intersection(5)


# --- streams


def test_a_stream_is_loaded_at_once():
    idx = index.Index((id, box, id * 2) for id, box in grid())
    assert list(idx.intersection((0, 0, 3, 3), objects="raw")) == [0, 2, 20, 22]


def test_an_index_that_was_loaded_takes_writes():
    idx = index.Index((id, box, None) for id, box in grid())
    idx.insert(-1, (0, 0, 1, 1))
    assert list(idx.intersection((0, 0, 1, 1))) == [-1, 0]


def test_an_empty_stream_is_refused():
    with pytest.raises(RTreeError):
        index.Index(iter(()))


def test_an_error_in_a_stream_comes_out():
    def broken():
        yield (1, (0, 0, 1, 1), None)
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        index.Index(broken())


# --- orders of coordinates and dimensions


def test_coordinates_need_not_be_interleaved():
    idx = index.Index([(1, (0, 9, 2, 3), "x")], interleaved=False)
    idx.insert(2, (20, 29, 22, 23))
    assert list(idx.intersection((8, 21, 0, 30))) == [1, 2]
    assert list(idx.intersection((8, 9, 0, 1))) == []
    (item,) = idx.intersection((0, 9, 2, 3), objects=True)
    assert item.bounds == [0, 9, 2, 3] and item.object == "x"
    assert idx.bounds == [0, 29, 2, 23]


def test_three_dimensions_in_both_orders():
    idx = index_3d(interleaved=False)
    idx.insert(1, (0, 0, 60, 60, 22, 22.0))
    assert list(idx.intersection((-1, 1, 58, 62, 22, 24))) == [1]
    idx = index_3d()
    idx.insert(1, (0, 60, 22, 0, 60, 22))
    assert list(idx.intersection((-1, 58, 22, 1, 62, 24))) == [1]
    assert list(idx.nearest((0, 0, 0), 1)) == [1]


@pytest.mark.parametrize("dimension", [1, 4])
def test_other_dimensions_are_refused(dimension):
    with pytest.raises(RTreeError, match="2 or 3 dimensions"):
        index.Index(properties=index.Property(dimension=dimension))


# --- about it


def test_bounds_are_those_of_all_entries(idx):
    assert idx.bounds == [0, 0, 19, 19]
    assert idx.get_bounds(coordinate_interleaved=False) == [0, 19, 0, 19]


def test_bounds_of_nothing_are_the_wrong_way_round():
    low, _, high, _ = index.Index().bounds
    assert low > high


def test_size_is_the_number_of_entries(idx):
    assert len(idx) == 100
    with pytest.deprecated_call():
        assert idx.get_size() == 100


def test_leaves_hold_each_id_once(idx):
    for id, box in grid(20):
        idx.insert(1000 + id, box)
    leaves = idx.leaves()
    ids = sorted(id for _, theirs, _ in leaves for id in theirs)
    assert ids == sorted([id for id, _ in grid()] + [1000 + id for id, _ in grid(20)])
    assert all(len(theirs) <= 100 for _, theirs, _ in leaves)


def test_leaves_have_the_bounds_of_their_entries(idx):
    ((_, ids, bounds),) = idx.leaves()
    assert len(ids) == 100 and bounds == [0, 0, 19, 19]


def test_an_empty_index_has_one_leaf_without_ids():
    assert [ids for _, ids, _ in index.Index().leaves()] == [[]]


def test_intersections_of_two_indexes_have_both_objects():
    a, b = index.Index(), index.Index()
    a.insert(1, (3, 3, 5, 5), "a1")
    a.insert(2, (4, 2, 6, 4), "a2")
    b.insert(3, (2, 1, 7, 6), "b3")
    b.insert(4, (8, 7, 9, 8), "b4")
    found = {item.object: item.bbox for item in (a & b).intersection((0, 0, 9, 9), objects=True)}
    assert found == {("a1", "b3"): [3, 3, 5, 5], ("a2", "b3"): [4, 2, 6, 4]}


def test_a_union_has_the_entries_of_both():
    a, b = index.Index(interleaved=False), index.Index(interleaved=False)
    a.insert(1, (3, 5, 3, 5), "a1")
    b.insert(3, (2, 7, 1, 6), "b3")
    both = a | b
    assert {item.object: item.bounds for item in both.intersection(both.bounds, objects=True)} == {
        "a1": [3, 5, 3, 5],
        "b3": [2, 7, 1, 6],
    }


def test_indexes_of_different_orders_do_not_mix():
    with pytest.raises(AssertionError):
        index.Index() & index.Index(interleaved=False)
    with pytest.raises(AssertionError):
        index.Index() | index.Index(interleaved=False)


def test_an_index_can_be_pickled():
    idx = index.Index(interleaved=False)
    idx.insert(-3, (0, 1, 2, 3), obj=4)
    again = pickle.loads(pickle.dumps(idx))
    (item,) = again.intersection(again.bounds, objects=True)
    assert (item.id, item.bounds, item.object, again.interleaved) == (-3, [0, 1, 2, 3], 4, False)
    again.insert(5, (0, 1, 2, 3))
    assert (len(idx), len(again)) == (1, 2)


def test_an_index_can_be_closed_once(idx):
    idx.close()
    with pytest.raises(OSError):
        idx.close()


def test_repr_tells_bounds_and_size(idx):
    assert repr(idx) == "silurus.rtree.index.Index(bounds=[0.0, 0.0, 19.0, 19.0], size=100)"


@pytest.mark.parametrize("what", ["file", b"file", index.CustomStorage()])
def test_storage_of_other_kinds_is_refused(what):
    with pytest.raises(RTreeError, match="in memory"):
        index.Index(what)


# --- properties


def test_properties_keep_their_values():
    p = index.Property(leaf_capacity=50)
    p.fill_factor = 0.5
    p.set_variant(index.RT_Linear)
    assert (p.leaf_capacity, p.get_fill_factor(), p.variant, p.dimension) == (50, 0.5, 0, 2)
    assert index.Index(properties=p).properties.leaf_capacity == 50


@pytest.mark.parametrize(
    "name, value",
    [
        ("buffering_capacity", -1),
        ("region_pool_capacity", -1),
        ("index_pool_capacity", -1),
        ("pagesize", -1),
        ("storage", -1),
        ("variant", 9),
        ("dimension", -2),
        ("fill_factor", 2),
        ("index_type", 6),
    ],
)
def test_properties_that_make_no_sense_are_refused(name, value):
    with pytest.raises(RTreeError):
        getattr(index.Property(), f"set_{name}")(value)


def test_an_index_id_must_be_set_first():
    with pytest.raises(RTreeError):
        index.Property().get_index_id()


def test_properties_can_be_pickled():
    p = index.Property(dimension=3)
    again = pickle.loads(pickle.dumps(p))
    assert again.as_dict() == p.as_dict() and again.handle != p.handle


def test_the_error_is_found_in_core():
    assert core.RTreeError is RTreeError


# --- containers


@pytest.fixture
def container():
    made = index.RtreeContainer()
    things = [object() for _ in grid()]
    for thing, (_, box) in zip(things, grid()):
        made.insert(thing, box)
    return made, things


def test_a_container_finds_objects(container):
    made, things = container
    assert list(made.intersection((2, 2, 3, 3))) == [things[11]]
    assert list(made.nearest((2, 2, 3, 3))) == [things[11]]


def test_a_container_gives_items_with_boxes(container):
    made, things = container
    (item,) = made.intersection((2, 2, 3, 3), bbox=True)
    assert item.object is things[11] and item.bbox == [2, 2, 3, 3] and item.id is None


def test_a_container_counts_how_often_it_has_an_object(container):
    made, things = container
    made.insert(things[0], (50, 50, 51, 51))
    made.delete(things[0], (50, 50, 51, 51))
    assert things[0] in made
    made.delete(things[0], (0, 0, 1, 1))
    assert things[0] not in made and len(made) == 99
    with pytest.raises(IndexError):
        made.delete(things[0], (0, 0, 1, 1))


def test_a_container_gives_its_objects_in_leaves(container):
    made, things = container
    ((_, theirs, _),) = made.leaves()
    assert set(theirs) == set(things) == set(made)


def test_a_container_keeps_what_is_elsewhere_than_where_it_is_removed(container):
    made, things = container
    made.delete(things[0], (70, 70, 71, 71))
    assert things[0] in made and len(made) == 100
    assert things[0] in made.intersection((0, 0, 1, 1))


def test_a_container_knows_its_objects_after_pickling():
    made = index.RtreeContainer()
    made.insert(["a"], (0, 0, 1, 1))
    made.insert(["b"], (2, 2, 3, 3))
    again = pickle.loads(pickle.dumps(made))
    (thing,) = again.intersection((0, 0, 1, 1))
    assert thing == ["a"] and thing in again
    again.insert(["c"], (4, 4, 5, 5))
    assert list(again.intersection((4, 4, 5, 5))) == [["c"]]
    again.delete(thing, (0, 0, 1, 1))
    assert list(again) == [["b"], ["c"]]


def test_a_copy_of_a_container_goes_its_own_way(container):
    made, things = container
    other = copy.copy(made)
    other.delete(things[0], (0, 0, 1, 1))
    other.insert("new", (90, 90, 91, 91))
    assert things[0] in made and things[0] not in other
    assert "new" in other and "new" not in made and len(made) == 100


def test_a_copy_of_an_index_has_objects_of_its_own():
    made = index.Index()
    made.insert(1, (0, 0, 1, 1), obj="first")
    other = copy.copy(made)
    other.delete(1, (0, 0, 1, 1))
    other.insert(1, (0, 0, 1, 1), obj="second")
    assert list(made.intersection((0, 0, 1, 1), objects="raw")) == ["first"]
    assert list(other.intersection((0, 0, 1, 1), objects="raw")) == ["second"]


def test_an_object_that_cannot_be_pickled_leaves_no_entry():
    made = index.Index()
    with pytest.raises(Exception, match="pickle"):
        made.insert(1, (0, 0, 1, 1), obj=lambda: None)
    assert len(made) == 0
    made.insert(2, iter((0, 0, 1, 1)), obj="iterators are read once")
    assert list(made.intersection((0, 0, 1, 1), objects="raw")) == ["iterators are read once"]
