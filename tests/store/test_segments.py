"""Segments give what the rows give, to the bit, at every revision and whatever happens to their files."""

import itertools
import json
import multiprocessing
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from app.access.kept_cohorts import KeptCohorts
from app.access.study_answers import WHOLE, StudyQuestion, answer_bytes, answer_of_study
from app.access.work import Workplace
from app.analyses import QUESTIONS, Options
from app.errors import Conflict, Erased, InvalidDocument, NotFound, PreconditionFailed, PreconditionRequired
from app.http.state import Answers, ErasureWatch
from app.protocol.presets import SEED_2008
from app.store import known_cohorts, segments
from app.store.backup import back_up, restore
from app.store.engine import Database
from app.store.erasure import erase
from app.store.ledger_keys import LedgerKeys
from app.store.opening import open_ledger
from app.store.revisions import AsOf, latest_number
from app.store.segments import Segments
from app.store.snapshot import study_at
from app.store.studies import StudyDeclaration, put_study
from app.timeline import cohort_batches
from app.timeline.cohort import TABLES, Cohort
from tests.bench.cohort import timeline as bench_timeline
from tests.repetition import repeats
from tests.store.posts import begin_study, ck, columns, now, post, put, timeline
from tests.tables import with_tables

numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    """Some patients give several files."""
    monkeypatch.setattr(cohort_batches, "PERSONS", 2)
    monkeypatch.setattr(cohort_batches, "_MOST", 8)
    monkeypatch.setattr(segments, "PAUSES", 0)


@pytest.fixture
def files(database: Database, tmp_path: Path, monkeypatch) -> Segments:
    """The segments of the shared database, in a folder of the test."""
    made = Segments(tmp_path / "segments", database.keys, least_rows=0)
    monkeypatch.setattr(database, "segments", made)
    made.said = []
    made.say = lambda *told: made.said.append(line_of(*told))
    return made


def line_of(status: str, cause: str, study: int) -> str:
    """What became of a segment, as a text."""
    return f"status={status} cause={cause} study={study}"


def assert_same(one: Cohort, other: Cohort) -> None:
    """Equal to the last bit, with the same types."""
    assert one.patients == other.patients
    assert [list(map(type, row)) for row in one.patients] == [list(map(type, row)) for row in other.patients]
    for kind in TABLES:
        for part in fields(TABLES[kind]):
            mine, theirs = getattr(getattr(one, kind), part.name), getattr(getattr(other, kind), part.name)
            assert mine.dtype == theirs.dtype
            if mine.dtype == object:
                assert list(map(repr, mine)) == list(map(repr, theirs))
            else:
                assert mine.tobytes() == theirs.tobytes(), (kind, part.name)
    assert one.zoned == other.zoned
    assert one.digests.tobytes() == other.digests.tobytes()
    assert one.digest == other.digest


def asked(database: Database, study: str, revision: int | None = None, kept: KeptCohorts | None = None) -> Cohort:
    """The cohort as a process reads it, which then writes segments."""
    kept = kept or KeptCohorts(10**9)
    with study_at(database, study, AsOf(revision)) as snapshot:
        cohort = kept.cohort_of(snapshot)
    kept.write_segments(database)
    return cohort


def place_of(files: Segments, database: Database, study: str) -> Path:
    with study_at(database, study) as snapshot:
        return files.folder / str(snapshot.known_cohort().study)


def fill(database: Database, study: str, patients: int = 12) -> None:
    for n in range(patients):
        post(database, study, timeline(f"P{n:02d}", ck(f"k{n}", 100.5 + n, lab=f"Laboratory {n % 3}"), ck(f"m{n}")))


@contextmanager
def rows_read(monkeypatch) -> Iterator[list[int]]:
    """How many persons are read from rows, at each time."""
    read, original = [], known_cohorts.cohort_of_persons

    def counted(connection, study, revision, records_of, keys):
        read.append(len(records_of))
        return original(connection, study, revision, records_of, keys)

    with monkeypatch.context() as patched:
        patched.setattr(known_cohorts, "cohort_of_persons", counted)
        patched.setattr(known_cohorts, "cohort_and_links", lambda *_: pytest.fail("all rows were read"))
        yield read


