"""Says in one line what this machine lacks to build and run numcheck, and fails; silent if nothing.

Written for any python3, so that one that is too old gets an answer and not a syntax error.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig

PYTHON_MIN = (3, 11)
APT_LINE = "apt install python3-venv python3-dev gcc make"
NATIVE_DOOR_PACKAGES = ["libnghttp2-dev", "libssl-dev", "zlib1g-dev"]
NATIVE_DOOR_APT_LINE = " ".join(["apt install", *NATIVE_DOOR_PACKAGES])
XCODE_LINE = "xcode-select --install"


def refuse_unless_buildable():
    """Exit with one line unless this Python's extensions can be compiled here."""
    _refuse(_lacking_to_build())


def refuse_unless_runnable():
    """Exit with one line unless a virtual environment can be made and the extensions compiled here."""
    if sys.version_info < PYTHON_MIN:
        _exit(
            "numcheck needs Python {}.{} or newer; {} is {}. With another one: make PYTHON=python3.12".format(
                *PYTHON_MIN, sys.executable, sys.version.split()[0]
            )
        )
    _refuse(_lacking_modules() + _lacking_to_build())


def native_door_lacks():
    """Return what the native door cannot be built for here, in a line; None if it can be built."""
    if not sys.platform.startswith("linux"):
        return "it needs Linux's epoll"
    headers = b"#include <sys/types.h>\n#include <nghttp2/nghttp2.h>\n#include <openssl/ssl.h>\n#include <zlib.h>\n"
    if _succeeds(_compiler(), headers):
        return None
    return "the headers of libnghttp2, OpenSSL or zlib are missing; to install: " + NATIVE_DOOR_APT_LINE


def install_for_native_door():
    """Install what the native door is built from, if that can be done without asking; quietly go on if not."""
    if native_door_lacks() is None or not sys.platform.startswith("linux"):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print("Installing {} for the native door".format(", ".join(NATIVE_DOOR_PACKAGES)))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *NATIVE_DOOR_PACKAGES]
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    try:
        if subprocess.run(install, env=environment, timeout=300, check=False, **quiet).returncode != 0:
            subprocess.run(["apt-get", "update"], env=environment, timeout=300, check=False, **quiet)
            subprocess.run(install, env=environment, timeout=300, check=False, **quiet)
    except (OSError, subprocess.TimeoutExpired):
        return


def _compiler():
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def _lacking_modules():
    # Debian keeps ensurepip, without which venv makes no pip, in python3-venv.
    return ["the module " + name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]


def _lacking_to_build():
    compiler = _compiler()
    # macOS has a cc that only says that there is none, and headers can be without what they include: try both.
    if not _succeeds(compiler, b"int numcheck;\n"):
        return ["a C compiler ({})".format(compiler[0])]
    if not _succeeds([*compiler, "-I" + sysconfig.get_path("include")], b"#include <Python.h>\n"):
        return ["Python's headers (Python.h)"]
    return []


def _succeeds(compiler, source):
    command = [*compiler, "-fsyntax-only", "-x", "c", "-"]
    try:
        run = subprocess.run(
            command, input=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0


def _refuse(lacking):
    if lacking:
        remedy = XCODE_LINE if sys.platform == "darwin" else APT_LINE
        _exit("numcheck cannot be built here without {}. To install: {}".format(" and ".join(lacking), remedy))


def _exit(line):
    sys.stdout.flush()
    sys.exit(line)


if __name__ == "__main__":
    refuse_unless_runnable()
    install_for_native_door()
