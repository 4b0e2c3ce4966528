# SPDX-License-Identifier: Apache-2.0

"""The interface of rtree.index, of python3-rtree 1.0."""
from __future__ import annotations

import array
import ctypes
import itertools
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, List, NoReturn, Optional, Sequence, Tuple, Union

import numpy as np

from .. import _silurus
from ..errors import InvalidArgumentError
from .exceptions import RTreeError

__all__ = ["CustomStorage", "CustomStorageBase", "ICustomStorage", "Index", "Item", "Property", "Rtree", "RtreeContainer"]

RT_Memory, RT_Disk, RT_Custom = 0, 1, 2
RT_Linear, RT_Quadratic, RT_Star = 0, 1, 2
RT_RTree, RT_MVRTree, RT_TPRTree = 0, 1, 2

#: The interface is that of this version of libspatialindex.
__c_api_version__ = b"1.9.3"
major_version, minor_version, patch_version = 1, 9, 3

_GREATEST = sys.float_info.max
_Box = Tuple[float, ...]


# --- properties


def _at_least(least: float) -> Callable[[Any], bool]:
    return lambda value: bool(value >= least)


def _one_of(*values: int) -> Callable[[Any], bool]:
    return lambda value: value in values


def _share(value: Any) -> bool:
    return bool(0 < value <= 1)


def _any(_: Any) -> bool:
    return True


#: name: default and what it may be. An index has a use for dimension, leaf_capacity (of leaves()) and type alone.
_PROPERTIES: Dict[str, Tuple[Any, Callable[[Any], bool]]] = {
    "buffering_capacity": (10, _at_least(0)),
    "custom_storage_callbacks": (None, _any),
    "custom_storage_callbacks_size": (0, _at_least(0)),
    "dat_extension": ("dat", _any),
    "dimension": (2, _at_least(1)),
    "filename": ("", _any),
    "fill_factor": (0.7, _share),
    "idx_extension": ("idx", _any),
    "index_capacity": (100, _at_least(1)),
    "index_id": (None, _any),
    "index_pool_capacity": (100, _at_least(0)),
    "leaf_capacity": (100, _at_least(1)),
    "near_minimum_overlap_factor": (32, _at_least(1)),
    "overwrite": (True, _any),
    "pagesize": (4096, _at_least(1)),
    "point_pool_capacity": (500, _at_least(0)),
    "region_pool_capacity": (1000, _at_least(0)),
    "reinsert_factor": (0.3, _share),
    "split_distribution_factor": (0.4, _share),
    "storage": (RT_Memory, _one_of(RT_Memory, RT_Disk, RT_Custom)),
    "tight_mbr": (True, _any),
    "tpr_horizon": (20.0, _at_least(0)),
    "type": (RT_RTree, _one_of(RT_RTree, RT_MVRTree, RT_TPRTree)),
    "variant": (RT_Star, _one_of(RT_Linear, RT_Quadratic, RT_Star)),
    "writethrough": (False, _any),
}


class Property:
    """Properties of an index: attributes, or get_NAME() and set_NAME(). RTreeError for values that make no sense."""

    pkeys = tuple(name for name in _PROPERTIES if name != "index_pool_capacity")

    def __init__(self, handle: Any = None, owned: bool = True, **kwargs: Any) -> None:
        self._values: Dict[str, Any] = {name: default for name, (default, _) in _PROPERTIES.items()}
        self._handle = object()
        self.initialize_from_dict(kwargs)

    def initialize_from_dict(self, state: Dict[str, Any]) -> None:
        """Sets all that are named and not None."""
        for name, value in state.items():
            if value is not None:
                setattr(self, name, value)

    def as_dict(self) -> Dict[str, Any]:
        """All of them; None: not set."""
        return {name: self._values[name] for name in self.pkeys}

    @property
    def handle(self) -> object:
        """Something that no other Property has."""
        return self._handle

    def __getstate__(self) -> Dict[str, Any]:
        return self.as_dict()

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.initialize_from_dict(state)

    def __repr__(self) -> str:
        return repr(self.as_dict())

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


def _add_property(name: str) -> None:
    is_sound = _PROPERTIES[name][1]

    def get(self: Property) -> Any:
        if name == "index_id" and self._values[name] is None:
            raise RTreeError("index_id is not set")
        return self._values[name]

    def put(self: Property, value: Any) -> None:
        if not is_sound(value):
            raise RTreeError(f"{name} must not be {value!r}")
        self._values[name] = value

    method = "index_type" if name == "type" else name
    setattr(Property, f"get_{method}", get)
    setattr(Property, f"set_{method}", put)
    setattr(Property, name, property(get, put, doc=f"The property {name}."))


