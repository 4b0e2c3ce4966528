# SPDX-License-Identifier: Apache-2.0

"""The client of a server."""
from __future__ import annotations

import datetime
import json
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _silurus, errors
from ._arrays import to_boxes, to_ids, to_points
from ._display import card, svg_of_boxes
from ._features import Features, to_features, to_records, to_wkb
from ._moment import Moment, to_moment
from ._table import Table

Ids = NDArray[np.uint64]
Doubles = NDArray[np.float64]
_ALL = 2**64 - 1
_INFINITY = float("inf")
MAX_NEIGHBOURS = 1 << 16  # neighbours of one search
_SAMPLE = 2000  # boxes of a map


class WriteResult(NamedTuple):
    """What a batch of writes came to."""

    version: int  #: in which all of it is visible
    failed: Dict[int, str]  #: operations that had no effect: index in the batch and the code's name ("not-found")


class Got(NamedTuple):
    """Entries of a keyed collection, in the order of the ids asked for."""

    ids: Ids  #: uint64, shape (m,)
    boxes: Doubles  #: shape (m, 2 * dimensions)
    versions: Ids  #: in which each was written last: uint64, shape (m,)
    missing: Ids  #: ids of which there is no entry: uint64
    version: int  #: that all of them are of


class KeptVersion(NamedTuple):
    """A version that the server keeps."""

    version: int
    published: datetime.datetime
    entries: int


class Collection(NamedTuple):
    """A named collection of a server."""

    name: str
    dimensions: int
    entries: int
    version: int  #: in which it was changed last
    note: str
    keyed: bool = False
    lonlat: bool = False
    records: bool = False


class Difference(NamedTuple):
    """What changed from one version to another: ids, uint64."""

    from_version: int
    to_version: int
    inserted: Ids
    erased: Ids
    moved: Ids


class View:
    """A tree as it was at a moment; Client.at() makes it.

    Its batches ask one search after the other, since only searches of the current version can be in flight together.
    """

    def __init__(self, client: Client, moment: int) -> None:
        self._client = client
        self._moment = moment

    def range(self, box: Sequence[float], predicate: str = "intersects", limit: Optional[int] = None) -> Ids:
        """As Client.range()."""
        return self._client._core.range(box, predicate, _ALL if limit is None else limit, self._moment)

    def entries(
        self, box: Sequence[float], predicate: str = "intersects", limit: Optional[int] = None
    ) -> Tuple[Ids, Doubles]:
        """As Client.entries()."""
        return self._client._core.entries(box, predicate, _ALL if limit is None else limit, self._moment)

    def table(self, box: Sequence[float], predicate: str = "intersects", limit: Optional[int] = None) -> Table:
        """As Client.table()."""
        return Table(*self.entries(box, predicate, limit), dimensions=self._client.dimensions)

    def count(self, box: Sequence[float], predicate: str = "intersects") -> int:
        """As Client.count()."""
        return self._client._core.count(box, predicate, self._moment)

    def nearest(self, point: Sequence[float], k: int = 1, max_distance: float = _INFINITY) -> Tuple[Ids, Doubles]:
        """As Client.nearest()."""
        return self._client._core.nearest(point, k, self._moment, max_distance)

    def radius(self, point: Sequence[float], distance: float) -> Tuple[Ids, Doubles]:
        """As Client.radius()."""
        return self.nearest(point, MAX_NEIGHBOURS, distance)

    def get(self, ids: ArrayLike) -> Got:
        """As Client.get()."""
        return Got(*self._client._core.get(to_ids(ids), self._moment))

    def get_features(self, ids: ArrayLike) -> Features:
        """As Client.get_features()."""
        return to_features(self._client._core.get_features(to_ids(ids), self._moment))

    def features(
        self,
        box: Optional[Sequence[float]] = None,
        geometry: Any = None,
        predicate: str = "intersects",
        where: str = "",
        limit: Optional[int] = None,
    ) -> Features:
        """As Client.features()."""
        return self._client._features(box, geometry, predicate, where, limit, self._moment)

    def range_v(
        self, mins: ArrayLike, maxs: ArrayLike, predicate: str = "intersects"
    ) -> Tuple[Ids, NDArray[np.int64]]:
        """As Client.range_v()."""
        d = self._client.dimensions
        return self._client._core.range_v(to_points(mins, d, "mins"), to_points(maxs, d, "maxs"), predicate, self._moment)

    def nearest_v(self, points: ArrayLike, k: int = 1) -> Tuple[Ids, Doubles]:
        """As Client.nearest_v()."""
        return self._client._core.nearest_v(to_points(points, self._client.dimensions), k, self._moment)


