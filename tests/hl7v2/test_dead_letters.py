"""What is refused is kept once, whole, and for its owner only."""

import json
import os
import re
import stat
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Accepts, Fault, FaultCode
from app.hl7v2 import dead_letters
from app.hl7v2.dead_letters import DeadLetters
from app.hl7v2.mllp_command import letter_lines

MESSAGE = b"MSH|^~\\&|LAB\rPID|||4711||DOE^JANE\r\xff\x00"
FAULTS = [Fault("OBX[2]-6", FaultCode.UNKNOWN_UNIT)]


def keep(letters, message=MESSAGE, **more):
    return letters.keep(message, **{"study": "ward7", "sender": "10.0.0.5", "code": "AE", "faults": FAULTS} | more)


def test_a_letter_is_the_message_as_it_came_and_a_note_without_its_values(letters):
    letter = keep(letters)
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{16}\.hl7", letter.file.name)
    assert letter.file.read_bytes() == MESSAGE
    written = letter.file.with_suffix(".json").read_text()
    assert "DOE" not in written
    assert "4711" not in written
    note = json.loads(written)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", note["received"])
    assert note == {
        "received": note["received"],
        "last_received": note["received"],
        "times": 1,
        "study": "ward7",
        "sender": "10.0.0.5",
        "code": "AE",
        "faults": [{"place": "OBX[2]-6", "code": "unknown_unit", "sentence": FAULTS[0].sentence}],
        "whole": True,
    }


def test_the_note_says_what_would_have_been_accepted(letters):
    fault = Fault("PID-8", FaultCode.UNKNOWN_VALUE, None, Accepts(one_of=("F", "M")))
    written = json.loads(keep(letters, faults=[fault]).file.with_suffix(".json").read_text())
    assert written["faults"][0]["sentence"].endswith("documented for this field. Accepted: F, M.")


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_letters_are_for_their_owner_only_whatever_the_mask(tmp_path):
    before = os.umask(0)
    try:
        letters = DeadLetters(tmp_path / "a" / "letters")
        letters.prepare()
        letter = keep(letters)
    finally:
        os.umask(before)
    files = [letters.directory, letter.file, letter.file.with_suffix(".json")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o700, 0o600, 0o600]
    assert {file.name for file in letters.directory.iterdir()} == {file.name for file in files[1:]}


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_a_directory_that_others_may_enter_is_not_used(letters):
    letters.directory.chmod(0o750)
    with pytest.raises(PermissionError):
        letters.prepare()


def test_what_a_listener_that_was_killed_left_half_written_is_removed_at_the_next_start(letters):
    """It holds a part of a message, and no list shows it."""
    (letters.directory / ".20050317T080000.000000Z-0123456789abcdef.hl7.01234567.part").write_bytes(MESSAGE[:20])
    letter = keep(letters)
    letters.prepare()
    assert not list(letters.directory.glob(".*"))
    assert letter.message() == MESSAGE


def test_a_message_that_is_refused_again_is_counted_and_not_kept_twice(letters):
    first = keep(letters)
    again = keep(letters, code="AR", faults=[])
    assert again.file == first.file
    (letter,) = letters.all()
    note = letter.note()
    assert (note.times, note.code, note.faults) == (2, "AR", ())
    assert note.received < note.last_received
    keep(letters, study="ward8")
    keep(letters, MESSAGE + b"\r")
    assert len(list(letters.all())) == 3


def test_a_message_mended_in_its_place_is_not_overwritten_when_the_sender_sends_it_again(letters):
    letter = keep(letters)
    letter.file.write_bytes(b"mended")
    keep(letters)
    assert [each.message() for each in letters.all()] == [b"mended"]


@pytest.mark.parametrize("broken_at", range(1, 40))
def test_a_letter_is_there_as_a_whole_or_not_at_all_wherever_the_disk_fails(letters, monkeypatch, broken_at):
    """Each call of the system fails once; whoever finds a message finds all of it and its note."""
    calls = 0

    def failing(real):
        def call(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == broken_at:
                raise OSError
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patched:
        for name in ("open", "fsync"):
            patched.setattr(dead_letters.os, name, failing(getattr(os, name)))
        patched.setattr(dead_letters.Path, "replace", failing(dead_letters.Path.replace))
        failed = True
        with suppress(OSError):
            keep(letters)
            failed = False
    assert failed == (broken_at <= calls)
    for letter in letters.all():
        assert letter.message() == MESSAGE
        assert letter.note() is not None
    assert failed or len(list(letters.all())) == 1
    assert not list(letters.directory.glob(".*"))
    keep(letters)
    assert [letter.message() for letter in letters.all()] == [MESSAGE]


def test_everything_is_on_the_disk_before_a_letter_counts_as_kept(letters, monkeypatch):
    done = []
    real_fsync, real_replace = os.fsync, dead_letters.Path.replace
    monkeypatch.setattr(
        dead_letters.os,
        "fsync",
        lambda fd: (done.append("dir" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"), real_fsync(fd)),
    )
    monkeypatch.setattr(
        dead_letters.Path, "replace", lambda old, new: (done.append(new.suffix), real_replace(old, new))[1]
    )
    keep(letters)
    assert done == ["file", ".json", "dir", "file", ".hl7", "dir"]


@given(st.binary(max_size=300))
def test_a_list_survives_any_note(tmp_path_factory, content):
    letters = DeadLetters(tmp_path_factory.mktemp("letters"))
    letter = keep(letters)
    letter.file.with_suffix(".json").write_bytes(content)
    (line,) = letter_lines(letters.all())
    assert line.startswith(str(letter.file))
    keep(letters)
    assert letter.note().times == 2


def test_a_list_tells_each_letter_in_a_line(letters):
    keep(letters, faults=[*FAULTS, Fault("PID-3", FaultCode.NO_SUBJECT)])
    keep(letters)
    keep(letters, b"", code=None, faults=[Fault("", FaultCode.TOO_LONG)], whole=False)
    first, second = letter_lines(letters.all())
    assert re.search(r"\.hl7  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \(2 times\)  ward7  AE  OBX\[2\]-6 unknown_unit$", first)
    assert second.endswith("Z  ward7  not answered  too_long")


def test_where_nothing_was_refused_there_is_no_directory_to_list(tmp_path):
    assert list(DeadLetters(tmp_path / "nothing").all()) == []
