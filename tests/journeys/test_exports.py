"""An export says of which study it is, and whether it is whole: by the command line and over HTTP."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.store.engine import Database
from app.store.migrations import upgrade
from app.submission.feeds import objection_to_secret
from tests.documented import Documented
from tests.hl7v2.hl7v2_messages import obx, oru
from tests.journeys.command_line import CK, Place, timeline
from tests.journeys.conftest import service

SECRET, OTHER = "s" * 40, "t" * 40
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def here(tmp_path):
    """A service with a study of two patients, one of whom was merged into a third record."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with service(url) as client:
        place = Place(client, url, tmp_path)
        merged = timeline("P3", CK | {"time": "2005-05-01"})
        merged["patient"]["merged_into"] = "P1"
        lines = [timeline("P1", CK), timeline("P2", CK | {"value": 900}), merged]
        assert place.run("import", place.write("a.ndjson", lines), "--study", "trial").exit_code == 0
        yield place


def exported(here: Place, study: str = "trial", name: str = "all.ndjson", **settings: str) -> bytes:
    file = here.folder / name
    ended = here.run("export", "--study", study, "--output", file, **settings)
    assert (ended.exit_code, list(here.folder.glob("*.part"))) == (0, [])
    return file.read_bytes()


def post(client: TestClient, study: str, body: bytes, query: str = ""):
    return client.post(f"/v1/studies/{study}/timelines{query}", content=body, headers=NDJSON)


def last(answer) -> dict:
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text.splitlines()[-1])


class TestTheFirstLine:
    """It names the study, its revision, and what follows."""

    def test_it_says_what_follows(self, here):
        head, *lines = exported(here).splitlines(keepends=True)
        assert json.loads(head) == {
            "export": {
                "form": 1,
                "study": "trial",
                "revision": 3,
                "pseudonyms": None,
                "lines": 3,
                "digest": f"sha256:{hashlib.sha256(b''.join(lines)).hexdigest()}",
            }
        }
        assert here.run("export", "--study", "trial").stdout_bytes == head + b"".join(lines)

    def test_the_same_study_takes_it_over_http_and_by_the_command(self, here):
        body = exported(here)
        for atomic in ("", "?atomic=true"):
            answer = post(here.client, "trial", body, atomic)
            assert answer.status_code == 200, answer.text
            end = answer.json() if atomic else last(answer)
            assert end["counts"] == {"unchanged": 3}
            if not atomic:
                assert end["exports"] == [{"study": "trial", "revision": 3, "whole": True}]
                assert [json.loads(line)["line"] for line in answer.text.splitlines()[:-1]] == [2, 3, 4]
                assert end["lines"] == 3

    def test_one_of_another_study_needs_its_name(self, here):
        body = exported(here)
        here.study("again")
        refused = here.run("import", here.folder / "all.ndjson", "--study", "again")
        assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
        assert "`--moved-from trial`" in refused.stderr
        assert "Nothing was stored" in refused.stderr
        for query in ("", "?atomic=true", "?moved_from=other"):
            answer = post(here.client, "again", body, query)
            assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
            assert "`moved_from=trial`" in answer.json()["detail"]
        assert here.read("again") == {}
        taken = here.run("import", here.folder / "all.ndjson", "--study", "again", "--moved-from", "trial")
        assert taken.stderr == "Note: an export of study trial was stored in study again.\n"
        assert here.digest("again") == here.digest("trial")
        for number, query in enumerate(("?moved_from=trial", "?moved_from=trial&atomic=true")):
            here.study(f"again{number}")
            assert post(here.client, f"again{number}", body, query).status_code == 200
            assert here.digest(f"again{number}") == here.digest("trial")

    def test_a_file_without_it_is_taken_with_a_note(self, here):
        body = exported(here)
        file = here.write("old.ndjson", body.split(b"\n", 1)[1])
        here.study("again")
        taken = here.run("import", file, "--study", "again")
        assert (taken.exit_code, taken.stdout) == (0, "1 file: 3 created; facts: 4 kept.\n")
        assert taken.stderr == (
            "Note: 1 file of lines without the first line of an export, so nothing says if it is whole.\n"
        )
        assert "exports" not in last(post(here.client, "again", file.read_bytes()))
        assert here.run("import", file, "--study", "again", "--quiet").output == ""

    @pytest.mark.parametrize(
        "head",
        [
            {"export": {"form": 2, "study": "trial"}},
            {"export": {"study": "trial", "revision": 1, "pseudonyms": None, "lines": 1, "digest": "sha256:0"}},
            {"export": []},
            {"export": {"note": "x" * 2_000}},
        ],
        ids=["another form", "no digest", "no object", "too long"],
    )
    def test_one_that_this_version_cannot_read_is_refused(self, here, head):
        body = json.dumps(head).encode() + b"\n" + json.dumps(timeline("P9", CK)).encode()
        refused = here.run("import", here.write("b.ndjson", body), "--study", "trial")
        assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
        assert "later version" in refused.stderr
        for query in ("", "?atomic=true"):
            assert post(here.client, "trial", body, query).status_code == 422
        assert "P9" not in here.read("trial")