# --- the same at every revision ---------------------------------------------------------------------------------------

PATIENTS = st.sampled_from([f"P{n}" for n in range(7)])
LABS = st.builds(
    lambda number, value, status, issued, zone, lab: ck(
        number, value, status=status, issued=issued, time=f"2005-03-1{number[1]}T23:30:00{zone}", lab=lab
    ),
    st.sampled_from(["k1", "k2", "k3"]),
    st.sampled_from([100, 200.5, 0.1]),
    st.sampled_from(["final", "final", "corrected", "entered-in-error"]),
    st.sampled_from(["2005-04-01T00:00:00Z", "2005-04-02T00:00:00Z"]),
    st.sampled_from(["Z", "+00:00", "+09:00"]),
    st.sampled_from(["A", "A", None, "Labör"]),
)
ABOUT = st.fixed_dictionaries(
    {},
    optional={
        "sex": st.sampled_from(["female", "male"]),
        "weight_kg": st.sampled_from([49, 50.25]),
        "steroid_resistant": st.booleans(),
        "merged_into": PATIENTS,
    },
)
OTHERS = st.fixed_dictionaries(
    {},
    optional={
        "infusions": st.just([{"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg"}]),
        "medications": st.just([{"drug": "prednisolone", "start": "2005-01-20", "end": None}]),
        "adverse_events": st.lists(
            st.fixed_dictionaries(
                {"id": st.sampled_from(["e1", "e2"]), "term": st.sampled_from(["rash", "fever"])},
                optional={"serious": st.booleans(), "onset": st.just("2005-04-12")},
            ),
            max_size=2,
            unique_by=lambda event: event["id"],
        ),
        "assessments": st.just([{"code": "MMT", "time": "2005-03-16", "score": 62}]),
    },
)


class Histories(RuleBasedStateMachine):
    """Anything that changes a study, and questions by processes that know something, much or nothing."""

    database: Database
    folder: Path

    @initialize(zone=st.sampled_from([None, "Asia/Tokyo"]))
    def begin(self, zone):
        self.study = begin_study(self.database, f"segments-{os.getpid()}-{next(numbers):05d}", time_zone=zone)
        self.restart()
        self.kept = KeptCohorts(10**9)

    def restart(self):
        self.database.segments = Segments(self.folder, self.database.keys, least_rows=0)
        self.database.segments.say = lambda *told: None if "not_of_this_ledger" in told else pytest.fail(line_of(*told))

    @rule(who=PATIENTS, labs=st.lists(LABS, max_size=2), about=ABOUT, more=OTHERS)
    def tell(self, who, labs, about, more):
        self.attempt(lambda: post(self.database, self.study, timeline(who, *labs, about=about, **more)))

    @rule(who=PATIENTS, labs=st.lists(LABS, max_size=2), about=ABOUT)
    def replace(self, who, labs, about):
        written = timeline(who, *labs, about=about)
        self.attempt(lambda: put(self.database, self.study, written, if_match="*", readmit=True))

    @rule(who=PATIENTS)
    def forget(self, who):
        def erased():
            with self.database.writing() as connection:
                erase(connection, self.study, who, client=None, received_at=now())

        self.attempt(lambda: (erased(), self.database.sweep()))

    @rule(zone=st.sampled_from(["Asia/Tokyo", "Europe/Berlin"]))
    def declare(self, zone):
        def declared():
            with self.database.writing() as connection:
                study = StudyDeclaration("A trial", SEED_2008, time_zone=zone)
                put_study(connection, self.study, study, client=None, received_at=now())

        self.attempt(declared)

    def attempt(self, write):
        """Write, if it is not refused; then processes ask that know something, much or nothing."""
        with suppress(Conflict, Erased, NotFound, InvalidDocument, PreconditionFailed, PreconditionRequired):
            write()
        self.ask(self.kept, 0)
        self.ask(KeptCohorts(10**9), 0)

    @rule(back=st.integers(1, 10), kept=st.booleans())
    def ask_before(self, back, kept):
        self.ask(self.kept if kept else KeptCohorts(10**9), back)

    def ask(self, kept, back):
        with self.database.reading() as connection:
            revision = max(0, latest_number(connection, self.study) - back)
        with suppress(Erased):
            found = asked(self.database, self.study, revision, kept)
            assert_same(found, columns(self.database, self.study, revision))

    @rule()
    def begin_again(self):
        self.restart()
        self.kept = KeptCohorts(10**9)


