"""The intake of a study: the counts are those of the receipts, they are limited, and they cost nobody time."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Fault, FaultCode, InvalidDocument
from app.readers.contract import noted
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.readers.statements import Feed
from app.readers.suggestions import charset_like, meaning_like, unit_like
from app.store import intake
from app.store.engine import Database
from app.store.intake import Arrival
from app.store.revision_builder import RevisionBuilder
from app.store.studies import FeedDefinition, study_key
from app.submission.intake import proposals
from app.submission.loop import Submitter
from app.timeline.receipts import Disposition, NoteCode, ReceiptLine, SentFact
from tests.store.posts import LATEST, begin_study, ck, history, now, timeline


def submitter(database, study, **more) -> Submitter:
    return Submitter(database, study, "native", now(), **more)


def add_timeline(ours: Submitter, one):
    return ours.commit(lambda transaction: ours.submit(ours.builder(transaction), [one])).outcomes[0]


def counts(database, study) -> dict[tuple[str, ...], int]:
    database.settle(5)
    with database.reading() as connection:
        return {
            tuple(map(str, row.arrival[:5])): row.times
            for row in intake.counts_of(connection, study_key(connection, study))
        }


def not_ours(code: str, suggests: str | None = None) -> ReceiptLine:
    return ReceiptLine("/1", Disposition.NOT_OURS, "code", sent=SentFact("/1", word=code, suggests=suggests))


def test_what_is_kept_counts_for_its_source(database, study):
    labs = [ck("k1", 1), ck("k2", 2, lab="B"), ck("k3", 3), ck("k4", 4, lab=None)]
    add_timeline(submitter(database, study), noted(history(timeline("P1", *labs, about={"sex": "male"}))))
    assert counts(database, study) == {
        ("A", "native", "kept", "", ""): 4,
        ("A", "native", "noted", "no_upper_limit", ""): 3,
        ("B", "native", "noted", "no_upper_limit", ""): 1,
        ("A", "native", "noted", "new_patient", ""): 1,
        ("B", "native", "kept", "", ""): 1,
    }


def test_the_sender_that_a_format_names_is_the_sender_of_everything(database, study):
    one = replace(history(timeline("P1", ck("k1"), ck("k2", lab="B"))), aside=(not_ours("L|NA"),))
    add_timeline(submitter(database, study, sender="LAB|A"), one)
    assert {key[0] for key in counts(database, study)} == {"LAB|A"}
    assert counts(database, study)["LAB|A", "native", "not_ours", "code", "L|NA"] == 1


def test_a_refused_item_is_counted_by_its_codes(database, study):
    refusal = InvalidDocument(faults=[Fault(f"/labs/{i}/unit", FaultCode.UNKNOWN_UNIT) for i in range(3)])
    ours = submitter(database, study)
    ours.each([refusal, history(timeline("P1", ck())), refusal], ours.submit_each)
    assert counts(database, study)["", "native", "refused", "unknown_unit", ""] == 2


def test_a_refusal_does_not_wait_for_the_database(database, study, monkeypatch):
    ours = submitter(database, study)
    with database.writing() as connection, monkeypatch.context() as patched:
        RevisionBuilder(connection, study, now())
        patched.setattr(database, "settle", None)  # who waited would fail
        with pytest.raises(InvalidDocument), ours.refusals_counted():
            raise InvalidDocument(faults=[Fault("", FaultCode.BAD_TIME)])
        assert database._later_thread.is_alive()  # its count waits
    assert counts(database, study) == {("", "native", "refused", "bad_time", ""): 1}


def test_counts_that_cannot_be_stored_are_given_up(database, study):
    def fail(connection):
        raise ValueError

    database.later(fail)
    database.settle(5)
    database.later(lambda connection: intake.add(connection, study, {Arrival("", "x", "kept"): 1}, 1))
    database.later(lambda connection: intake.add(connection, "nowhere", {Arrival("", "x", "kept"): 1}, 1))
    assert counts(database, study) == {("", "x", "kept", "", ""): 1}


def test_a_database_that_is_closed_has_run_what_was_due(tmp_path, database, study):
    url = database.engine.url.render_as_string(hide_password=False)
    other = Database(url)
    other.later(lambda connection: intake.add(connection, study, {Arrival("", "x", "kept"): 1}, 1))
    other.dispose()
    assert counts(database, study) == {("", "x", "kept", "", ""): 1}


@pytest.mark.parametrize(("named", "limit"), [(True, "MOST_NAMED"), (False, "MOST_PLAIN")])
def test_a_feed_with_very_many_codes_or_senders_does_not_fill_the_table(database, study, named, limit, monkeypatch):
    monkeypatch.setattr(intake, limit, 10)
    for i in range(30):
        arrival = Arrival("LAB" if named else f"LAB{i}", "hl7v2", "not_ours", "code", f"L|{i}" if named else "")
        with database.writing() as connection:
            intake.add(connection, study, {arrival: 2}, now())
    found = counts(database, study)
    assert len(found) == 11
    assert found["", "hl7v2", "not_ours", "other", ""] == 40


def test_a_submission_with_very_many_codes_changes_few_rows(database, study):
    one = replace(history(timeline("P1")), aside=tuple(not_ours(f"L|{i}") for i in range(300)))
    add_timeline(submitter(database, study), one)
    found = counts(database, study)
    assert len(found) <= intake.MOST_AT_ONCE + 1
    assert sum(found.values()) == 300


@pytest.mark.parametrize("code", ["L|" + "x" * 400, "L|\x00", "L|a\nb"])
def test_a_code_that_cannot_be_shown_is_counted_with_others(database, study, code):
    add_timeline(submitter(database, study), replace(history(timeline("P1")), aside=(not_ours(code),)))
    assert counts(database, study) == {("", "native", "not_ours", "other", ""): 1}


LABS = st.lists(
    st.tuples(
        st.sampled_from(["k1", "k2", None]),
        st.sampled_from(["A", "B", None]),
        st.sampled_from(["CK", "LDH"]),
        st.sampled_from(["2005-03-16", "2005-03-17"]),
        st.sampled_from([1, 2, None]),
        st.booleans(),
    ),
    max_size=6,
    unique_by=lambda lab: lab[:4],
)
LINES = st.lists(
    st.builds(
        ReceiptLine,
        st.just("/1"),
        st.sampled_from([Disposition.SET_ASIDE, Disposition.NOT_OURS]),
        st.sampled_from(["code", "unknown_unit"]),
        sent=st.one_of(
            st.none(),
            st.builds(
                SentFact,
                st.just("/1"),
                word=st.sampled_from(["L|X", "L|Y"]),
                source=st.sampled_from([None, "A", "\0\ud800"]),
            ),
        ),
    ),
    max_size=4,
)


@pytest.mark.slow
@given(messages=st.lists(st.tuples(LABS, LINES, st.booleans(), st.sampled_from([None, "S"])), max_size=5))
def test_the_counts_are_the_sums_of_the_receipts(database, messages):
    study = begin_study(database, f"s-{now()}")
    expected: Counter[str] = Counter()
    for labs, lines, full, sender in messages:
        results = [
            {**ck(number, time=time, lab=lab, version=version), "code": code, "upper_limit": 200 if limit else None}
            for number, lab, code, time, version, limit in labs
        ]
        try:
            one = replace(noted(history(timeline("P1", *results))), aside=tuple(lines))
        except InvalidDocument:
            continue
        receipt = add_timeline(submitter(database, study, full=full, sender=sender), one).receipt
        expected.update({str(disposition): count for disposition, count in receipt.counts.items()})
        expected["noted"] += sum(note.code is not NoteCode.UNCHANGED for each in receipt.lines for note in each.notes)
    found: Counter[str] = Counter()
    for (_, _, subject, _, _), times in counts(database, study).items():
        found[subject] += times
    assert +found == +expected


def test_what_a_study_could_declare_is_proposed(database, study):
    pseudonyms = Pseudonyms(None, ["WARD1"])
    for authority in ("WARD7", "WARD1", ""):
        pseudonyms.patient([Identifier(authority, "77")])
    lines = [
        not_ours("L|CKN", "CK"),
        not_ours("L|NA"),
        ReceiptLine("OBX[1]-6", Disposition.SET_ASIDE, FaultCode.UNKNOWN_UNIT, sent=SentFact("OBX[1]", unit="E/L")),
        ReceiptLine("OBX[2]-6", Disposition.SET_ASIDE, FaultCode.UNKNOWN_UNIT, sent=SentFact("OBX[2]", unit="1101")),
        ReceiptLine("OBX[2]-14", Disposition.SET_ASIDE, FaultCode.REPEATED_VALUE),
        ReceiptLine("OBX[3]-14", Disposition.SET_ASIDE, FaultCode.NO_OFFSET),
    ]
    ours = submitter(database, study, feed=Feed(LATEST, pseudonyms))
    add_timeline(ours, replace(history(timeline("P1")), aside=tuple(lines)))
    with database.reading() as connection:
        rows = intake.counts_of(connection, study_key(connection, study))
    wanted = [
        ("authorities", ["WARD7"], 1),
        ("local_codes", {"L|CKN": "CK"}, 1),
        ("result_time", "OBX-14", 1),
        ("time_zone", None, 1),
        ("unit_aliases", {"E/L": "U/L"}, 1),
    ]
    assert proposals(rows, FeedDefinition(), None) == wanted
    declared = FeedDefinition(
        authorities=("WARD7",), local_codes={"L|CKN": "CK"}, unit_aliases={"E/L": "U/L"}, result_time="OBX-14"
    )
    assert proposals(rows, declared, "Asia/Tokyo") == []


@pytest.mark.parametrize(
    ("title", "unit", "code"),
    [
        ("Creatine kinase", "U/L", "CK"),
        ("CK (NAC)", None, "CK"),
        ("Kreatinkinase gesamt", "U/l", "CK"),
        ("CPK", "ukat/L", "CK"),
        ("GOT (AST)", "U/L", "AST"),
        ("Myoglobin", "ng/mL", "MYOGLOBIN"),
        ("CK-MB", "U/L", None),
        ("Creatine kinase MB mass", "ng/mL", None),
        ("CK", "ng/mL", None),
        ("AST/ALT", "U/L", None),
        ("LDH isoenzyme 1", "U/L", None),
        ("Sodium", "mmol/L", None),
        ("Creatinine", "umol/L", None),
        ("Urine myoglobin", "ug/L", None),
        (None, "U/L", None),
    ],
)
def test_a_title_suggests_an_analyte_only_if_it_names_one(title, unit, code):
    assert meaning_like(title, unit) == code


@pytest.mark.parametrize(
    ("spelling", "unit"),
    [("E/L", "U/L"), ("u / l", "U/L"), ("1101 U/L", None), ("\uff25\uff0f\uff2c", "U/L"), ("uKAT/l", "ukat/L"),
     ("ng/ML", "ng/mL"), ("MU/L", None), ("U/L", None), ("mmol/L", None), ("1101", None), ("U", None)],
)  # fmt: skip
def test_a_unit_resembles_one_of_ours_or_none(spelling, unit):
    assert unit_like(spelling) == unit


@pytest.mark.parametrize(
    ("name", "charset"),
    [("8859/1", "ISO-8859-1"), ("UNICODE UTF-8", "UTF-8"), ("CP1252", "windows-1252"), ("sjis", "Shift_JIS"),
     ("KOI8-R", None), ("", None)],
)  # fmt: skip
def test_a_character_set_resembles_one_that_is_known_or_none(name, charset):
    assert charset_like(name) == charset
