# SPDX-License-Identifier: Apache-2.0

"""Reads netCDF files of the classic format (CDF-1 and CDF-2) by the format's own description, without libnetcdf: what tests
of silurus-read-netcdf compare it with. Of variables with a record dimension the first record is read."""
import struct

import numpy

TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8"}


class File:
    """dimensions: name to length; variables: name to (dimensions' names, attributes, array)."""

    def __init__(self, path):
        self.bytes = open(path, "rb").read()
        assert self.bytes[:3] == b"CDF" and self.bytes[3] in (1, 2)
        self.offset_size = 4 if self.bytes[3] == 1 else 8
        self.at = 8  # behind the number of records
        dimensions = self.many(lambda: (self.text(), self.number()))
        self.dimensions = dict(dimensions)
        self.many(self.attribute)
        self.variables = dict(self.many(lambda: self.variable([name for name, _ in dimensions])))

    def number(self, size=4):
        self.at += size
        return int.from_bytes(self.bytes[self.at - size:self.at], "big")

    def text(self):
        size = self.number()
        text = self.bytes[self.at:self.at + size].decode("utf-8", "replace")
        self.at += (size + 3) // 4 * 4
        return text

    def many(self, read):
        self.number()  # which kind of list
        return [read() for _ in range(self.number())]

    def attribute(self):
        name, kind, count = self.text(), self.number(), self.number()
        size = numpy.dtype(TYPES[kind]).itemsize * count
        raw = self.bytes[self.at:self.at + size]
        self.at += (size + 3) // 4 * 4
        return name, raw.decode("latin-1") if kind == 2 else numpy.frombuffer(raw, TYPES[kind])

    def variable(self, names):
        name = self.text()
        dimensions = [names[self.number()] for _ in range(self.number())]
        attributes = dict(self.many(self.attribute))
        kind, _, begin = self.number(), self.number(), self.number(self.offset_size)
        shape = [self.dimensions[dimension] for dimension in dimensions]
        if shape and shape[0] == 0:
            shape[0] = 1  # the dimension of records
        count = int(numpy.prod(shape)) if shape else 1
        array = numpy.frombuffer(self.bytes, TYPES[kind], count, begin).reshape(shape)
        return name, (dimensions, attributes, array)