@pytest.mark.slow
def test_segments_and_kept_cohorts_give_what_the_rows_give_over_any_history(database, tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "RENEW", 3)
    monkeypatch.setattr(database, "segments", None)
    machine = type("OnThis", (Histories,), {"database": database, "folder": tmp_path / "segments"})
    run_state_machine_as_test(machine, settings=settings(max_examples=repeats(20, 200), stateful_step_count=20))


@pytest.mark.slow
def test_every_question_has_the_same_bytes_from_rows_from_a_segment_and_from_what_changed(database, files, study):
    for n in range(12):
        post(database, study, bench_timeline(n))

    def bytes_of(kept: KeptCohorts) -> dict[str, bytes]:
        place = Workplace(database, kept)
        given = {}
        for name in [*QUESTIONS, WHOLE]:
            asked_for = StudyQuestion(name, study, AsOf(), Options())
            given[name] = answer_of_study(asked_for, partial(answer_bytes, name, Options()), place)
        kept.write_segments(database)
        return given

    kept = KeptCohorts(10**9)
    assert bytes_of(kept) == bytes_of(KeptCohorts(10**9))
    post(database, study, bench_timeline(3) | {"labs": [ck("late", 5000, time="2017-01-01")]})
    changed, cold = bytes_of(kept), bytes_of(KeptCohorts(10**9))
    database.segments = None
    assert changed == cold == bytes_of(KeptCohorts(10**9))
    assert files.said == []


def test_after_one_result_only_its_patient_is_read_and_digested(database, files, study, monkeypatch):
    fill(database, study, 20)
    kept = KeptCohorts(10**9)
    asked(database, study, kept=kept)
    post(database, study, timeline("P03", ck("late", 7)))
    with rows_read(monkeypatch) as read:
        asked(database, study, kept=kept)
        asked(database, study)
    assert read == [1, 1]
    assert_same(asked(database, study), columns(database, study, 21))


def test_without_pyarrow_rows_give_the_same_and_no_segment_is_written(database, files, study, monkeypatch):
    fill(database, study)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert_same(asked(database, study), columns(database, study, 12))
    assert not files.folder.exists()
    assert files.sweep(database)


def test_a_small_study_has_no_segment(database, files, study):
    fill(database, study)
    files.least_rows = 25
    asked(database, study)
    assert not files.folder.exists()
    files.least_rows = 24
    asked(database, study)
    assert files.folder.exists()


def test_a_segment_is_made_again_when_many_patients_changed_and_keeps_the_files_of_the_others(database, files, study):
    fill(database, study, 40)
    asked(database, study)
    place = place_of(files, database, study)
    before = {path: path.stat().st_ino for path in place.glob("*.arrow")}
    for n in range(2):
        post(database, study, timeline(f"P{n:02d}", ck("late", 7)))
        asked(database, study)
    assert {path: path.stat().st_ino for path in place.glob("*.arrow")} == before
    post(database, study, timeline("P02", ck("late", 7)))
    asked(database, study)
    after = {path: path.stat().st_ino for path in place.glob("*.arrow")}
    assert len(after.items() & before.items()) > len(after) // 2
    assert after != before


