# SPDX-License-Identifier: Apache-2.0

"""Builds the extension module of the package for Python with CMake; pyproject.toml says the rest.

The package takes the client library and silurus-server with it. SILURUS_BUILD_DIR names a build folder that has been
built, whose programs are taken instead of building them again.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).resolve().parent
OPTIONS = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DSILURUS_TESTS=OFF", "-DSILURUS_BENCH=OFF", "-DSILURUS_TOOL=OFF",
           "-DCMAKE_UNITY_BUILD=ON", f"-DPython_EXECUTABLE={sys.executable}"]


class BuildWithCMake(build_ext):
    def build_extension(self, extension):
        package = pathlib.Path(self.get_ext_fullpath(extension.name)).resolve().parent
        (package / "bin").mkdir(parents=True, exist_ok=True)
        given = os.environ.get("SILURUS_BUILD_DIR")
        build = pathlib.Path(given or pathlib.Path(self.build_temp) / "cmake").resolve()
        if given is None:
            subprocess.run(["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", *OPTIONS], check=True)
            subprocess.run(["cmake", "--build", build], check=True)
        with tempfile.TemporaryDirectory() as prefix:
            subprocess.run(["cmake", "--install", build, "--prefix", prefix, "--strip"], check=True, stdout=subprocess.DEVNULL)
            installed = pathlib.Path(prefix)
            modules = list(installed.rglob("_silurus*.so"))
            if not modules:
                raise SystemExit("the build has no module for Python: pybind11-dev and python3-dev are needed (scripts/setup --test)")
            shutil.copy(modules[0], package / modules[0].name)
            shutil.copy(next(installed.rglob("libsilurus.so.1")), package / "libsilurus.so.1")
            shutil.copy(installed / "bin" / "silurus-server", package / "bin" / "silurus-server")


setup(ext_modules=[Extension("silurus._silurus", sources=[])], cmdclass={"build_ext": BuildWithCMake})