class TestWhole:
    """An export that was cut or edited is noticed."""

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda lines: lines[:-1], "has 2 of its 3 lines"),
            (lambda lines: lines[:1], "has 0 of its 3 lines"),
            (lambda lines: [*lines, lines[-1]], "has 4 of its 3 lines"),
            (lambda lines: [lines[0], *lines[:0:-1]], "some of them were changed"),
            (lambda lines: [line.replace(b"900", b"901") for line in lines], "some of them were changed"),
        ],
        ids=["without the last line", "the first line alone", "a line twice", "in another order", "another value"],
    )
    def test_it_is_refused_before_anything_is_stored_and_a_stream_says_so_at_its_end(self, here, change, words):
        body = b"".join(change(exported(here).splitlines(keepends=True)))
        here.study("again")
        good = here.write("good.ndjson", [timeline("P9", CK)])
        file = here.write("cut.ndjson", body)
        refused = here.run("import", good, file, "--study", "again", "--moved-from", "trial")
        assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
        assert words in refused.stderr
        assert post(here.client, "again", body, "?atomic=true&moved_from=trial").status_code == 422
        assert here.read("again") == {}
        end = last(post(here.client, "again", body, "?moved_from=trial"))
        assert end["exports"] == [{"study": "trial", "revision": 3, "whole": False}]
        assert len(here.read("again")) == min(body.count(b"\n") - 1, 3)

    def test_blank_lines_and_other_line_ends_change_nothing(self, here):
        body = b"\xef\xbb\xbf" + exported(here).replace(b"\n", b"\r\n\r\n")
        assert here.run("import", here.write("b.ndjson", body), "--study", "trial").exit_code == 0
        assert last(post(here.client, "trial", body))["exports"][0]["whole"]

    def test_exports_that_were_joined_are_checked_one_by_one(self, here):
        first = exported(here)
        post(here.client, "trial", json.dumps(timeline("P9", CK)).encode())
        second = exported(here)
        assert here.run("import", here.write("b.ndjson", first + second), "--study", "trial").exit_code == 0
        wholes = [each["whole"] for each in last(post(here.client, "trial", first + second))["exports"]]
        assert wholes == [True, True]
        cut = first[:-1].rsplit(b"\n", 1)[0] + b"\n" + second
        assert here.run("import", here.write("c.ndjson", cut), "--study", "trial").exit_code == 2
        wholes = [each["whole"] for each in last(post(here.client, "trial", cut))["exports"]]
        assert wholes == [False, True]

    def test_an_export_of_another_study_behind_lines_is_refused_line_by_line(self, here):
        here.study("again")
        body = json.dumps(timeline("P9", CK)).encode() + b"\n" + exported(here)
        answer = post(here.client, "again", body)
        statuses = [json.loads(line)["status"] for line in answer.text.splitlines()[:-1]]
        assert statuses == ["created", *["rejected"] * 4]
        assert list(here.read("again")) == ["P9"]
        assert post(here.client, "again", body, "?atomic=true").status_code == 409


