"""An event of the log is a line of it, whatever its texts hold."""

import pytest
import structlog

from numcheck.serving.logs import begin_log

HOSTILE = "x\x1b]0;title\x07\n2026-11-28 00:00:00 [info] forged \x9b31m\u202e\u2029"


@pytest.fixture
def log(capsys):
    before = structlog.get_config()
    begin_log()
    yield structlog.get_logger()
    structlog.configure(**before)


def test_hostile_texts_neither_begin_a_line_nor_reach_the_terminal(log, capsys):
    log.info(HOSTILE, name=HOSTILE, names=[HOSTILE], **{HOSTILE: 1})
    text = capsys.readouterr().err  # what is no terminal gets no colours
    assert text.count("\n") == 1
    assert not [character for character in text.removesuffix("\n") if not character.isprintable()]


def test_hostile_error_is_shown_line_by_line(log, capsys):
    """Its traceback has lines of its own; none of their characters is acted on."""
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")
    text = capsys.readouterr().err
    assert "ValueError" in text
    assert not [character for character in text if character != "\n" and not character.isprintable()]
