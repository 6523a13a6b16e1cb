"""A process that served ends, whatever its threads do."""

import subprocess
import sys

PROGRAM = """
import threading
from concurrent.futures import ThreadPoolExecutor
from numcheck.serving.ending import leave_threads_behind

begun, pool = threading.Event(), ThreadPoolExecutor(2, thread_name_prefix="api")
{work}
pool.shutdown(wait=False)
print("stopped")
leave_threads_behind()
print("by itself")
"""
STUCK = "pool.submit(lambda: (begun.set(), threading.Event().wait())); begun.wait()"


def ended(work: str) -> tuple[int, list[str], str]:
    program = [sys.executable, "-c", PROGRAM.format(work=work)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_a_thread_that_does_not_end_is_left_behind_and_named():
    code, (stopped, line), _ = ended(STUCK)
    assert (code, stopped) == (0, "stopped")
    assert "left behind" in line
    assert "api_0" in line


def test_a_process_without_such_threads_ends_by_itself():
    assert ended("pool.submit(int).result(); pool.shutdown()") == (0, ["stopped", "by itself"], "")
