"""Several things are ended at the same time, by one deadline, and what does not end is left behind."""

import threading

from numcheck.deadline import Deadline, end_together


def test_all_end_at_the_same_time():
    """Each waits for the other, which one after the other they would do for ever."""
    both, ended = threading.Barrier(2), []

    def end() -> None:
        both.wait()
        ended.append(True)

    end_together(end, end, deadline=Deadline(60))
    assert ended == [True, True]


def test_work_that_does_not_end_is_left_behind():
    """Such as a read of a disk that is away: the others have ended, and its thread is one that Python tells of."""
    never, ended = threading.Event(), []

    def stuck() -> None:
        never.wait()

    end_together(stuck, lambda: ended.append(True), deadline=Deadline(0.05))
    assert ended == [True]
    (left,) = [one for one in threading.enumerate() if one.name == stuck.__qualname__]
    assert not left.daemon
    never.set()
    left.join()
