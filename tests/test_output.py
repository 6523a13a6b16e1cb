"""A file that is written appears whole or not at all, and nothing that somebody put in its way is followed."""

import os
import stat
import threading
from pathlib import Path

import pytest

from numcheck import output
from numcheck.output import OWNER_ONLY, OWNER_READS, replacing, write_whole


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_file_takes_its_name_when_it_is_complete(tmp_path):
    target = tmp_path / "out"
    target.write_bytes(b"before")
    with replacing(target) as file:
        file.write(b"after")
        file.flush()
        assert target.read_bytes() == b"before"
    assert target.read_bytes() == b"after"
    assert names(tmp_path) == ["out"]


def test_missing_directory_is_named(tmp_path):
    """Not the name of a part that nobody has heard of."""
    with pytest.raises(FileNotFoundError) as refused:
        write_whole(tmp_path / "none" / "out", b"")
    assert refused.value.filename == str(tmp_path / "none")


@pytest.mark.parametrize("before", [None, b"before"])
def test_nothing_has_changed_when_the_writing_fails(tmp_path, before):
    target = tmp_path / "out"
    if before is not None:
        target.write_bytes(before)

    def fail_midway() -> None:
        with replacing(target) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_midway()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize("leads_to", ["victim", "nothing"])
def test_symbolic_link_is_neither_followed_nor_replaced(tmp_path, leads_to):
    victim, target = tmp_path / "victim", tmp_path / "out"
    victim.write_bytes(b"untouched")
    target.symlink_to(tmp_path / leads_to)
    with pytest.raises(OSError, match="a symbolic link, which is never followed"):
        write_whole(target, b"x")
    assert victim.read_bytes() == b"untouched"
    assert names(tmp_path) == ["out", "victim"]
    assert target.is_symlink()


def test_name_of_the_part_is_taken_only_if_it_is_free(tmp_path, monkeypatch):
    """Even somebody who could foresee it gains nothing."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    monkeypatch.setattr(output.secrets, "token_hex", lambda _size: "known")
    (tmp_path / ".numcheck-known").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "out", b"x")
    assert victim.read_bytes() == b"untouched"


def test_two_writers_at_once_do_not_share_a_part(tmp_path):
    with replacing(tmp_path / "out") as one, replacing(tmp_path / "out") as other:
        one.write(b"one")
        other.write(b"other")
        assert len(set(names(tmp_path))) == 2
    assert (tmp_path / "out").read_bytes() == b"one"


@pytest.mark.parametrize("mode", [OWNER_ONLY, OWNER_READS])
def test_private_file_is_its_owners_from_the_first_byte(tmp_path, mode):
    """Also where a file that everybody could read stood before, and whatever the umask."""
    target = tmp_path / "key"
    target.touch(0o666)
    before = os.umask(0)
    try:
        with replacing(target, mode=mode) as file:
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_file_that_is_replaced_keeps_its_permissions(tmp_path):
    target = tmp_path / "out"
    target.touch()
    target.chmod(0o640)
    write_whole(target, b"x")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_new_file_heeds_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "out", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_pipe_takes_what_comes_and_is_not_replaced(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"x")
    reader.join()
    assert (read, pipe.is_fifo()) == ([b"x"], True)


def test_long_name_is_written(tmp_path):
    """The part's name is not longer than a name may be."""
    target = tmp_path / ("x" * 255)
    write_whole(target, b"x")
    assert target.read_bytes() == b"x"