def test_a_segment_that_was_written_just_now_is_renewed_later_unless_it_is_of_no_use(
    database, files, study, monkeypatch
):
    monkeypatch.setattr(segments, "PAUSES", 10**6)
    fill(database, study, 40)
    asked(database, study)
    place = place_of(files, database, study)
    first = (place / "list.json").read_bytes()
    for n in range(3):
        post(database, study, timeline(f"P{n:02d}", ck("late", 7)))
    asked(database, study)
    assert (place / "list.json").read_bytes() == first
    other = Segments(files.folder, database.keys, least_rows=0)  # of a process that has written none
    monkeypatch.setattr(database, "segments", other)
    asked(database, study)
    second = (place / "list.json").read_bytes()
    assert second != first
    monkeypatch.setattr(known_cohorts, "ALWAYS_FEW", 0)
    for n in range(21):
        post(database, study, timeline(f"P{n:02d}", ck("later", 7)))
    asked(database, study)
    assert (place / "list.json").read_bytes() != second


# --- faults -----------------------------------------------------------------------------------------------------------


def lose(place: Path) -> None:
    min(place.glob("*.arrow")).unlink()


def cut(place: Path) -> None:
    file = max(place.glob("*.arrow"))
    os.truncate(file, file.stat().st_size - 1)


def empty(place: Path) -> None:
    os.truncate(max(place.glob("*.arrow")), 0)


def swap_files(place: Path) -> None:
    """Two files of equal size, each with the name of the other one."""
    files = sorted(place.glob("*.arrow"), key=lambda path: path.stat().st_size)
    one, other = next(pair for pair in itertools.pairwise(files) if pair[0].stat().st_size == pair[1].stat().st_size)
    one.rename(place / "third")
    other.rename(one)
    (place / "third").rename(other)


def cut_list(place: Path) -> None:
    os.truncate(place / "list.json", 100)


def empty_list(place: Path) -> None:
    os.truncate(place / "list.json", 0)


def nested_list(place: Path) -> None:
    (place / "list.json").write_bytes(bytes(64) + b"[" * 100_000)


def rewritten_list(place: Path, at: int, value: object) -> None:
    content = (place / "list.json").read_bytes()
    read = json.loads(content[64:])
    read[at] = value
    (place / "list.json").write_bytes(content[:64] + json.dumps(read).encode())


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (lose, "lost"),
        (cut, "truncated"),
        (empty, "truncated"),
        (swap_files, "damaged"),
        (cut_list, "damaged"),
        (empty_list, "damaged"),
        (nested_list, "damaged"),
        (partial(rewritten_list, at=4, value=[0, "00", 0, None]), "damaged"),
        (partial(rewritten_list, at=6, value=[]), "damaged"),
        (partial(rewritten_list, at=0, value=2), "newer_form"),
        (partial(rewritten_list, at=1, value="another"), "foreign"),
        (partial(rewritten_list, at=2, value=77), "foreign"),
    ],
    ids=[
        "lost",
        "cut",
        "empty",
        "swapped",
        "cut-list",
        "empty-list",
        "nested",
        "state",
        "parts",
        "newer",
        "database",
        "study",
    ],
)
def test_a_segment_with_a_flaw_is_named_not_used_and_made_again(database, files, study, harm, cause):
    fill(database, study)
    asked(database, study)
    place = place_of(files, database, study)
    harm(place)
    found = asked(database, study)
    assert files.said == [f"status=unusable cause={cause} study={place.name}"]
    assert_same(found, columns(database, study, 12))
    assert_same(asked(database, study), found)
    assert len(files.said) == 1


def test_any_flipped_bit_is_noticed(database, files, study):
    fill(database, study)
    asked(database, study)
    place, chance = place_of(files, database, study), random.Random(2008)
    plain = columns(database, study, 12)
    for file in [place / "list.json", *sorted(place.glob("*.arrow"))] * 6:
        content = bytearray(file.read_bytes())
        at = chance.randrange(len(content))
        content[at] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        assert_same(asked(database, study), plain)
        [line] = files.said
        assert "cause=damaged" in line or file.name == "list.json"
        files.said.clear()


