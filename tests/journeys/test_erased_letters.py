"""A person is erased over HTTP while a listener takes messages: no letter of the person stays, those of others do."""

import http.client
import json

import pytest

from app.store.studies import FeedDefinition
from tests.api.fhir_bodies import SECRET
from tests.api.test_server import running
from tests.hl7v2.test_mllp_command import oru, place, sender_to, start

__all__ = ["place", "start"]
pytestmark = pytest.mark.slow


def ask(server, method, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def contents(place):
    """Each letter that can be read, as the command for letters reads it."""
    files = sorted(place.letters.glob("*.letter"))
    read = [place.run("dead-letters", "--read", file, PSEUDONYM_SECRET=SECRET) for file in files]
    assert [each.returncode for each in read] == [0] * len(read)
    return [each.stdout for each in read]


def test_no_letter_of_an_erased_person_is_on_the_disk_and_those_of_others_can_be_read(start, place):
    place.define(FeedDefinition(authorities=("HOSP",)))
    secret = {"PSEUDONYM_SECRET": SECRET}
    with (
        running(place.url, DEAD_LETTERS=str(place.letters), **secret) as server,
        sender_to(start(**secret)) as sender,
    ):
        assert b"\rMSA|AA|" in sender.ask(oru("K1", patient="MRN-1"))
        [who] = json.loads(ask(server, "GET", "/v1/studies/ward7/patients")[1])["items"]
        for control, number in (("A1", "MRN-1"), ("A2", "MRN-2"), ("A3", "MRN-1"), ("A4", "MRN-3")):
            assert b"\rMSA|AE|" in sender.ask(oru(control, "furlong", patient=number))
        both = oru("A5", "furlong", patient="MRN-1") + oru("A6", "furlong", patient="MRN-2").partition(b"\r")[2]
        assert b"\rMSA|AE|" in sender.ask(both)  # one message about two persons
        assert len(contents(place)) == 5
        bytes_on_disk = [file.read_bytes() for file in place.letters.rglob("*") if file.is_file()]
        assert not any(b"MRN-1" in each or b"SECRETNAME" in each for each in bytes_on_disk)
        assert [*place.letters.glob("persons/ward7/*/*")]
        status, _ = ask(server, "DELETE", f"/v1/studies/ward7/patients/{who['patient']['id']}?erase=true")
        assert status == 204
        left = contents(place)
        assert sorted(each.splitlines()[0].split("|")[9] for each in left) == ["A2", "A4"]
        assert not any("MRN-1" in each for each in left)
        files = {file.stem for file in place.letters.rglob("*") if file.is_file()}
        assert files == {file.stem for file in place.letters.glob("*.letter")}, "no note and no mark of another letter"
        assert b"\rMSA|AE|A7" in sender.ask(oru("A7", "furlong", patient="MRN-1"))  # a note alone
        assert len(contents(place)) == 2
        assert b"\rMSA|AE|" in sender.ask(oru("A8", "furlong", patient="MRN-2"))
        assert len(contents(place)) == 3