class Client:
    """A connection to a server, or to a group of replicas; connect() and open() make it.

    A box is a sequence of 2 * dimensions numbers, minima first: [xmin, ymin, xmax, ymax]. Coordinates are float64 in
    the unit of the data; distances are Euclidean, in the same unit. In a collection created with lonlat=True they are
    degrees, longitude first; a box whose xmin is above its xmax crosses the antimeridian, and distances are metres
    along a great circle. Ids are uint64. Arrays of float64 and uint64 in
    rows that lie one behind the other are taken as they are, without a copy.

    Calls release the GIL. Threads that share a client take turns: give each its own. After fork() a client is the
    parent's: a child connects its own.
    """

    def __init__(self, core: Any, url: str, dimensions: int, options: Optional[Dict[str, Any]] = None) -> None:
        self._core: _silurus._Client = core
        self._options = dict(options or {})
        self._url = url
        self._dimensions = dimensions
        self._server: Any = None  # the server that open() started

    # --- searches

    def range(self, box: Sequence[float], predicate: str = "intersects", limit: Optional[int] = None) -> Ids:
        """Ids of the entries whose boxes match a window, in no particular order: uint64, shape (m,).

        predicate: "intersects" (box and window share a point), "within" (the box lies within the window) or "contains"
        (the box contains the window). limit: entries found at most; which ones is unspecified.
        """
        return self._core.range(box, predicate, _ALL if limit is None else limit)

    def entries(
        self, box: Sequence[float], predicate: str = "intersects", limit: Optional[int] = None
    ) -> Tuple[Ids, Doubles]:
        """As range(), with boxes: (ids, boxes) of the shapes (m,) and (m, 2 * dimensions)."""
        return self._core.entries(box, predicate, _ALL if limit is None else limit)

    def table(self, box: Sequence[float], predicate: str = "intersects", limit: Optional[int] = None) -> Table:
        """As entries(), as a Table, which goes into whatever takes Arrow's streams."""
        return Table(*self.entries(box, predicate, limit), dimensions=self._dimensions)

    def count(self, box: Sequence[float], predicate: str = "intersects") -> int:
        """How many entries range() would find."""
        return self._core.count(box, predicate)

    def nearest(self, point: Sequence[float], k: int = 1, max_distance: float = _INFINITY) -> Tuple[Ids, Doubles]:
        """The k entries nearest to a point: (ids, distances), both of the shape (m,), m <= k; nearest first.

        A distance is that from the point to the entry's box, 0 inside. Equal distances are in the order of ids. Entries
        farther away than max_distance are left out.
        """
        return self._core.nearest(point, k, 0, max_distance)

    def radius(self, point: Sequence[float], distance: float) -> Tuple[Ids, Doubles]:
        """The entries within a distance of a point, as nearest() tells them: the nearest MAX_NEIGHBOURS at most."""
        return self.nearest(point, MAX_NEIGHBOURS, distance)

    def join(self, other: str, within_distance: float = 0.0) -> Ids:
        """Which entries of this collection meet which of another one: ids, uint64, shape (m, 2), in no particular order.

        within_distance: pairs of boxes that are at most so far from each other. `other` may be this collection itself.
        """
        return self._core.join(other, within_distance)

    def range_v(
        self, mins: ArrayLike, maxs: ArrayLike, predicate: str = "intersects"
    ) -> Tuple[Ids, NDArray[np.int64]]:
        """Many windows, kept in flight together: (ids, offsets).

        mins, maxs: float64, shape (n, dimensions). What window i found is ids[offsets[i]:offsets[i + 1]]; offsets:
        int64, shape (n + 1,).
        """
        d = self._dimensions
        return self._core.range_v(to_points(mins, d, "mins"), to_points(maxs, d, "maxs"), predicate)

    def count_v(self, mins: ArrayLike, maxs: ArrayLike, predicate: str = "intersects") -> NDArray[np.uint64]:
        """How many entries each of many windows would find: uint64, shape (n,)."""
        d = self._dimensions
        return self._core.count_v(to_points(mins, d, "mins"), to_points(maxs, d, "maxs"), predicate)

    def nearest_v(self, points: ArrayLike, k: int = 1) -> Tuple[Ids, Doubles]:
        """The k entries nearest to each of many points: (ids, distances), both of the shape (n, k).

        points: float64, shape (n, dimensions). Where there are fewer than k entries, ids end with 2**64 - 1, distances
        with infinity.
        """
        return self._core.nearest_v(to_points(points, self._dimensions), k)

    # --- older versions

    def at(self, when: Moment) -> View:
        """The tree as it was, as far as the server keeps it (its option --retain).

        when: an int, the number of a version; a datetime; or how long ago, "-30s", "-1.5h" (ms, s, min, h, d).
        NotFoundError, from the searches, says which versions there are.
        """
        return View(self, to_moment(when))

    def history(self) -> List[KeptVersion]:
        """The versions that can be asked, oldest first."""
        return [
            KeptVersion(version, datetime.datetime.fromtimestamp(unix_ns / 1e9, datetime.timezone.utc), entries)
            for version, unix_ns, entries in self._core.history()
        ]

    def difference(self, from_when: Moment, to_when: Moment) -> Difference:
        """What changed between two moments (see at())."""
        return Difference(*self._core.difference(to_moment(from_when), to_moment(to_when)))

    def backup(self, path: str) -> Tuple[str, int, int]:
        """Has the server copy its tree into a new data directory on its own machine: (path, version, entries)."""
        return self._core.backup(path)

    # --- collections of the server

    def __getitem__(self, name: str) -> Client:
        """A client of a collection, with a connection of its own. NoCollectionError: there is none.

        It may be used as long as this client is not closed, or longer if the server is not one that open() started.
        """
        return connect(self._url, self._dimensions, **{**self._options, "collection": name})

    def collections(self) -> List[Collection]:
        """All of them, in the order of their names."""
        return [Collection(*one) for one in self._core.collections()]

    def create(self, name: str, lonlat: bool = False, keyed: bool = False, records: bool = False) -> Client:
        """Creates an empty collection of as many dimensions; returns a client of it. ConflictError: there is one.

        lonlat: coordinates are degrees, longitude first, and distances metres. keyed: an id is unique, and get(), put(),
        and erase() and update() without the old box, name entries by their ids. records: entries may carry a geometry
        and properties (put_features()); such a collection is keyed, too.
        """
        self._core.create_collection(name, lonlat, keyed, records)
        return self[name]

    def drop(self, name: str) -> None:
        """Drops a collection with all its entries. NotFoundError: there is none."""
        self._core.drop_collection(name)

    def clear(self, name: str) -> None:
        """Takes all entries out of a collection."""
        self._core.clear_collection(name)

    def rename(self, from_name: str, to_name: str, replace: bool = False) -> None:
        """Gives a collection another name; `replace`: another one called that is dropped at the same moment."""
        self._core.rename_collection(from_name, to_name, replace)

    # --- writes

    def insert(self, id: int, box: Sequence[float]) -> int:
        """Adds an entry; returns the version in which it is visible.

        Ids need not be unique, but in a keyed collection: there, ConflictError if the id is there.
        """
        return self._core.insert(id, box)

    def erase(self, id: int, box: Optional[Sequence[float]] = None, if_version: int = 0) -> int:
        """Removes the entry of that id and box, in a keyed collection of that id; NotFoundError if there is none.

        if_version: as of put().
        """
        if box is None:
            return self._core.erase_by_id(id, if_version)
        if if_version != 0:
            raise ValueError("if_version is of an entry that is named by its id alone")
        return self._core.erase(id, box)

    def update(
        self, id: int, box: Sequence[float], to_box: Optional[Sequence[float]] = None, if_version: int = 0
    ) -> int:
        """Moves an entry: searches see it at the old box or at the new one, never at both or neither.

        update(id, from_box, to_box); in a keyed collection update(id, box), too: the new box. NotFoundError if there is
        no such entry. if_version: as of put().
        """
        if to_box is None:
            return self._core.update_by_id(id, box, if_version)
        if if_version != 0:
            raise ValueError("if_version is of an entry that is named by its id alone")
        return self._core.update(id, box, to_box)

    # --- entries by their ids, in keyed collections (create(keyed=True)); UnsupportedError in others

    def get(self, ids: ArrayLike) -> Got:
        """The entries of some ids, all of one version. ids: shape (n,)."""
        return Got(*self._core.get(to_ids(ids), 0))

    def put(self, id: int, box: Sequence[float], if_version: int = 0) -> Tuple[int, bool]:
        """Adds an entry, or gives the one of that id another box: (version, whether there was one).

        if_version: only if it was written last in that version, which get() and put() tell. ConflictError if it was
        written since, NotFoundError if there is none: so writers that write the same entry lose nothing of each other.
        """
        return self._core.put(id, box, if_version)

    def put_v(self, ids: ArrayLike, boxes: ArrayLike) -> WriteResult:
        """put() of many entries. ids: shape (n,); boxes: (n, 2 * dimensions), or points (n, dimensions)."""
        return self._result(self._core.put_v(to_ids(ids), to_boxes(boxes, self._dimensions)))

    # --- entries with records, in collections that have them (create(records=True)); UnsupportedError in others

    def put_features(
        self,
        ids: ArrayLike,
        geometries: Sequence[Any],
        properties: Optional[Sequence[Optional[Mapping[str, Any]]]] = None,
        boxes: Optional[ArrayLike] = None,
    ) -> WriteResult:
        """put() of many entries with geometries and properties, which take the place of what the entries had.

        ids: shape (n,). geometries: n of shapely's, WKB, WKT, dicts of GeoJSON, or None. properties: n mappings, as JSON
        has them, or None. boxes: (n, 2 * dimensions), which hold the geometries; None: those of the geometries, which
        each entry must have then. InvalidArgumentError says what is wrong with which. They go in batches, each of which
        is visible at once.
        """
        wkbs, texts = to_records(geometries, properties)
        at = None if boxes is None else to_boxes(boxes, self._dimensions)
        return self._result(self._core.put_features(to_ids(ids), wkbs, texts, at))

    def get_features(self, ids: ArrayLike) -> Features:
        """As get(), with geometries and properties."""
        return to_features(self._core.get_features(to_ids(ids), 0))

    def features(
        self,
        box: Optional[Sequence[float]] = None,
        geometry: Any = None,
        predicate: str = "intersects",
        where: str = "",
        limit: Optional[int] = None,
    ) -> Features:
        """Entries with their records, in no particular order, all of one version.

        box: a window that their boxes match, as of range(). geometry instead (shapely's, WKB, WKT, a dict of GeoJSON):
        one that their geometries match, exactly, in the plane of x and y; of an entry without one its box counts.
        where: a condition on properties, "population > 100000 and kind = 'port'". limit: entries found at most; which
        ones is unspecified.
        """
        return self._features(box, geometry, predicate, where, limit, 0)

    def _features(
        self,
        box: Optional[Sequence[float]],
        geometry: Any,
        predicate: str,
        where: str,
        limit: Optional[int],
        moment: int,
    ) -> Features:
        if (box is None) == (geometry is None):
            raise ValueError("features() searches by a box or by a geometry")
        most = _ALL if limit is None else limit
        return to_features(self._core.features(box, to_wkb(geometry), predicate, where, most, moment))

    def insert_v(self, ids: ArrayLike, boxes: ArrayLike) -> WriteResult:
        """Adds many entries. ids: shape (n,); boxes: (n, 2 * dimensions), or points (n, dimensions).

        They go in batches of the server's size, each of which is visible at once.
        """
        return self._result(self._core.insert_v(to_ids(ids), to_boxes(boxes, self._dimensions)))

    def erase_v(self, ids: ArrayLike, boxes: Optional[ArrayLike] = None) -> WriteResult:
        """Removes many entries, each named by id and box; what was not there is in the result's `failed`.

        In a keyed collection they are named by their ids, without boxes.
        """
        if boxes is None:
            return self._result(self._core.erase_ids(to_ids(ids)))
        return self._result(self._core.erase_v(to_ids(ids), to_boxes(boxes, self._dimensions)))

    def update_v(self, ids: ArrayLike, from_boxes: ArrayLike, to_boxes_: ArrayLike) -> WriteResult:
        """Moves many entries, from boxes to boxes."""
        d = self._dimensions
        return self._result(self._core.update_v(to_ids(ids), to_boxes(from_boxes, d), to_boxes(to_boxes_, d)))

    def load(self, ids: ArrayLike, boxes: ArrayLike, fill: float = 0.0) -> int:
        """Builds the tree of all these entries at once; returns its version. ConflictError unless it is empty.

        fill: how full leaves are made, in (0, 1]; 0 for the server's default.
        """
        version, _ = self._core.load(to_ids(ids), to_boxes(boxes, self._dimensions), fill)
        return version

    def compact(self, fill: float = 0.0) -> None:
        """Packs nodes that erasures have left emptier than `fill`, while others read and write."""
        cursor, is_done = 0, False
        while not is_done:
            cursor, is_done, must_wait = self._core.compact(cursor, fill)
            if must_wait:
                time.sleep(0.005)

    # --- about it

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return self._dimensions

    @property
    def url(self) -> str:
        """What connect() was given, or where open() started a server."""
        return self._url

    @property
    def can_offload(self) -> bool:
        """Whether searches can read the server's memory by themselves on this connection."""
        return self._core.can_offload()

    def server_statistics(self) -> Dict[str, Any]:
        """All that the server says of itself: version, entries, nodes, bytes ..."""
        return dict(json.loads(self._core.server_statistics()))

    def cluster(self) -> Dict[str, Any]:
        """All that the server says of its group of replicas."""
        return dict(json.loads(self._core.cluster()))

    def statistics(self) -> Dict[str, Any]:
        """What this client counted: searches by message ("messaging") and by one-sided reads ("offload"), writes."""
        return self._core.statistics()

    def reset_statistics(self) -> None:
        """Begins to count anew."""
        self._core.reset_statistics()

    def close(self) -> None:
        """Ends the connection, and the server if open() started it. Calls after this raise AttributeError."""
        if "_core" in self.__dict__:
            del self._core
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._facts()[0]

    def _facts(self) -> Tuple[int, int]:
        """Entries of the collection, and the version in which it was changed last."""
        name = self._options.get("collection", "default")
        if name == "default":
            says = self.server_statistics()
            return int(says["entries"]), int(says["version"])
        for one in self.collections():
            if one.name == name:
                return one.entries, one.version
        raise errors.NoCollectionError(f"there is no collection {name}")

    def __bool__(self) -> bool:
        return True  # also with an empty tree

    def _describe(self) -> List[str]:
        if "_core" not in self.__dict__:
            return ["closed"]
        try:
            entries, version = self._facts()
        except errors.SilurusError as error:
            return [f"no word from the server: {error}"]
        return [f"{entries} entries, version {version}", f"{self._dimensions} dimensions"]

    def __repr__(self) -> str:
        return f"<silurus.Client of {self._url}: {', '.join(self._describe())}>"

    def _repr_html_(self) -> str:
        lines = self._describe()
        if "_core" not in self.__dict__:
            return card(lines, "", None)
        try:
            far = float(np.finfo(np.float64).max)
            d = self._dimensions
            _, boxes = self.entries([-far] * d + [far] * d, limit=_SAMPLE)
        except errors.SilurusError:
            boxes = np.zeros((0, 2 * self._dimensions))
        caption = f"a sample of {len(boxes)} entries"
        return card([self._url, *lines], svg_of_boxes(boxes, self._dimensions), caption)

    @staticmethod
    def _result(written: Tuple[int, List[Tuple[int, int]]]) -> WriteResult:
        version, failed = written
        return WriteResult(version, {index: errors.name_of(code) for index, code in failed})


