"""Builds the gRPC C++ peer from its sources, once for each state of them."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

from Cython.Build import cythonize
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
BUILT = HERE.parents[1] / "build" / "peers"
SOURCES = (HERE / "grpc_server.pyx", HERE / "grpc_server.h")


class CannotBuild(Exception):
    """There is no compiler, no library, or no header."""


def grpc_server() -> ModuleType:
    """The module of grpc_server.pyx; CannotBuild if it cannot be made here."""
    path = _built()
    if path is None or path.stat().st_mtime < max(source.stat().st_mtime for source in SOURCES):
        _build()
        path = _built()
    spec = importlib.util.spec_from_file_location("grpc_server", path) if path else None
    if spec is None or spec.loader is None:
        raise CannotBuild("the gRPC C++ peer was not built")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _built() -> Path | None:
    return next(BUILT.glob("grpc_server.*.so"), None)


def _build() -> None:
    extension = Extension(
        "grpc_server",
        [str(SOURCES[0])],
        include_dirs=[str(HERE)],
        extra_compile_args=["-O2", "-std=c++17", "-Wno-deprecated-declarations", *_pkg_config("--cflags")],
        extra_link_args=_pkg_config("--libs"),
    )
    BUILT.mkdir(parents=True, exist_ok=True)
    modules = cythonize([extension], include_path=[str(HERE.parents[1] / "src")], build_dir=str(BUILT), quiet=True)
    command = build_ext(Distribution({"name": "peers", "ext_modules": modules}))
    command.build_lib, command.build_temp, command.force = str(BUILT), str(BUILT), True
    command.ensure_finalized()
    try:
        command.run()
    except Exception as error:
        raise CannotBuild(f"the gRPC C++ peer cannot be compiled: {error}") from error


def _pkg_config(what: str) -> list[str]:
    try:
        return subprocess.run(["pkg-config", what, "grpc++"], check=True, capture_output=True, text=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        raise CannotBuild("gRPC C++ is missing: apt install libgrpc++-dev pkg-config g++") from None
