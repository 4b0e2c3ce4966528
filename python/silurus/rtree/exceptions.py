# SPDX-License-Identifier: Apache-2.0

"""The exception of python3-rtree."""


class RTreeError(Exception):
    """What an index refuses."""
