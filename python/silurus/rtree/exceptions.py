"""The exception of python3-rtree."""


class RTreeError(Exception):
    """What an index refuses."""
