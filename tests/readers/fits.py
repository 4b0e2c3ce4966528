# SPDX-License-Identifier: Apache-2.0

"""Reads and writes tables of FITS files by the standard's own description (4.0, chapters 3, 4 and 7), without cfitsio: what
tests of silurus-read-fits compare it with."""
import numpy

BLOCK, CARD = 2880, 80
TYPES = {"J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


def units(path):
    """(cards, bytes of data) of all header and data units."""
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        cards, is_ended = {}, False
        while not is_ended:
            for begin in range(at, at + BLOCK, CARD):
                card = data[begin:begin + CARD].decode("latin-1")
                if card.startswith("END "):
                    is_ended = True
                    break
                cards[card[:8].strip()] = card[10:].split(" /")[0].strip().strip("'").strip()
            at += BLOCK
        axes = [int(cards[f"NAXIS{axis + 1}"]) for axis in range(int(cards.get("NAXIS", 0)))]
        size = abs(int(cards["BITPIX"])) // 8 * int(numpy.prod(axes)) if axes else 0
        yield cards, data[at:at + size]
        at += (size + BLOCK - 1) // BLOCK * BLOCK


def columns(path):
    """Columns of one number each of the first table, by name."""
    cards, data = next((cards, data) for cards, data in units(path) if cards.get("XTENSION") == "BINTABLE")
    kinds = [(cards[f"TTYPE{i + 1}"], TYPES[cards[f"TFORM{i + 1}"].lstrip("1")]) for i in range(int(cards["TFIELDS"]))]
    return numpy.frombuffer(data, kinds)


def write(path, name, arrays):
    """A file with one table. Types of the arrays are those of TYPES, in any order of bytes."""
    table = numpy.rec.fromarrays([array.astype(array.dtype.newbyteorder(">")) for array in arrays.values()])
    letters = {kind[1:]: letter for letter, kind in TYPES.items()}
    cards = [("XTENSION", "'BINTABLE'"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", table.dtype.itemsize),
             ("NAXIS2", len(table)), ("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", len(arrays)), ("EXTNAME", f"'{name}'")]
    for i, (column, array) in enumerate(arrays.items()):
        cards += [(f"TTYPE{i + 1}", f"'{column}'"), (f"TFORM{i + 1}", f"'1{letters[array.dtype.str[1:]]}'")]
    with open(path, "wb") as file:
        for unit in ([("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", "T")], cards):
            header = "".join(f"{key:8}= {value:>20}".ljust(CARD) for key, value in unit) + "END"
            file.write(header.ljust((len(header) + BLOCK - 1) // BLOCK * BLOCK).encode())
        file.write(table.tobytes().ljust((table.nbytes + BLOCK - 1) // BLOCK * BLOCK, b"\0"))
