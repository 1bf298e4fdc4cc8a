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
from app.hl7v2.mllp_command import letter_lines
from app.submission import dead_letters
from app.submission.dead_letters import DeadLetters, LetterKeys, SealedOtherwise
from tests.hl7v2.conftest import KEYS

MESSAGE = b"MSH|^~\\&|LAB\rPID|||4711||DOE^JANE\r\xff\x00"
FAULTS = [Fault("OBX[2]-6", FaultCode.UNKNOWN_UNIT)]


def keep(letters, message=MESSAGE, **more):
    return letters.keep(message, **{"study": "ward7", "sender": "10.0.0.5", "code": "AE", "faults": FAULTS} | more)


def test_a_letter_is_the_message_as_it_came_encrypted_and_a_note_without_its_values(letters):
    letter = keep(letters, control_id="C1", persons=[b"\x01" * 32])
    assert re.fullmatch(r"[0-9a-f]{32}\.letter", letter.file.name)
    assert letter.message() == MESSAGE
    assert not any(word in letter.file.read_bytes() for word in (b"MSH|^~", b"|4711|", b"DOE^JANE"))  # no chance
    written = letter.file.with_suffix(".json").read_text()
    note = json.loads(written)
    assert "DOE" not in written
    assert "4711" not in written.replace(note["received"], "")  # a time may have any digits
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", note["received"])
    assert note == {
        "received": note["received"],
        "last_received": note["received"],
        "times": 1,
        "study": "ward7",
        "sender": "10.0.0.5",
        "code": "AE",
        "control_id": "C1",
        "faults": [{"place": "OBX[2]-6", "code": "unknown_unit", "sentence": FAULTS[0].sentence}],
        "whole": True,
        "kept": True,
        "persons": ["01" * 16],
    }


def test_the_same_message_is_encrypted_differently_each_time_and_named_by_a_hash_with_a_key(letters, tmp_path):
    other = DeadLetters(tmp_path / "other", LetterKeys("another secret", KEYS.root))
    other.prepare()
    first, second = keep(letters), keep(other)
    assert first.file.name != second.file.name
    content = first.file.read_bytes()
    first.remove()
    assert keep(letters).file.read_bytes() != content


def test_a_letter_is_read_with_its_secret_only_and_only_under_its_name(letters):
    letter = keep(letters)
    stranger = DeadLetters(letters.directory, LetterKeys("another secret", lambda: b"other" * 8))
    with pytest.raises(SealedOtherwise):
        next(stranger.all()).message()
    moved = letter.file.with_name("0" * 32 + ".letter")
    letter.file.rename(moved)
    letter.file.with_suffix(".json").rename(moved.with_suffix(".json"))
    with pytest.raises(SealedOtherwise):
        next(letters.all()).message()


def test_a_letter_from_before_there_was_a_secret_is_read_with_the_secret_file(letters, tmp_path):
    without = DeadLetters(tmp_path / "letters", LetterKeys(None, KEYS.root))
    keep(without)
    assert [letter.message() for letter in letters.all()] == [MESSAGE]


def test_an_erasure_finds_the_letters_of_a_person_and_no_others(letters):
    one, other = b"\x01" * 32, b"\x02" * 32
    keep(letters, persons=[one])
    keep(letters, b"of both", persons=[one, other])
    keep(letters, b"of the other", persons=[other])
    keep(letters, b"elsewhere", study="ward8", persons=[one])
    keep(letters, b"of nobody")
    assert letters.studies() == ["ward7", "ward8"]
    assert (letters.has("ward7", one), letters.forget("ward7", one), letters.has("ward7", one)) == (True, 2, False)
    assert sorted(letter.message() for letter in letters.all()) == [b"elsewhere", b"of nobody", b"of the other"]
    assert letters.forget("ward7", one) == 0
    for letter in letters.all():
        letter.remove()
    assert [each for each in letters.directory.rglob("*") if each.is_file()] == []


def test_of_a_message_that_must_not_be_kept_there_is_the_note_alone(letters):
    letter = keep(letters, control_id="C1", persons=[b"\x01" * 32], sealed=False)
    assert [each.name for each in letters.directory.iterdir()] == [letter.file.with_suffix(".json").name]
    assert (letter.note().kept, letter.note().control_id, letter.note().persons) == (False, "C1", ())
    assert keep(letters, sealed=False).note().times == 2


def test_a_message_that_must_not_be_kept_any_more_is_deleted(letters):
    letter = keep(letters, persons=[b"\x01" * 32])
    keep(letters, sealed=False)
    assert not letter.file.exists()
    assert letter.note().times == 2
    assert not letters.has("ward7", b"\x01" * 32)


def test_a_list_of_files_names_each_letter_once_in_the_order_of_arrival_and_no_folder(letters):
    kept = [keep(letters, bytes([n]), persons=[bytes([n]) * 32]) for n in range(9)]
    (letters.directory / "found.txt").write_bytes(b"")
    files = sorted(letters.directory.iterdir())
    named = [letter.file for letter in letters.among([*files, *files])]
    assert named == [letters.directory / "found.txt", *[letter.file for letter in kept]]


def test_to_keep_a_letter_costs_the_same_beside_ten_and_beside_thousands(letters, monkeypatch):
    """No list of the directory is read, and as many files are opened."""
    opened = []
    real = os.open
    monkeypatch.setattr(dead_letters.os, "open", lambda *given, **named: opened.append(1) or real(*given, **named))
    for name in ("iterdir", "glob", "rglob"):
        monkeypatch.setattr(dead_letters.Path, name, None)
    costs = []
    for count in range(300):
        before = len(opened)
        keep(letters, str(count).encode(), persons=[str(count).encode() * 8])
        costs.append(len(opened) - before)
    assert len(set(costs[1:])) == 1


def test_the_note_says_what_would_have_been_accepted(letters):
    fault = Fault("PID-8", FaultCode.UNKNOWN_VALUE, None, Accepts(one_of=("F", "M")))
    written = json.loads(keep(letters, faults=[fault]).file.with_suffix(".json").read_text())
    assert written["faults"][0]["sentence"].endswith("documented for this field. Accepted: F, M.")


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_letters_are_for_their_owner_only_whatever_the_mask(tmp_path):
    before = os.umask(0)
    try:
        letters = DeadLetters(tmp_path / "a" / "letters", KEYS)
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
        assert not letter.file.exists() or letter.message() == MESSAGE
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
    assert done == ["file", ".json", "dir", "file", ".letter", "dir"]


@given(st.binary(max_size=300))
def test_a_list_survives_any_note(tmp_path_factory, content):
    letters = DeadLetters(tmp_path_factory.mktemp("letters"), KEYS)
    letter = keep(letters)
    letter.file.with_suffix(".json").write_bytes(content)
    (line,) = letter_lines(letters.all())
    assert line.startswith(str(letter.file))
    keep(letters)
    assert letter.note().times == 1
    assert letter.message() == MESSAGE


def test_a_list_tells_each_letter_in_a_line(letters):
    keep(letters, faults=[*FAULTS, Fault("PID-3", FaultCode.NO_SUBJECT)])
    keep(letters)
    keep(letters, b"", code=None, faults=[Fault("", FaultCode.TOO_LONG)], whole=False)
    first, second = letter_lines(letters.all())
    assert re.search(
        r"\.letter  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \(2 times\)  ward7  AE  OBX\[2\]-6 unknown_unit$", first
    )
    assert second.endswith("Z  ward7  not answered  too_long")


def test_where_nothing_was_refused_there_is_no_directory_to_list(tmp_path):
    assert list(DeadLetters(tmp_path / "nothing", KEYS).all()) == []
