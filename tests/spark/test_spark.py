"""On a cluster of one master and two workers the report is that of one process, byte for byte."""

import json
import os
import shutil
import signal
import time

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.bulk import study_files
from app.bulk.study_files import name_of
from app.bulk.study_report import report_here
from app.protocol.presets import MYOSITIS_2026, SEED_2008
from app.timeline import cohort_batches
from tests.bench.growth import models, study_of
from tests.journeys.conftest import load_demo, service
from tests.spark import cluster as module
from tests.spark.studies import demonstration, histories, lines, write
from tests.twin.test_twin_itself import saito_like

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(module.why_not() is not None, reason=str(module.why_not())),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with module.cluster(tmp_path_factory.mktemp("spark")) as running:
        yield running


def derived(cluster, place, output, *conf):
    """The report, and what was printed. It must succeed."""
    process = cluster.derive(str(place), output, *conf)
    out, errors = process.communicate(timeout=500)
    assert process.returncode == 0, (out, errors[-3000:])
    return output.read_bytes()


@pytest.mark.usefixtures("small_files")
def test_the_report_of_a_cluster_is_that_of_the_service(cluster, tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with service(url) as client:
        load_demo(client)
        assert client.put("/v1/studies/trial", json={"name": "T", "protocol": "seed-2008"}).status_code == 201
        ndjson = {"content-type": "application/x-ndjson"}
        sent = client.post("/v1/studies/trial/timelines", content=lines(histories(2)), headers=ndjson)
        assert sent.status_code == 200
        for study in ("demo", "trial"):
            whole = client.get(f"/v1/studies/{study}/analyses").content
            made = CliRunner().invoke(
                cli,
                ["export", "--study", study, "--format", "parquet", "--output", str(tmp_path / study)],
                env={"MYORESPONSE_DATABASE_URL": url},
            )
            assert made.exit_code == 0, made.output
            assert derived(cluster, tmp_path / study, tmp_path / f"{study}.json") == whole
            assert report_here(str(tmp_path / study)) == whole


@pytest.mark.usefixtures("small_files")
def test_the_reference_cohort_has_the_same_report_on_a_cluster(cluster, tmp_path):
    write(tmp_path / "files", saito_like(), SEED_2008)
    assert derived(cluster, tmp_path / "files", tmp_path / "spark.json") == report_here(str(tmp_path / "files"))


@pytest.mark.usefixtures("small_files")
def test_a_file_of_another_protocol_is_named_by_a_cluster_too(cluster, tmp_path):
    write(tmp_path / "files", demonstration(), MYOSITIS_2026)
    write(tmp_path / "other", demonstration(), SEED_2008)
    shutil.copy(tmp_path / "other" / name_of(0), tmp_path / "files" / name_of(0))
    process = cluster.derive(str(tmp_path / "files"), tmp_path / "x.json")
    errors = process.communicate(timeout=500)[1]
    assert process.returncode == 1, errors[-3000:]
    assert errors.splitlines()[-1].startswith(f"Nothing was done: {name_of(0)} belongs to another export")
    assert "Traceback" not in errors
    assert not (tmp_path / "x.json").exists()


def test_a_skewed_study_whose_executor_is_killed_has_the_same_report(cluster, tmp_path, monkeypatch):
    """Half of the patients are in one file. The executor is killed by its number while it derives."""
    monkeypatch.setattr(cohort_batches, "PERSONS", 50)
    monkeypatch.setattr(cohort_batches, "_MOST", 50)
    monkeypatch.setattr(study_files, "BATCHES_IN_A_FILE", 1)
    write(tmp_path / "files", study_of(models(), 1_500), SEED_2008)
    _join_half(tmp_path / "files")
    whole = report_here(str(tmp_path / "files"))

    (tmp_path / "log").mkdir()
    process = cluster.derive(
        str(tmp_path / "files"),
        tmp_path / "killed.json",
        "spark.sql.files.maxPartitionBytes=200k",
        "spark.sql.files.openCostInBytes=100k",
        "spark.eventLog.enabled=true",
        f"spark.eventLog.dir=file://{tmp_path / 'log'}",
        "spark.eventLog.compress=false",
        "spark.eventLog.rolling.enabled=false",
    )
    os.kill(_one_that_derives(cluster, process), signal.SIGKILL)
    errors = process.communicate(timeout=500)[1]
    assert process.returncode == 0, errors[-3000:]
    assert (tmp_path / "killed.json").read_bytes() == whole
    events = [json.loads(line) for file in (tmp_path / "log").iterdir() for line in file.read_text().splitlines()]
    reasons = [each["Task End Reason"]["Reason"] for each in events if each["Event"] == "SparkListenerTaskEnd"]
    assert "ExecutorLostFailure" in reasons, "the executor had nothing to do when it was killed"
    assert reasons.count("Success") > 10


def _join_half(folder):
    """The first half of the files becomes one."""
    import pyarrow as arrow
    from pyarrow import parquet

    parts = sorted(folder.glob("*.parquet"))
    half = parts[: len(parts) // 2]
    parquet.write_table(arrow.concat_tables([parquet.read_table(part) for part in half]), folder / "half.parquet")
    for part in half:
        part.unlink()


def _one_that_derives(cluster, process):
    """An executor that has started a Python process."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        assert process.poll() is None, "it was finished before"
        for executor in cluster.executors():
            daemons = module.children(executor)
            if any(module.children(daemon) for daemon in daemons):
                return executor
        time.sleep(0.02)
    raise AssertionError("no executor derives")