def test_a_segment_of_another_study_or_of_another_version_is_not_used(database, files, study, monkeypatch):
    other = begin_study(database, f"{study}-other")
    fill(database, study)
    fill(database, other, 5)
    asked(database, study)
    asked(database, other)
    mine, theirs = place_of(files, database, study), place_of(files, database, other)
    mine.rename(files.folder / "aside")
    theirs.rename(mine)
    (files.folder / "aside").rename(theirs)
    assert len(asked(database, study)) == 12
    assert len(asked(database, other)) == 5
    assert [line.split("cause=")[1].split()[0] for line in files.said] == ["foreign", "foreign"]
    monkeypatch.setattr(segments, "SOFTWARE", "myoresponse 99")
    assert len(asked(database, study)) == 12
    assert "cause=other_version" in files.said[-1]
    assert len(asked(database, study)) == 12
    assert len(files.said) == 3


def test_the_rules_of_a_time_zone_are_part_of_a_segment(monkeypatch):
    before = segments.made_by("Asia/Tokyo")
    monkeypatch.setattr(segments, "ZoneInfo", lambda _: ZoneInfo("Asia/Seoul"))
    segments._rules_of.cache_clear()
    assert segments.made_by("Asia/Tokyo") != before
    segments._rules_of.cache_clear()


def test_a_full_disk_leaves_the_service_at_work_and_no_part_of_a_segment(database, files, study):
    """The disk is full in a file of columns first, then in the list: `/dev/full` takes their place."""
    fill(database, study)
    asked(database, study)
    place = place_of(files, database, study)
    names = [max(place.glob("*.arrow")).name, "list.json"]
    for name in names:
        files.sweep(database)
        for file in place.glob("*.*"):
            file.unlink()
        (place / f"{name}.part").symlink_to("/dev/full")
        assert_same(asked(database, study), columns(database, study, 12))
        assert files.said == [f"status=not_written cause=ENOSPC study={place.name}"]
        assert [file.name for file in place.iterdir()] == ["lock"]
        asked(database, study)
        assert len(files.said) == 1  # it is not tried again at once
        files.said.clear()
        files._failed_at = None
    asked(database, study)
    assert files.said == []
    assert (place / "list.json").exists()


def test_a_reader_keeps_what_it_has_mapped_while_a_segment_is_made_again(database, files, study):
    fill(database, study)
    asked(database, study)
    with database.reading() as connection:
        key = int(place_of(files, database, study).name)
        mapped = list(files.batches(connection, key))
    before = cohort_batches.cohort_of(mapped, zoned=False)
    for n in range(12):
        post(database, study, timeline(f"P{n:02d}", ck("late", 7)))
    asked(database, study)
    assert_same(cohort_batches.cohort_of(mapped, zoned=False), before)
    with database.reading() as connection:
        [*now_there] = files.batches(connection, key)
    assert_same(cohort_batches.cohort_of(now_there, zoned=False), columns(database, study, 24))


# --- erasure and restore ----------------------------------------------------------------------------------------------

TRACES = [b"ERASE-ME-42", b"Telltale", b"xyzzy"]


def tell_of_a_person(database: Database, study: str) -> None:
    post(database, study, timeline("ERASE-ME-42", ck("t1", 54321.0987, lab="Telltale"),
                                   adverse_events=[{"term": "xyzzy"}]))  # fmt: skip


def forget(database: Database, study: str) -> None:
    with database.writing() as connection:
        erase(connection, study, "ERASE-ME-42", client=None, received_at=now())


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_erasure_leaves_no_byte_of_the_person_in_a_file(database, files, study):
    fill(database, study)
    tell_of_a_person(database, study)
    asked(database, study)
    stored = bytes_in(files.folder)
    assert [trace for trace in TRACES if trace not in stored] == []
    forget(database, study)
    assert database.scrub()
    stored = bytes_in(files.folder)
    assert [trace for trace in TRACES if trace in stored] == []
    assert_same(asked(database, study), columns(database, study, 14))
    assert files.said == []