for _name in _PROPERTIES:
    _add_property(_name)


# --- indexes


class Item:
    """An entry: id, object, bounds ([xmin, xmax, ymin, ymax ...]) and bbox ([xmin, ymin ... xmax, ymax ...])."""

    __slots__ = ("bbox", "bounds", "id", "object")

    def __init__(self, id: Any, bbox: List[float], object: Any) -> None:
        self.id = id
        self.bbox = bbox
        self.bounds = Index.deinterleave(bbox)
        self.object = object

    def __lt__(self, other: Item) -> bool:
        return bool(self.id < other.id)

    def __gt__(self, other: Item) -> bool:
        return bool(self.id > other.id)


class ICustomStorage:
    """Storage of pages; an index of Silurus has none and refuses one."""


class CustomStorage(ICustomStorage):
    """See ICustomStorage."""


class CustomStorageBase(ICustomStorage):
    """See ICustomStorage."""


class Index:
    """An index of boxes with signed ids and, if wanted, objects, in memory.

    Index(stream, interleaved=True, properties=Property()): stream, if given, yields (id, coordinates, object). With
    `interleaved` coordinates are [xmin, ymin ... xmax, ymax ...], else [xmin, xmax, ymin, ymax ...]; a point is
    [x, y ...]. Answers are in the order of ids, those of nearest() by distance first.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.properties: Property = kwargs.get("properties") or Property()
        self.interleaved = bool(kwargs.get("interleaved", True))
        self.result_limit = 0
        self.result_offset = 0
        if args and isinstance(args[0], (str, bytes, ICustomStorage)):
            raise RTreeError("an index of Silurus is in memory; silurus.open(path) keeps data in files")
        if self.properties.type != RT_RTree:
            raise RTreeError("an index of Silurus is of type RT_RTree")
        if kwargs.get("pagesize"):
            self.properties.pagesize = int(kwargs["pagesize"])
        self._begin()
        stream = args[0] if args else None
        if stream is not None and not (hasattr(stream, "__len__") and len(stream) == 0):
            self._load(stream)

    def _begin(self) -> None:
        dimension = self.properties.dimension
        if dimension not in (2, 3):
            raise RTreeError(f"an index of Silurus has 2 or 3 dimensions, not {dimension}")
        self._dimension: int = dimension
        self._tree: Any = _silurus.Tree2() if dimension == 2 else _silurus.Tree3()
        self._objects: Dict[Tuple[int, _Box], List[bytes]] = {}

    def _load(self, stream: Iterable[Tuple[int, Sequence[float], Any]]) -> None:
        ids, numbers = array.array("q"), array.array("d")
        objects = []
        for id, coordinates, obj in stream:
            if len(coordinates) != 2 * self._dimension:
                raise RTreeError(f"Coordinates of the stream must be {2 * self._dimension} numbers")
            ids.append(id)
            numbers.extend(coordinates)
            if obj is not None:
                objects.append((len(ids) - 1, obj))
        if not ids:
            raise RTreeError("the stream is empty")
        boxes = np.frombuffer(numbers, dtype=np.float64).reshape(len(ids), -1)
        if not self.interleaved:
            boxes = np.hstack([boxes[:, 0::2], boxes[:, 1::2]])
        try:
            self._tree.load_signed(np.frombuffer(ids, dtype=np.int64), boxes)
        except InvalidArgumentError as error:
            raise RTreeError(str(error)) from None
        for position, obj in objects:
            key = (ids[position], tuple(boxes[position].tolist()))
            self._objects.setdefault(key, []).append(self.dumps(obj))

    # --- objects as bytes; to be overridden

    def dumps(self, obj: object) -> bytes:
        """An object as bytes."""
        return pickle.dumps(obj)

    def loads(self, string: bytes) -> Any:
        """An object of its bytes."""
        return pickle.loads(string)

    # --- writes

    def insert(self, id: int, coordinates: Any, obj: object = None) -> None:
        """Adds an entry, with an object if one is given. Ids need not be unique."""
        string = None if obj is None else self.dumps(obj)  # what cannot be made bytes leaves no entry
        try:
            if string is not None:
                coordinates = tuple(coordinates)  # read twice
            self._tree.add(id, coordinates, self.interleaved)
        except (InvalidArgumentError, TypeError, AttributeError) as error:
            self._refuse(error, coordinates)
        if string is not None:
            self._objects.setdefault((id, self._box(coordinates)), []).append(string)

    add = insert

    def delete(self, id: int, coordinates: Any) -> None:
        """Removes an entry of that id and these coordinates, if there is one."""
        self._remove(id, coordinates)

    def _remove(self, id: int, coordinates: Any) -> bool:
        try:
            if self._objects:
                coordinates = tuple(coordinates)  # read twice
            is_removed = bool(self._tree.remove(id, coordinates, self.interleaved))
        except (InvalidArgumentError, TypeError, AttributeError) as error:
            self._refuse(error, coordinates)
        if is_removed and self._objects:
            key = (id, self._box(coordinates))
            theirs = self._objects.get(key)
            if theirs:
                theirs.pop()
                if not theirs:
                    del self._objects[key]
        return is_removed

    # --- searches

    def intersection(self, coordinates: Any, objects: Any = False) -> Iterator[Any]:
        """Ids of the entries whose boxes share a point with a window; Items if objects, or objects alone if "raw"."""
        try:
            if objects:
                return self._items(self._tree.entries_in(coordinates, self.interleaved, False), objects)
            ids = self._tree.ids_in(coordinates, self.interleaved, False)
        except (InvalidArgumentError, TypeError, AttributeError) as error:
            self._refuse(error, coordinates)
        return iter(ids) if not (self.result_limit or self.result_offset) else iter(self._page(ids))

    def contains(self, coordinates: Any, objects: Any = False) -> Iterator[Any]:
        """The same of entries whose boxes lie within a window."""
        try:
            if objects:
                return self._items(self._tree.entries_in(coordinates, self.interleaved, True), objects)
            return iter(self._page(self._tree.ids_in(coordinates, self.interleaved, True)))
        except (InvalidArgumentError, TypeError, AttributeError) as error:
            self._refuse(error, coordinates)

    def nearest(self, coordinates: Any, num_results: int = 1, objects: Any = False) -> Iterator[Any]:
        """The entries nearest to a box or a point, and all that are as near as the last of them."""
        try:
            if objects:
                return self._items(self._tree.nearest_entries(coordinates, self.interleaved, num_results), objects)
            ids = self._tree.nearest_ids(coordinates, self.interleaved, num_results)
        except (InvalidArgumentError, TypeError, AttributeError) as error:
            self._refuse(error, coordinates)
        return iter(ids) if not (self.result_limit or self.result_offset) else iter(self._page(ids))

    def count(self, coordinates: Any) -> int:
        """How many entries intersection() would find."""
        try:
            return int(self._tree.count_in(coordinates, self.interleaved))
        except (InvalidArgumentError, TypeError, AttributeError) as error:
            self._refuse(error, coordinates)

    # --- about it

    def get_bounds(self, coordinate_interleaved: Optional[bool] = None) -> List[float]:
        """The least box that holds all entries; if there are none, one with its edges the wrong way round."""
        interleaved = self.interleaved if coordinate_interleaved is None else coordinate_interleaved
        box: Optional[List[float]] = self._open_tree().bounds()
        if box is None:
            box = [_GREATEST] * self._dimension + [-_GREATEST] * self._dimension
        return box if interleaved else Index.deinterleave(box)

    @property
    def bounds(self) -> List[float]:
        """get_bounds(), in the order of the index's own coordinates."""
        return self.get_bounds()

    def leaves(self) -> List[Tuple[int, List[int], List[float]]]:
        """(number, ids, bounds) of groups of neighbouring entries, of properties.leaf_capacity at most.

        A group is one or several leaves of the tree. Of an empty index: one group without ids.
        """
        groups: List[Tuple[int, List[int], List[float]]] = []
        d = self._dimension
        for number, ids, box in self._open_tree().leaves():
            if groups and len(groups[-1][1]) + len(ids) <= self.properties.leaf_capacity:
                first, there, grown = groups[-1]
                low = [min(pair) for pair in zip(grown[:d], box[:d])]
                high = [max(pair) for pair in zip(grown[d:], box[d:])]
                groups[-1] = (first, there + ids, low + high)
            else:
                groups.append((number, ids, box))
        return groups or [(0, [], self.get_bounds(True))]

    def get_size(self) -> int:
        """len(index)."""
        warnings.warn("index.get_size() is deprecated, use len(index) instead", DeprecationWarning, stacklevel=2)
        return len(self)

    def set_result_limit(self, value: int) -> None:
        """How many results a search returns at most; 0: all."""
        self.result_limit = value

    def get_result_limit(self) -> int:
        """See set_result_limit()."""
        return self.result_limit

    def set_result_offset(self, value: int) -> None:
        """How many results of a search are left out at the beginning."""
        self.result_offset = value

    def get_result_offset(self) -> int:
        """See set_result_offset()."""
        return self.result_offset

    def valid(self) -> bool:
        """Whether it is sound: always."""
        return True

    def flush(self) -> None:
        """Does nothing: there are no files."""

    def clearBuffer(self) -> None:
        """Does nothing: there are no buffers."""

    def close(self) -> None:
        """Lets go of all entries. OSError if it is closed."""
        if self._tree is None:
            raise OSError("Unclosable index")
        self._tree = None

    @property
    def handle(self) -> Any:
        """Something that no other index has; None once it is closed."""
        return self._tree

    def __len__(self) -> int:
        return int(self._open_tree().size())

    def __repr__(self) -> str:
        return f"silurus.rtree.index.{type(self).__name__}(bounds={self.bounds}, size={len(self)})"

    def __getstate__(self) -> Dict[str, Any]:
        far = [-_GREATEST] * self._dimension + [_GREATEST] * self._dimension
        state = self.__dict__.copy()
        del state["_tree"]
        state["_objects"] = {key: list(theirs) for key, theirs in self._objects.items()}  # copy.copy() shares nothing
        state["_entries"] = self._open_tree().entries_in(far, True, False)
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        entries = state.pop("_entries")
        objects = state.pop("_objects")
        self.__dict__.update(state)
        self._begin()
        self._objects = objects
        if entries:
            self._tree.load_signed(
                np.array([id for id, _ in entries], dtype=np.int64), np.array([box for _, box in entries])
            )

    def __and__(self, other: Index) -> Index:
        """Intersections of the boxes of both, with pairs of objects."""
        made = self._like(other)
        number = itertools.count()
        for mine in self.intersection(self.bounds, objects=True) if len(self) else ():
            for theirs in other.intersection(mine.bbox if self.interleaved else mine.bounds, objects=True):
                d = self._dimension
                low = [max(pair) for pair in zip(mine.bbox[:d], theirs.bbox[:d])]
                high = [min(pair) for pair in zip(mine.bbox[d:], theirs.bbox[d:])]
                made._insert_item(next(number), low + high, (mine.object, theirs.object))
        return made

    def __or__(self, other: Index) -> Index:
        """The entries of both, with their objects."""
        made = self._like(other)
        for index in (self, other):
            for item in index.intersection(index.bounds, objects=True) if len(index) else ():
                made._insert_item(item.id, item.bbox, item.object)
        return made

    @classmethod
    def deinterleave(cls, interleaved: Sequence[Any]) -> List[Any]:
        """[xmin, ymin, xmax, ymax] as [xmin, xmax, ymin, ymax]."""
        assert len(interleaved) % 2 == 0, "must be a pairwise list"
        half = len(interleaved) // 2
        return [one for pair in zip(interleaved[:half], interleaved[half:]) for one in pair]

    @classmethod
    def interleave(cls, deinterleaved: Sequence[float]) -> List[float]:
        """[xmin, xmax, ymin, ymax] as [xmin, ymin, xmax, ymax]."""
        assert len(deinterleaved) % 2 == 0, "must be a pairwise list"
        return [*deinterleaved[0::2], *deinterleaved[1::2]]

    # --- the rest

    def _open_tree(self) -> Any:
        if self._tree is None:
            raise RTreeError("the index is closed")
        return self._tree

    def _refuse(self, error: Exception, coordinates: Any) -> NoReturn:
        """What python3-rtree raises: wrong coordinates are told first, then a wrong id."""
        if isinstance(error, InvalidArgumentError):
            raise RTreeError(str(error)) from None
        tree = self._open_tree()
        if isinstance(error, AttributeError):
            raise error
        try:
            tree.count_in(coordinates, self.interleaved)
        except InvalidArgumentError as wrong:
            raise RTreeError(str(wrong)) from None
        except TypeError:
            raise TypeError("Bounds must be a sequence") from None
        raise ctypes.ArgumentError("ids and numbers of results are integers") from error

    def _box(self, coordinates: Any) -> _Box:
        numbers = [float(one) for one in coordinates]
        if len(numbers) == self._dimension:  # a point
            return tuple(numbers + numbers)
        return tuple(numbers if self.interleaved else Index.interleave(numbers))

    def _insert_item(self, id: int, bbox: List[float], obj: object) -> None:
        self.insert(id, bbox if self.interleaved else Index.deinterleave(bbox), obj)

    def _like(self, other: Index) -> Index:
        assert self.interleaved == other.interleaved
        assert self.properties.dimension == other.properties.dimension
        return Index(interleaved=self.interleaved, properties=self.properties)

    def _page(self, results: List[Any]) -> List[Any]:
        end = self.result_offset + self.result_limit if self.result_limit else None
        return results[self.result_offset : end]

    def _items(self, entries: List[Tuple[int, List[float]]], objects: Union[bool, str]) -> Iterator[Any]:
        made = []
        seen: Dict[Tuple[int, _Box], int] = {}
        for id, bbox in entries:
            obj = None
            key = (id, tuple(bbox))
            theirs = self._objects.get(key)
            if theirs:  # entries of the same id and box have them in turn
                turn = seen.get(key, 0)
                seen[key] = turn + 1
                obj = self.loads(theirs[turn]) if turn < len(theirs) else None
            made.append(obj if objects == "raw" else Item(id, bbox, obj))
        return iter(self._page(made))


