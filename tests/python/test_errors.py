# SPDX-License-Identifier: Apache-2.0

import pathlib
import re

import pytest

from silurus import errors

HEADER = pathlib.Path(__file__).parents[2] / "include" / "silurus" / "result.h"


def codes_of_the_library():
    body = re.search(r"enum class ErrorCode.*?\{(.*?)\};", HEADER.read_text(), re.S)[1]
    return {int(code): name for name, code in re.findall(r"k(\w+) = (\d+)", body)}


def test_every_code_has_an_exception_of_its_own():
    assert sorted(errors._BY_CODE) == sorted(codes_of_the_library())


@pytest.mark.parametrize("code, name", codes_of_the_library().items())
def test_names_are_those_of_the_library(code, name):
    assert errors.name_of(code) == re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def test_an_unknown_code_is_kept():
    assert (errors.error_of(999, "new").code, str(errors.error_of(999, "new"))) == (999, "new")