def test_a_segment_that_outlived_an_erasure_is_not_used_and_goes_when_a_process_starts(database, files, study):
    """Another machine may have erased the person."""
    fill(database, study)
    tell_of_a_person(database, study)
    asked(database, study)
    place = place_of(files, database, study)
    (place / "left-behind.part").write_bytes(TRACES[0])
    forget(database, study)
    cohort = KeptCohorts(10**9)
    with study_at(database, study) as snapshot:
        assert len(cohort.cohort_of(snapshot)) == 12
    assert "cause=not_of_this_ledger" in files.said[0]
    assert TRACES[0] in bytes_in(files.folder)
    assert database.sweep()
    assert [file.name for file in place.iterdir()] == ["lock"]


def test_a_segment_that_cannot_be_removed_is_tried_again_and_answers_are_dropped_once(database, study, monkeypatch):
    tell_of_a_person(database, study)
    forget(database, study)
    swept, forgotten = iter([False, False, True]), []
    monkeypatch.setattr(database, "sweep", lambda: next(swept))
    monkeypatch.setattr(ErasureWatch, "SECONDS", 3600)
    watch = ErasureWatch(database, Answers(10, 1_000), forgotten.append)
    for _ in range(5):
        watch.look()
    watch.stop()
    assert next(swept, "none is left") == "none is left"
    assert forgotten.count(study) == 1


@pytest.mark.slow
def test_an_erasure_during_the_writing_of_a_segment_waits_and_removes_it(database, files, study, monkeypatch):
    fill(database, study)
    tell_of_a_person(database, study)
    begun, go_on, original = threading.Event(), threading.Event(), Segments._write_part

    def slow(self, key, batch):
        part = original(self, key, batch)
        begun.set()
        go_on.wait(10)
        return part

    monkeypatch.setattr(Segments, "_write_part", slow)
    writer = threading.Thread(target=asked, args=(database, study))
    writer.start()
    assert begun.wait(10)
    forget(database, study)
    eraser = threading.Thread(target=database.scrub)
    eraser.start()
    time.sleep(0.1)
    assert eraser.is_alive()
    go_on.set()
    writer.join()
    eraser.join()
    stored = bytes_in(files.folder)
    assert [trace for trace in TRACES if trace in stored] == []


def test_a_segment_waits_for_a_removal_before_it_is_written(database, files, study, monkeypatch):
    fill(database, study)
    place, removal = place_of(files, database, study), ExitStack()
    assert removal.enter_context(files._locked(int(place.name), 0))
    monkeypatch.setattr(segments.time, "sleep", lambda seconds: removal.close())
    asked(database, study)
    assert (place / "list.json").exists()


def test_a_cohort_that_was_read_before_an_erasure_is_not_written_after_it(database, files, study):
    fill(database, study)
    tell_of_a_person(database, study)
    kept = KeptCohorts(10**9)
    with study_at(database, study) as snapshot:
        kept.cohort_of(snapshot)
    forget(database, study)
    kept.write_segments(database)
    assert [trace for trace in TRACES if trace in bytes_in(files.folder)] == []


def test_a_restored_database_does_not_meet_segments_of_its_future(tmp_path):
    url, secret = f"sqlite:///{tmp_path / 'x.db'}", tmp_path / "x.db.secret"

    def opened() -> Database:
        database = Database(url)
        database.segments = Segments(tmp_path / "segments", database.keys, least_rows=0)
        return database

    with_tables(url)
    database = opened()
    assert open_ledger(database, tmp_path / "x.db.heads") is None
    begin_study(database, "trial")
    fill(database, "trial")
    back_up(database, url, tmp_path / "backup.zip", secret)
    post(database, "trial", timeline("P99", ck("k", 1)))
    asked(database, "trial")
    database.dispose()
    for file in tmp_path.glob("x.db*"):
        if file.name != secret.name:
            file.unlink()
    restore(tmp_path / "backup.zip", url, secret, None)
    database = opened()
    said = database.segments.say = Said()
    post(database, "trial", timeline("P00", ck("other", 2)))
    assert_same(asked(database, "trial"), columns(database, "trial", 13))
    assert ["cause=not_of_this_ledger" in line for line in said.lines] == [True]
    assert len(asked(database, "trial")) == 12
    assert open_ledger(database, tmp_path / "x.db.heads") is None
    database.dispose()