Rtree = Index


class RtreeContainer(Index):
    """An index of Python objects, which are told apart by identity and stay as they are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and isinstance(args[0], (str, bytes, ICustomStorage)):
            raise ValueError(f"{type(self)} supports only in-memory indexes")
        #: by the ids of their entries: how often each object is there
        self._held: Dict[int, Tuple[int, object]] = {}
        self._next = 0
        #: ids of entries by identity, which is another after pickling
        self._ids: Dict[int, int] = {}
        stream = ((self._hold(obj), box, None) for obj, box in args[0]) if args else None
        super().__init__(*(() if stream is None else (stream,)), **kwargs)

    def _hold(self, obj: object) -> int:
        number = self._ids.get(id(obj))
        if number is None:
            number = self._ids[id(obj)] = self._next
            self._next += 1
        count, _ = self._held.get(number, (0, None))
        self._held[number] = (count + 1, obj)
        return number

    def insert(self, obj: object, coordinates: Any) -> None:  # type: ignore[override]
        """Adds an object; it may be there more than once."""
        super().insert(self._ids.get(id(obj), self._next), coordinates)
        self._hold(obj)

    add = insert  # type: ignore[assignment]

    def delete(self, obj: object, coordinates: Any) -> None:
        """Removes an object from one place, if it is there. IndexError if it is nowhere."""
        number = self._ids.get(id(obj))
        if number is None:
            raise IndexError("object is not in the index")
        if not self._remove(number, coordinates):
            return
        count, _ = self._held[number]
        if count == 1:
            del self._held[number], self._ids[id(obj)]
        else:
            self._held[number] = (count - 1, obj)

    def intersection(self, coordinates: Any, bbox: bool = False) -> Iterator[Any]:
        """Objects in a window; Items if bbox."""
        return self._found(super().intersection(coordinates, self._checked(bbox)), bbox)

    def nearest(self, coordinates: Any, num_results: int = 1, bbox: bool = False) -> Iterator[Any]:
        """The objects nearest to a box or a point, as Index.nearest(); Items if bbox."""
        return self._found(super().nearest(coordinates, num_results, self._checked(bbox)), bbox)

    def leaves(self) -> List[Tuple[int, List[Any], List[float]]]:
        """As Index.leaves(), with objects for ids."""
        return [(number, [self._held[one][1] for one in ids], box) for number, ids, box in super().leaves()]

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self._ids

    def __len__(self) -> int:
        return sum(count for count, _ in self._held.values())

    def __iter__(self) -> Iterator[object]:
        return iter([obj for _, obj in self._held.values()])

    def __getstate__(self) -> Dict[str, Any]:
        state = super().__getstate__()
        state["_held"] = dict(self._held)
        del state["_ids"]
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        super().__setstate__(state)
        self._ids = {id(obj): number for number, (_, obj) in self._held.items()}

    @staticmethod
    def _checked(bbox: bool) -> bool:
        if bbox not in (True, False):
            raise ValueError("valid values for the bbox argument are True and False")
        return bbox

    def _found(self, found: Iterator[Any], bbox: bool) -> Iterator[Any]:
        if not bbox:
            return iter([self._held[one][1] for one in found])
        items = list(found)
        for item in items:
            item.object, item.id = self._held[item.id][1], None
        return iter(items)
