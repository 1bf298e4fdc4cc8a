"""What is kept of a refused message, and whose letter it is, whatever its faults are."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.hl7v2 import submit
from app.hl7v2.letter_filing import FiledLetters, named_in
from app.hl7v2.message_handler import MessageHandler
from app.main import create_app
from app.protocol.presets import SEED_2008
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.settings import Settings
from app.store.engine import Database
from app.store.studies import FeedDefinition, StudyDeclaration, put_study
from app.submission.dead_letters import DeadLetters
from tests.hl7v2.conftest import KEYS
from tests.hl7v2.hl7v2_messages import MSH, PID, changed, feed, message, obx, oru
from tests.trust.opened import migrated, opened

SECRET = "a secret of thirty-two characters"
KEY = b"a key" * 7
MRN = Identifier("WARD7", "123")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(migrated(tmp_path)) as database:
        with database.writing() as connection:
            declared = StudyDeclaration("Trial", SEED_2008, feeds=FeedDefinition())
            put_study(connection, "trial", declared, client=None, received_at=time.time_ns() // 1000)
        yield database


@pytest.mark.parametrize(
    "sent",
    [
        oru(),
        oru(header=changed(MSH, f12="3.0")),
        oru(header=changed(MSH, f18="nonsense")),
        oru().replace(b"MSH|^~\\&|", b"MSH|^^^^|"),
        b"nonsense\r" + oru()[oru().index(b"PID") :],
        oru()[oru().index(b"PID") :],
        oru().replace(b"DOE", b"M\xe4rz"),
        oru().replace(b"PID|1|", b"PID|\xe4|"),
        message("EVN|A40|20050401080000+0900", changed(PID, f3="9^^^WARD7"), "MRG|123^^^WARD7"),
    ],
)
def test_the_person_of_a_message_is_found_whatever_its_faults_are(sent):
    declared = feed(key=KEY)
    assert declared.pseudonyms.patient([MRN]) in named_in(sent, declared).persons


PARTS = st.sampled_from(
    [b"MSH|^~\\&|", b"PID|1||123^^^A&1.2&ISO~9^^^B", b"MRG|", b"\r", b"BHS|^~\\&|", b"|", b"^", b"\x0b", b"\xff"]
)


@given(st.lists(st.one_of(PARTS, st.binary(max_size=9)), max_size=20).map(b"".join))
def test_any_bytes_can_be_filed(sent):
    named = named_in(sent, feed(key=KEY))
    assert all(each.startswith("s-") for each in named.persons)
    named_in(sent, feed())


def test_a_person_is_filed_under_the_pseudonym_that_a_declared_authority_will_give():
    declared = Pseudonyms(KEY, ["WARD7"]).patient([MRN])
    undeclared = Pseudonyms(KEY).patient([MRN])
    assert {declared, undeclared} <= Pseudonyms(KEY).candidates(MRN)
    assert declared in Pseudonyms(KEY, ["WARD7"]).candidates(Identifier("ANOTHER", "123"))


def handler(database: Database, letters: DeadLetters) -> MessageHandler:
    def store(sent: bytes, client: str) -> submit.Reply:
        return submit.store_message(database, "trial", sent, secret=SECRET, now=time.time_ns() // 1000, client=client)

    return MessageHandler("trial", store, FiledLetters(letters, database, SECRET), lambda row: None)


def test_of_a_batch_only_the_refused_messages_are_kept_each_as_its_letter(database, letters):
    parts = [
        oru(header=changed(MSH, f10="good")),
        oru(obx(f6="furlong"), header=changed(MSH, f10="bad")),
        oru(header=changed(MSH, f10="other", f9="ADT^A08")),
    ]
    batch = b"BHS|^~\\&|LIS|ELAB|MYO|TRIAL|20050317||||B1\r" + b"".join(parts) + b"BTS|4\r"
    [answer] = handler(database, letters).answers(batch, "10.0.0.5", "mllp:lab")
    assert [code in answer for code in (b"MSA|AA|good", b"MSA|AE|bad", b"MSA|AR|other", b"MSA|AE|B1")] == [True] * 4
    found = {letter.note().control_id: letter for letter in letters.all()}
    assert set(found) == {"bad", "other", "B1"}
    assert found["bad"].message() == parts[1]
    assert [found[name].note().kept for name in ("bad", "other", "B1")] == [True, False, False]
    assert [fault.place for fault in found["bad"].note().faults] == ["OBX[1]-6"]


def test_the_service_is_not_ready_while_others_may_enter_the_directory_of_letters(tmp_path):
    url = migrated(tmp_path)
    letters = DeadLetters(tmp_path / "letters", KEYS)
    letters.prepare()
    settings = Settings(database_url=url, dead_letters=letters.directory, compute_workers=0)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert client.get("/readyz").status_code == 200
        letters.directory.chmod(0o755)
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "MYORESPONSE_DEAD_LETTERS" in answer.json()["detail"]
        letters.directory.chmod(0o700)
        assert client.get("/readyz").status_code == 200
