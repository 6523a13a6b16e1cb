"""scripts/judge_leaks.py finds what the extensions lost in LeakSanitizer's reports, and nothing of others."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts/judge_leaks.py"
HEAD = """
=================================================================
==7==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 72 byte(s) in 1 object(s) allocated from:
    #0 0x7f1f370b78d5 in __interceptor_calloc ../../../../src/libsanitizer/asan/asan_malloc_linux.cpp:77
"""
TAIL = "    #2 0x7f1f36ba6ee1 in cfunction_vectorcall_O Objects/methodobject.c:514\n\nSUMMARY: AddressSanitizer\n"
OURS = (
    "__pyx_f_8numcheck_5_edge_make_ask src/numcheck/_edge.c:20183",
    "__pyx_f_8numcheck_5_fast_admit (/home/me/build/sanitized/numcheck/_fast.cpython-311-x86_64-linux-gnu.so+0x1f)",
    "nghttp2_session_server_new2 (/lib/x86_64-linux-gnu/libnghttp2.so.14+0x5c32)",
)
OTHERS = (
    "gc_alloc Modules/gcmodule.c:2283",
    "_my_Py_InitModule (/home/me/.venv/lib/_cffi_backend.cpython-311-x86_64-linux-gnu.so+0x264b7)",
)


def judged(directory: Path) -> int:
    return subprocess.run([sys.executable, SCRIPT, directory, "build/sanitized"], check=False).returncode


@pytest.mark.parametrize("frame", [*OURS, *OTHERS])
def test_leak_is_ours_if_we_asked_for_the_memory(tmp_path: Path, frame: str) -> None:
    (tmp_path / "report.7").write_text(f"{HEAD}    #1 0x7f1f317ff5cd in {frame}\n{TAIL}")
    assert judged(tmp_path) == (frame in OURS)


def test_run_that_wrote_no_report_is_not_a_clean_one(tmp_path: Path) -> None:
    assert judged(tmp_path) == 1
