# SPDX-License-Identifier: Apache-2.0

# The package for Python, where there is what it needs; SILURUS_PYTHON says whether it is built.
# Sanitized builds make no libsilurus.
set(SILURUS_PYTHON_DIR lib/python3/dist-packages CACHE STRING "Where packages of Python are installed, below the prefix")
if(NOT TARGET silurus_shared)
  set(SILURUS_PYTHON OFF)
  return()
endif()
# Debian's interpreter, for which Debian's pybind11 and numpy are; -DPython_EXECUTABLE=... takes another.
if(NOT DEFINED Python_EXECUTABLE AND EXISTS /usr/bin/python3)
  set(Python_EXECUTABLE /usr/bin/python3 CACHE FILEPATH "The interpreter that the package is built for")
endif()
find_package(Python COMPONENTS Interpreter Development.Module QUIET)
find_package(pybind11 2.10 CONFIG QUIET)
if(NOT Python_Development.Module_FOUND OR NOT pybind11_FOUND)
  message(STATUS "silurus for Python is left out: it needs python3-dev and pybind11-dev (scripts/setup --test)")
  set(SILURUS_PYTHON OFF)
  return()
endif()
add_subdirectory(python)