class TestPseudonyms:
    """A person is never in a study twice because the data came from elsewhere."""

    @pytest.fixture
    def ward(self, here):
        """A study of medical record numbers with one result, and its export."""
        here.study("ward", identifiers="medical_record")
        message = here.write("a.hl7", oru(obx(), pid="PID|1||4711^^^w"))
        assert here.run("import", message, "--study", "ward", PSEUDONYM_SECRET=SECRET).exit_code == 0
        return exported(here, "ward", PSEUDONYM_SECRET=SECRET)

    @contextmanager
    def elsewhere(self, here, name: str, secret: str | None, **declared: str) -> Iterator[Place]:
        """Another service with this study."""
        url = f"sqlite:///{here.folder / f'{name}{secret}.db'}"
        upgrade(url)
        app = create_app(Settings(database_url=url, **({"pseudonym_secret": secret} if secret else {})))
        client = Documented(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 50_000))
        with client:
            place = Place(client, url, here.folder)
            place.study(name, **({"identifiers": "medical_record"} | declared))
            yield place

    def test_the_first_line_has_the_fingerprint_of_their_key(self, ward):
        assert len(json.loads(ward.split(b"\n")[0])["export"]["pseudonyms"]) == 32

    def test_the_same_name_and_secret_give_the_same_person_in_the_next_message(self, here, ward):
        with self.elsewhere(here, "ward", SECRET) as there:
            assert last(post(there.client, "ward", ward))["counts"] == {"created": 1}
            message = oru(obx(f5="900"), pid="PID|1||4711^^^w")
            assert (
                there.client.post(
                    "/v1/studies/ward/hl7v2", content=message, headers={"Content-Type": "application/hl7-v2"}
                ).status_code
                == 200
            )
            assert len(there.read("ward")) == 1
            assert there.digest("ward")

    def test_the_key_is_kept_so_that_no_other_secret_is_used_later(self, here, ward):
        for number, query in enumerate(("", "?atomic=true")):
            here.folder = here.folder / str(number)
            here.folder.mkdir()
            with self.elsewhere(here, "ward", SECRET) as there:
                assert post(there.client, "ward", ward, query).status_code == 200
            database = Database(there.url)
            with database.reading() as connection:
                assert objection_to_secret(connection, OTHER) is not None
                assert objection_to_secret(connection, SECRET) is None
            database.dispose()

    @pytest.mark.parametrize(("name", "secret"), [("ward", OTHER), ("ward", None), ("ward2", SECRET)])
    @pytest.mark.parametrize("query", ["", "?moved_from=ward", "?moved_from=ward&atomic=true"])
    def test_another_name_or_secret_is_refused_by_name_with_every_option(self, here, ward, name, secret, query):
        with self.elsewhere(here, name, secret) as there:
            answer = post(there.client, name, ward, query)
            assert answer.status_code == 409
            assert "secret" in answer.json()["detail"]
            assert "ward" in answer.json()["detail"]
            assert there.read(name) == {}
            file = here.write("w.ndjson", ward)
            settings = {"PSEUDONYM_SECRET": secret} if secret else {}
            refused = there.run("import", file, "--study", name, "--moved-from", "ward", **settings)
            assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)

    def test_a_study_that_makes_no_pseudonyms_takes_them_under_its_own_name(self, here, ward):
        with self.elsewhere(here, "register", OTHER, identifiers="pseudonyms") as there:
            assert post(there.client, "register", ward).status_code == 409
            assert last(post(there.client, "register", ward, "?moved_from=ward"))["counts"] == {"created": 1}
            assert list(there.read("register")) == list(here.read("ward"))