class Said:
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, *told: object) -> None:
        self.lines.append(line_of(*told))


# --- several processes ------------------------------------------------------------------------------------------------


def other_process(url: str, folder: Path, study: str, told: Connection) -> None:
    """Ask without a kept cohort and write the segment, again and again; tell what is found."""
    cohort_batches.PERSONS, segments.RENEW = 2, 10**6
    keys = LedgerKeys(folder / "secret")
    database = Database(url, keys=keys)
    database.segments = Segments(folder / "segments", keys, least_rows=0)
    database.segments.say = lambda *line: told.send((os.getpid(), line_of(*line), ""))
    while True:
        with study_at(database, study) as snapshot:
            revision = snapshot.revision
        told.send((os.getpid(), revision, asked(database, study, revision).digest))


def all_of(told: Connection) -> Iterator[tuple[int, Any, str]]:
    """What a process has told until now. One that was killed while it told something has not told it."""
    with suppress(EOFError, OSError):
        while told.poll():
            yield told.recv()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_processes_share_segments_while_others_write_them_and_are_killed(migrated_url, tmp_path, killed):
    """A process is killed at any moment after its first answer."""
    keys = LedgerKeys(tmp_path / "secret", make=True)
    database = Database(migrated_url, keys=keys)
    database.segments = Segments(tmp_path / "segments", keys, least_rows=0)
    begin_study(database, "trial")
    fill(database, "trial")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["app.analyses", "app.store.segments", "pyarrow"])
    chance = random.Random(1)

    def begin() -> tuple[Any, Connection]:
        """A process, and what it tells. Each has its own pipe: who is killed may hold the lock of a common queue."""
        told, tells = context.Pipe(duplex=False)
        process = context.Process(target=other_process, args=(migrated_url, tmp_path, "trial", tells), daemon=True)
        process.start()
        tells.close()
        return process, told

    others, found, revision = [begin() for _ in range(2)], [], 12
    for _ in range(repeats(8, 80)):
        ready = wait([told for _, told in others], timeout=300)  # a busy machine starts a process in a minute or two
        assert ready, "nobody tells anything"
        assert all(other.is_alive() for other, _ in others)
        time.sleep(chance.uniform(0, 0.1))
        if killed:
            [ended] = [other for other in others if other[1] is ready[0]]
            ended[0].kill()
            ended[0].join()
            others = [*(other for other in others if other is not ended), begin()]
            found += all_of(ended[1])
        for _, told in others:
            found += all_of(told)
        post(database, "trial", timeline(f"P{chance.randrange(14):02d}", ck(f"late-{revision}", revision)))
        revision += 1
        assert_same(asked(database, "trial"), columns(database, "trial", revision))
    for other, told in others:
        other.kill()
        other.join()
        found += all_of(told)
    assert [said for _, said, _ in found if isinstance(said, str)] == []
    digests = {at: columns(database, "trial", at).digest for _, at, _ in found}
    assert {(at, digest) for _, at, digest in found} == set(digests.items())
    assert_same(asked(database, "trial"), columns(database, "trial", revision))
    assert database.sweep()
    place = next(path for path in (tmp_path / "segments").iterdir())
    listed = json.loads((place / "list.json").read_bytes()[64:])[6]
    assert {file.name for file in place.iterdir()} == {"lock", "list.json", *(f"{name}.arrow" for name, *_ in listed)}
    database.dispose()
