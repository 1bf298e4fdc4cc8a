"""Files of a study give the report of the service, byte for byte; whatever does not belong together is refused."""

import json
import random
import shutil
import socket

import pyarrow as arrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from app.__main__ import cli
from app.bulk import spark_engine, study_files
from app.bulk.spark_engine import NoEngine
from app.bulk.study_files import LIST, UnusableStudyFiles, name_of
from app.bulk.study_report import report_here
from app.derive.parts import PartsRead
from app.protocol.presets import MYOSITIS_2026, SEED_2008
from app.timeline.cohort import Cohort
from tests.journeys.conftest import load_demo, service
from tests.repetition import repeats
from tests.spark.studies import ORIGIN, demonstration, histories, lines, write

pytestmark = pytest.mark.usefixtures("small_files")


def run(*command, **variables):
    environment = {f"MYORESPONSE_{name}": value for name, value in variables.items()}
    return CliRunner().invoke(cli, [str(part) for part in command], env=environment)


def exported(database_url, study, place):
    done = run("export", "--study", study, "--format", "parquet", "--output", place, DATABASE_URL=database_url)
    assert done.exit_code == 0, done.output
    return done


def derived(place, output, *more):
    done = run("derive", "--input", place, "-o", output, *more)
    assert done.exit_code == 0, done.output
    return output.read_bytes()