def connect(url: Optional[str] = None, dimensions: Optional[int] = None, **options: Any) -> Client:
    """Connects to a server.

    url: "shm:///path", "tcp://host:port" or "rdma://host:port"; those of the members of one group, parted by commas;
    or the group's name in etcd, "etcd://host:port/name". None: what the environment variable SILURUS_SERVER says, else
    the user's own server. dimensions: 2 or 3; None: as many as the server has.

    Options: mode: "adaptive", "messaging" or "offload" (how searches are run); policy: "cost", "catfish" or
    "catfish-doubling" (how the adaptive mode chooses); wait: "adaptive", "spin", "sleep" or "periodic" (how calls wait);
    collection: of the server (default: the one called "default");
    read_from: "primary" or "any" (which member of a group answers searches), max_staleness: seconds; deadline of each
    call, connect_timeout, reconnect_for: seconds; cache_bytes: for inner nodes; seed: of the policy.

    NotFoundError or UnavailableError: there is no server; UnsupportedError: it has another number of dimensions.
    """
    if url is None:
        url = _silurus.default_url()
    if dimensions is None:
        dimensions, _ = _silurus.probe(url, float(options.get("connect_timeout", 5.0)))
    core: Union[_silurus.Client2, _silurus.Client3]
    if dimensions == 2:
        core = _silurus.Client2(url, options)
    elif dimensions == 3:
        core = _silurus.Client3(url, options)
    else:
        raise ValueError(f"a tree has 2 or 3 dimensions, not {dimensions}")
    return Client(core, url, dimensions, options)
