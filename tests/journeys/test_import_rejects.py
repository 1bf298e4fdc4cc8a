"""What an import refuses, in every format."""

import json
from pathlib import Path

import pytest

from tests.hl7v2.hl7v2_messages import obx, oru
from tests.journeys.command_line import CK, Place, timeline
from tests.journeys.conftest import service
from tests.readers.tables import table

SECRET = "x" * 32


@pytest.fixture
def here(tmp_path):
    """A service on SQLite with an empty study, the command line on its database, and a directory."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with service(url) as client:
        yield Place(client, url, tmp_path)


class TestRejects:
    """Refused content can be corrected and imported. The reasons are in a second file, without values."""

    BAD = CK | {"time": "2005-03-17", "value": -7391.25}

    def mended(self, place: Place, file: Path, study: str = "trial", *more: object) -> list[dict]:
        """The reasons for the rejects of a file. Then correct the rejects (no minus sign) and import them."""
        rejects = place.folder / f"rejects{''.join(file.suffixes)}"
        ended = place.run("import", file, "--study", study, "--rejects", rejects, *more)
        assert ended.exit_code == 1, ended.output
        reasons = rejects.with_name(rejects.name + ".faults.ndjson")
        assert "7391" not in reasons.read_text() + ended.output
        assert {each.stat().st_mode & 0o777 for each in (rejects, reasons)} == {0o600}
        rejects.write_bytes(rejects.read_bytes().replace(b"-7391", b"7391"))
        again = place.run("import", rejects, "--study", study, *more)
        assert again.exit_code == 0, (rejects.read_text(), again.output)
        return [json.loads(line) for line in reasons.read_text().splitlines()]

    def places(self, reasons: list[dict]) -> list[tuple]:
        return [(each["place"], *[(fault["pointer"], fault["code"]) for fault in each["faults"]]) for each in reasons]

    def test_lines_and_elements(self, here):
        documents = [timeline("P1", CK), timeline("P2", self.BAD), timeline("P3", CK), timeline("P4", CK, self.BAD)]
        reasons = self.mended(here, here.write("a.ndjson", documents))
        assert self.places(reasons) == [
            ("line 2", ("/labs/0/value", "out_of_range")),
            ("line 4", ("/labs/1/value", "out_of_range")),
        ]
        assert list(here.read("trial")) == ["P1", "P2", "P3", "P4"]
        here.study("two")
        reasons = self.mended(here, here.write("a.json", json.dumps(documents, indent=2)), "two")
        assert [place for place, *_ in self.places(reasons)] == ["item 2", "item 4"]
        assert here.digest("two") == here.digest("trial")

    def test_a_message_with_a_result_that_is_set_aside_is_kept_and_rejected(self, here):
        mixed = oru(obx(), obx(f3="2532-0^LDH^LN", f6="furlongs"), obx(f3="2345-7^Glucose^LN"))
        rejects = here.folder / "r.hl7"
        ended = here.run("import", here.write("a.hl7", mixed), "--study", "trial", "--rejects", rejects)
        assert ended.exit_code == 1
        assert ended.stdout.splitlines()[0] == (
            "1 file: 1 changed, 1 rejected; facts: 3 kept, 1 set aside, 1 not ours; left alone: 1 code."
        )
        [said] = ended.stderr.splitlines()
        assert said.startswith("a.hl7: message 1: OBX[2]-6 unknown_unit (Accepted: U/L, ")
        [reasons] = rejects.with_name("r.hl7.faults.ndjson").read_text().splitlines()
        assert json.loads(reasons)["faults"][0]["accepts"]["see"] == "docs/feeds.md#units"
        mended = here.write("b.hl7", rejects.read_bytes().replace(b"furlongs", b"U/L"))
        assert here.run("import", mended, "--study", "trial").exit_code == 0
        [patient] = here.read("trial").values()
        assert [lab["code"] for lab in patient["labs"]] == ["CK", "LDH"]

    def test_a_message_of_which_nothing_is_kept_is_only_rejected(self, here):
        word = oru(obx(f2="ST", f5="HEMOLYZED", f6=""), pid="PID|1||P9^^^w")
        ended = here.run("import", here.write("a.hl7", word), "--study", "trial")
        assert (ended.exit_code, ended.stdout) == (1, "1 file: 1 rejected; facts: 1 set aside.\n")
        assert ended.stderr.splitlines() == ["a.hl7: message 1: OBX[1] bad_number (Accepted: a number)"]

    def test_a_result_that_is_no_number_is_a_change_only_if_it_ends_another_one(self, here):
        header = "patient,code,time,value,unit,id,issued,status\n"
        for file, rows, facts in (
            ("alone.csv", ["P1,CK,2005-03-16,HEMOLYZED,U/L,a1,2005-03-17T08:00:00+09:00,final\n"], "1 rejected"),
            ("first.csv", ["P2,CK,2005-03-16,1500,U/L,a2,2005-03-17T08:00:00+09:00,final\n"], "1 created"),
            (
                "ends.csv",
                ["P2,CK,2005-03-16,HEMOLYZED,U/L,a2,2005-03-18T08:00:00+09:00,corrected\n"],
                "1 changed, 1 rejected",
            ),
            (
                "ends.csv",
                ["P2,CK,2005-03-16,HEMOLYZED,U/L,a2,2005-03-18T08:00:00+09:00,corrected\n"],
                "1 unchanged, 1 rejected",
            ),
        ):
            ended = here.run("import", here.write(file, header + "".join(rows)), "--study", "trial")
            assert ended.stdout.splitlines()[0].startswith(f"1 file: {facts}; "), ended.stdout

    @pytest.mark.parametrize("kind", ["line", "batch", "collection"])
    def test_a_resource_with_a_fact_that_is_set_aside_is_kept_and_rejected(self, here, kind):
        part = {
            "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
            "valueQuantity": {"value": 5, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"},
        }
        other = {"code": {"coding": [{"system": "http://loinc.org", "code": "1920-8"}]}, "valueString": "HEMOLYZED"}
        panel = {"resourceType": "Observation", "status": "final", "code": {"text": "enzymes"},
                 "subject": {"identifier": {"system": "w", "value": "P1"}}, "effectiveDateTime": CK["time"],
                 "identifier": [{"system": "l", "value": "7"}], "component": [part, other]}  # fmt: skip
        entry = {"resource": panel} | ({"request": {"method": "POST", "url": "Observation"}} if kind == "batch" else {})
        sent = panel if kind == "line" else {"resourceType": "Bundle", "type": kind, "entry": [entry]}
        rejects = here.folder / "r.fhir.ndjson"
        ended = here.run("import", here.write("a.fhir.ndjson", [sent]), "--study", "trial", "--rejects", rejects)
        assert ended.exit_code == 1
        assert ended.stdout.splitlines()[0] == "1 file: 1 created, 1 rejected; facts: 1 kept, 1 set aside."
        number = rejects.read_text().replace(
            '"valueString": "HEMOLYZED"', f'"valueQuantity": {json.dumps(part["valueQuantity"])}'
        )
        again = here.run("import", here.write("b.fhir.ndjson", number), "--study", "trial")
        assert again.exit_code == 0, again.output
        assert [lab["code"] for lab in here.read("trial")["P1"]["labs"]] == ["AST", "CK"]

    def test_the_reasons_say_what_would_have_been_accepted(self, here):
        messages = here.write("a.hl7", oru(obx(f11="canary")) + oru(obx(f6="furlongs")))
        ended = here.run("import", messages, "--study", "trial", "--rejects", here.folder / "r.hl7")
        reasons = (here.folder / "r.hl7.faults.ndjson").read_text()
        status, unit = (json.loads(line)["faults"][0]["accepts"]["one_of"] for line in reasons.splitlines())
        assert status == ["F", "U", "V", "B", "C", "A", "P", "R", "S", "D", "W", "X", "I", "N", "O"]
        assert {"U/L", "ukat/L", "nkat/L"} <= set(unit)
        assert f"OBX[1]-11 unknown_value (Accepted: {', '.join(status)})" in ended.output
        assert "canary" not in ended.output + reasons

    def test_a_timeline_with_a_result_that_is_set_aside_is_rejected(self, here):
        drawn = [CK | {"id": "7", "source": "A", "time": f"2005-03-16T{hour}:00:00+09:00"} for hour in ("08", "10")]
        ambiguous = CK | {"id": "7", "source": "A", "time": "2005-03-16", "value": 900}
        file = here.write("a.ndjson", [timeline("P1", *drawn), timeline("P1", ambiguous)])
        ended = here.run("import", file, "--study", "trial")
        assert (ended.exit_code, ended.stdout) == (1, "1 file: 1 created, 1 rejected; facts: 2 kept, 1 set aside.\n")
        assert ended.stderr.splitlines() == [
            "a.ndjson: line 2: /labs/0 missing",
            "Note: 1 file of lines without the first line of an export, so nothing says if it is whole.",
        ]

    def test_rows_of_a_patient(self, here):
        rows = [
            {"patient": patient, "time": f"2005-03-{day:02}", "value": value}
            for day, (patient, value) in enumerate(
                [("P1", "5"), ("P2", "6"), ("P3", "-7391"), ("P1", "7"), ("P3", "8"), ("P2", "-7391")], 1
            )
        ]
        here.study("whole")
        here.run("import", here.write("good.csv", table(*rows).replace(b"-7391", b"7391")), "--study", "whole")
        reasons = self.mended(here, here.write("a.csv", b"\xef\xbb\xbf" + table(*rows).replace(b"\n", b"\r\n")))
        assert self.places(reasons) == [
            ("line 7", ("/7/value", "out_of_range")),
            ("line 4", ("/4/value", "out_of_range")),
        ]
        assert here.digest("trial") == here.digest("whole")

    def test_rows_that_are_set_aside_beside_rows_that_are_kept(self, here):
        rows = [
            {"patient": "P1", "time": "2005-03-01", "value": "5"},
            {"patient": "P1", "time": "2005-03-02", "value": "HEMOLYZED"},
            {"patient": "P1", "time": "2005-03-03", "code": "KREA"},
            {"patient": "", "time": "2005-03-04"},
        ]
        here.study("trial")
        ended = here.run("import", here.write("a.csv", table(*rows)), "--study", "trial")
        assert ended.exit_code == 1
        assert ended.stdout == (
            "1 file: 1 created, 2 rejected; facts: 1 kept, 1 set aside, 1 not ours; left alone: 1 code.\n"
        )
        assert ended.stderr.splitlines() == [
            "a.csv: line 3: /3/value bad_number (Accepted: a number)",
            "a.csv: line 5: /5/patient no_subject",
        ]

    def test_a_patient_of_whom_no_row_is_kept_is_only_rejected(self, here):
        here.study("trial")
        ended = here.run("import", here.write("a.csv", table({"value": "?"})), "--study", "trial")
        assert (ended.exit_code, ended.stdout) == (1, "1 file: 1 rejected; facts: 1 set aside.\n")

    def test_resources_and_entries(self, here):
        def observation(patient: str, value: float) -> dict:
            return {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
                "subject": {"identifier": {"system": "w", "value": patient}},
                "effectiveDateTime": CK["time"],
                "valueQuantity": {"value": value, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"},
            }

        resources = [
            observation("P1", 5),
            observation("P2", -7391),
            {"resourceType": "Device"},
            {"resourceType": "Observation", "status": "final", "code": {"text": "glucose"}},
        ]
        ended = here.run("import", here.write("b.fhir.ndjson", resources[:1] + resources[2:]), "--study", "trial")
        assert ended.stdout == "1 file: 1 created; facts: 1 kept, 2 not ours; left alone: 1 code, 1 resource.\n"
        reasons = self.mended(here, here.write("a.fhir.ndjson", resources))
        assert [place for place, *_ in self.places(reasons)] == ["line 2"]
        here.study("two")
        batch = {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [
                {"resource": each, "request": {"method": "POST", "url": "Observation"}} for each in resources[:2]
            ],
        }
        reasons = self.mended(here, here.write("a.json", json.dumps(batch, indent=1)), "two")
        assert [place for place, *_ in self.places(reasons)] == ["item 1, entry[1]"]
        assert here.digest("two") == here.digest("trial")

    def test_messages(self, here):
        def message(patient: str, value: str) -> bytes:
            return oru(obx(f5=value), pid=f"PID|1||{patient}^^^w||DOE^JANE||19530401")

        three = message("P1", "5") + message("P2", "-7391") + message("P3", "6")
        batch = b"FHS|^~\\&|\rBHS|^~\\&|\r" + three + b"BTS|3\rFTS|1\r"
        for number, content in enumerate((three, batch, three.replace(b"\r", b"\r\n"), b"\x0b" + three + b"\x1c\r")):
            here.study(f"s{number}")
            here.folder = here.folder / "deeper"
            here.folder.mkdir()
            reasons = self.mended(here, here.write("a.hl7", content), f"s{number}")
            assert [place for place, *_ in self.places(reasons)] == ["message 2"]
            assert sorted(here.read(f"s{number}")) == ["P1", "P2", "P3"]

    def test_nothing_refused_leaves_no_file_and_nothing_is_overwritten(self, here):
        file, rejects = here.write("a.ndjson", [timeline("P1", CK)]), here.folder / "r.ndjson"
        assert here.run("import", file, "--study", "trial", "--rejects", rejects).exit_code == 0
        assert not rejects.exists()
        refused = here.run("import", file, "--study", "trial", "--rejects", file)
        assert refused.exit_code == 2
        assert "is not overwritten" in refused.stderr
        assert file.read_bytes()

    def test_files_that_cannot_share_rejects_are_refused_before_anything_is_stored(self, here):
        lines, rows = here.write("a.ndjson", [timeline("P1", CK)]), here.write("a.csv", table({"patient": "P2"}))
        others = here.write("b.csv", table({"patient": "P3", "lab": "A"}))
        for pair in ((lines, rows), (rows, others)):
            assert here.run("import", *pair, "--study", "trial", "--rejects", here.folder / "r").exit_code == 2
        assert here.read("trial") == {}
        assert here.run("import", lines, rows, others, "--study", "trial").exit_code == 0
        assert list(here.read("trial")) == ["P1", "P2", "P3"]

    def test_a_table_without_its_header_is_refused_as_a_whole_and_once(self, here):
        headless = here.write("a.csv", b"P1,CK,2005-03-16,5,U/L\n" * 10)
        ended = here.run("import", headless, "--study", "trial", "--rejects", here.folder / "r.csv")
        assert (ended.exit_code, ended.stdout.splitlines()[0]) == (1, "1 file: 1 rejected.")
        assert not (here.folder / "r.csv").exists()
        assert here.run("import", here.write("e.csv", b"\n"), "--study", "trial").exit_code == 1

    def test_a_hospital_number_is_replaced_and_in_no_reason(self, here):
        here.study("ward", identifiers="medical_record")
        file = here.write("a.csv", table({"patient": "MRN-1"}, {"patient": "MRN-2", "value": "many"}))
        assert here.run("import", file, "--study", "ward").exit_code == 2
        ended = here.run("import", file, "--study", "ward", "--rejects", here.folder / "r.csv", PSEUDONYM_SECRET=SECRET)
        assert ended.exit_code == 1
        assert (here.folder / "r.csv").read_bytes() == table({"patient": "MRN-2", "value": "many"}) + b"\n"
        assert "MRN" not in ended.output + (here.folder / "r.csv.faults.ndjson").read_text() + str(here.read("ward"))