def refused(place):
    """What `derive` says, in one line, without a report."""
    done = run("derive", "--input", place, "-o", place / "never.json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert not (place / "never.json").exists()
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


@pytest.fixture
def cohort():
    return demonstration()


@pytest.fixture
def files(tmp_path, cohort):
    write(tmp_path / "files", cohort, SEED_2008)
    return tmp_path / "files"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The report of the files as they were written."""
    place = tmp_path_factory.mktemp("whole") / "files"
    write(place, demonstration(), SEED_2008)
    return report_here(str(place))


def test_the_report_of_the_files_is_that_of_the_service(database_url, tmp_path):
    with service(database_url) as client:
        load_demo(client)
        made = client.put(
            "/v1/studies/trial", json={"name": "T", "protocol": "myositis-2026", "time_zone": "Asia/Tokyo"}
        )
        assert made.status_code == 201
        ndjson = {"content-type": "application/x-ndjson"}
        assert (
            client.post("/v1/studies/trial/timelines", content=lines(histories(1)), headers=ndjson).status_code == 200
        )
        for study in ("demo", "trial"):
            whole = client.get(f"/v1/studies/{study}/analyses").content
            exported(database_url, study, tmp_path / study)
            assert derived(tmp_path / study, tmp_path / f"{study}.json") == whole
            assert len(study_files.listed(str(tmp_path / study)).patients) > 1
    assert json.loads(whole)["populations"]["efficacy"] > 20
    assert json.loads(whole)["provenance"]["protocol_id"] == "myositis-2026"


def test_an_export_is_found_by_its_url(files, whole):
    assert report_here(f"file://{files}") == whole


def test_a_study_without_patients_has_a_report(tmp_path):
    write(tmp_path / "files", Cohort.assemble([], [], [], [], [], []), SEED_2008)
    assert json.loads(derived(tmp_path / "files", tmp_path / "report.json"))["populations"]["all"] == 0


def test_rows_in_any_order_and_files_give_the_same_bytes(files, whole):
    parts = sorted(files.glob("*.parquet"))
    table = arrow.concat_tables([parquet.read_table(part) for part in parts])
    rows = list(range(table.num_rows))
    random.Random(1).shuffle(rows)
    for part in parts:
        part.unlink()
    mixed = table.take(rows)
    parquet.write_table(mixed.slice(0, 9), files / "z.parquet")
    parquet.write_table(mixed.slice(9, 0), files / "empty.parquet")
    parquet.write_table(mixed.slice(9), files / "a.parquet")
    assert report_here(str(files)) == whole


def test_a_missing_or_doubled_file_is_named(files):
    lost = files / name_of(1)
    kept = lost.read_bytes()
    lost.unlink()
    assert refused(files) == f"Nothing was done: {name_of(1)} is missing."
    lost.write_bytes(kept)
    (files / "copy.parquet").write_bytes(kept)
    assert f"{name_of(1)} has " in refused(files)


@pytest.mark.parametrize("other", ["protocol", "study", "facts"])
def test_a_file_of_another_export_is_named(files, tmp_path, cohort, other):
    protocol = MYOSITIS_2026 if other == "protocol" else SEED_2008
    origin = ORIGIN if other != "study" else type(ORIGIN)("other", 7, ORIGIN.as_of, False)
    write(tmp_path / "other", cohort if other != "facts" else cohort.between(1, len(cohort)), protocol, origin)
    shutil.copy(tmp_path / "other" / name_of(0), files / name_of(0))
    assert refused(files) == (
        f"Nothing was done: {name_of(0)} belongs to another export: another study, revision or protocol."
    )


def test_a_parquet_file_of_something_else_is_named(files):
    parquet.write_table(arrow.table({"id": ["P01"]}), files / "subjects.parquet")
    assert refused(files).startswith("Nothing was done: subjects.parquet is no file of this export: it has no ")


def test_a_changed_value_is_noticed(files):
    table = parquet.read_table(files / name_of(0))
    changed = table.set_column(table.schema.get_field_index("weight_kg"), table.schema.field("weight_kg"),
                               arrow.array([50.5] * table.num_rows))  # fmt: skip
    parquet.write_table(changed, files / name_of(0))
    assert refused(files) == f"Nothing was done: {name_of(0)} is damaged: its facts are not those that were written."


def test_no_flipped_bit_changes_a_figure(files, whole):
    rng = random.Random(2)
    content = (files / name_of(0)).read_bytes()
    noticed = 0
    for _ in range(repeats(60)):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (files / name_of(0)).write_bytes(flipped)
        try:
            assert report_here(str(files)) == whole
        except UnusableStudyFiles:
            noticed += 1
    assert noticed > repeats(60) / 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-40], f"{LIST} is damaged"),
        (lambda text: text.replace("seed-2008", "seed-2009"), "its digest is that of another content"),
        (lambda text: text.replace('"form": 1', '"form": 2'), "which is newer than"),
        (lambda _: "[]", f"{LIST} is damaged"),
    ],
    ids=["truncated", "changed", "newer", "other"],
)
def test_a_list_that_is_not_as_it_was_written_is_refused(files, change, said):
    (files / LIST).write_text(change((files / LIST).read_text()))
    assert said in refused(files)


def test_an_export_that_was_not_finished_is_refused(files):
    (files / LIST).unlink()
    assert refused(files).endswith(f"has no {LIST}: it is no export of a study, or not a complete one.")


def test_files_with_other_columns_are_refused(files, monkeypatch):
    monkeypatch.setattr(study_files.cohort_batches, "FORM", 2)
    assert "whose columns differ from those of" in refused(files)


def test_a_folder_with_anything_in_it_is_not_written_to(files, cohort):
    with pytest.raises(UnusableStudyFiles, match="is not empty"):
        write(files, cohort, SEED_2008)


def test_the_files_are_for_their_owner_only(files):
    assert files.stat().st_mode & 0o077 == 0


def test_an_engine_that_is_not_there_is_named_in_one_line(files, monkeypatch):
    monkeypatch.setattr(spark_engine, "find_spec", lambda _: None)
    done = run("derive", "--input", files, "-o", files / "x.json", "--engine", "spark")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'myoresponse[spark]'" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("calling o1.x\n: java.lang.IllegalStateException: P01", "java.lang.IllegalStateException"),
        ("File 'x'\nModuleNotFoundError: No module named 'app'", "the Python of the cluster has no package app"),
        ("[PYTHON_VERSION_MISMATCH] Python 3.9 and 3.11", "PYTHON_VERSION_MISMATCH"),
        ("P01 has 900 U/L", "ValueError"),
    ],
)
def test_a_failure_of_spark_is_named_without_its_text(text, said):
    assert spark_engine._cause(ValueError(text)) == said


def test_a_machine_with_another_version_derives_nothing(files):
    checks = study_files.Checks(study_files.listed(str(files)).export, False)
    batch = next(study_files._batches(str(files)))
    for versions, whole in ((spark_engine.versions(), True), (("myoresponse 0.0.1", "numpy 1"), False)):
        derives = spark_engine.Deriving(checks, PartsRead((SEED_2008,), ["CK"]), versions)
        (row,) = list(derives(iter([batch, batch.slice(0, 0)])))
        problem, part = row.to_pylist()[0].values()
        assert (problem is None, part is not None) == (whole, whole)
    assert problem.endswith("instead of myoresponse 0.0.1, numpy 1")


def test_missing_java_and_a_silent_master_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(spark_engine, "find_spec", lambda _: True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # it does not listen, and nobody else can
        master = f"spark://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoEngine, match=f"no Spark master answers at {master}"):
            spark_engine.require_engine(master)
    (tmp_path / "bin" / "java").unlink()
    with pytest.raises(NoEngine, match="Java 17"):
        spark_engine.require_engine(None)
