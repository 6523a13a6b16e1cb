"""Builds the Cython extensions: every src/**/*.pyx becomes the module of its place. pyproject.toml has the metadata.

NUMCHECK_DEBUG_BUILD=1 checks bounds and compiles for a debugger; NUMCHECK_SANITIZE=1 adds the address and
undefined-behaviour sanitizers. Neither shows in a file's time, so add --force when either changes:

    NUMCHECK_DEBUG_BUILD=1 .venv/bin/python setup.py build_ext --inplace --force

NUMCHECK_SKIP_EXTENSIONS=1 builds none: the Makefile installs the package so, and then builds in place what has changed.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "scripts"))
from preflight import native_door_lacks, refuse_unless_buildable  # noqa: E402 - a build's own directory is not on the path

DEBUG = os.environ.get("NUMCHECK_DEBUG_BUILD") == "1"
SANITIZE = os.environ.get("NUMCHECK_SANITIZE") == "1"
SOURCES = [] if os.environ.get("NUMCHECK_SKIP_EXTENSIONS") == "1" else sorted(ROOT.glob("src/**/*.pyx"))

# What speaks HTTP/2 itself: the native door, and the load generator of `numcheck bench`.
NATIVE_HTTP2 = (ROOT / "src/numcheck/_edge.pyx", ROOT / "src/numcheck/_load.pyx")
NATIVE_HTTP2_LIBRARIES = ["nghttp2", "ssl", "crypto", "z"]
if SOURCES and (lacking := native_door_lacks()):
    print(f"numcheck is built without its native door and load generator: {lacking}", file=sys.stderr)
    SOURCES = [source for source in SOURCES if source not in NATIVE_HTTP2]

# No -march=native: a wheel runs on any machine of its kind.
COMPILE_ARGS = ["-O0", "-g", "-UNDEBUG"] if DEBUG else ["-O3"]
LINK_ARGS = []
if SANITIZE:
    LINK_ARGS += ["-fsanitize=address,undefined"]
    COMPILE_ARGS += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]

# A debug build checks more and means the same: what changes the language (cdivision, wraparound) stays as it is.
DIRECTIVES = {
    # No pickling of what holds pointers and no __test__ for doctest: a module has what its .pyi says, and no more.
    "auto_pickle": False,
    "autotestdict": False,
    "boundscheck": DEBUG,
    "cdivision": True,
    "initializedcheck": DEBUG,
    "language_level": 3,
    "wraparound": False,
}


class BuildExtensions(build_ext):
    """Builds with the directives above, or says in one line what this machine lacks."""

    def run(self) -> None:
        """Build, if there is what it takes."""
        refuse_unless_buildable()
        self.cython_directives = DIRECTIVES
        super().run()


def extension(source: Path) -> Extension:
    """Return the module that a .pyx file of src/ becomes."""
    path = source.relative_to(ROOT)
    name = ".".join(path.with_suffix("").parts[1:])
    libraries = NATIVE_HTTP2_LIBRARIES if source in NATIVE_HTTP2 else []
    return Extension(name, [str(path)], libraries=libraries, extra_compile_args=COMPILE_ARGS, extra_link_args=LINK_ARGS)


setup(
    ext_modules=[extension(source) for source in SOURCES],
    cmdclass={"build_ext": BuildExtensions},
)
