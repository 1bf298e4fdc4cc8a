"""Derives the files of a study on Spark: the same functions on every machine, mapped over batches of whole patients.

The rows of the files become Arrow batches (`mapInArrow`); each batch becomes a part of the study (`derive.parts`), and
the driver gets the parts. A task that fails is repeated by Spark, and gives the same part. What is wrong with the files
comes back as a sentence, so that it is named as by any other reader.

The extra `spark` installs PySpark, which only this module imports. The machines of the cluster need this package in the
same version. They import this module, so it imports nothing of the store and nothing of HTTP.
"""

import os
import pickle
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from app import SOFTWARE
from app.bulk.study_files import Checks, DerivedBatch, StudyFiles, UnusableStudyFiles, checked, schema
from app.derive.parts import PartsRead, part_of
from app.timeline import cohort_batches
from app.timeline.cohort_batches import Batch

SETTINGS = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(cohort_batches.PERSONS),
    "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
    "spark.driver.maxResultSize": "0",
    "spark.ui.showConsoleProgress": "false",
}
"""What is set unless the caller sets it. The parts of a study are larger than what a driver accepts by default."""
SECONDS_TO_CONNECT = 5.0
_RESULT = "problem string, part binary"


_MISSING = re.compile(r"No module named '([\w.]+)'")
_CODE = re.compile(r"\[([A-Z][A-Z_.]+)\]|: ((?:[a-z]+\.)+[A-Z]\w+(?:Exception|Error))\b")


class NoEngine(Exception):
    """Spark is not there, or failed. The text says what is missing."""


@dataclass(frozen=True, slots=True)
class Deriving:
    """What a machine of the cluster does with its batches."""

    checks: Checks
    wanted: PartsRead
    versions: tuple[str, ...]

    def __call__(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """A row for each batch: a problem, or the part with its digests and the number of patients of each file."""
        import pyarrow as arrow

        for batch in batches:
            if batch.num_rows:
                problem, part = self._derived(batch)
                yield arrow.record_batch({"problem": [problem], "part": [part]}, schema=arrow.schema(
                    [("problem", arrow.string()), ("part", arrow.binary())]))  # fmt: skip

    def _derived(self, batch: Batch) -> tuple[str | None, bytes | None]:
        if (own := versions()) != self.versions:
            return f"the cluster has {', '.join(own)} instead of {', '.join(self.versions)}", None
        try:
            counts, cohort = checked(batch, self.checks)
        except UnusableStudyFiles as unusable:
            return str(unusable), None
        part = part_of(cohort, self.wanted)
        return None, pickle.dumps((counts, cohort.digests, part), protocol=5)


def versions() -> tuple[str, ...]:
    """What must be equal everywhere, so that every part is derived alike."""
    return SOFTWARE, f"numpy {np.__version__}", f"columns {cohort_batches.meaning()[:8]}"


def derived_parts(
    place: str, master: str | None, settings: Mapping[str, str], files: StudyFiles, wanted: PartsRead
) -> Iterator[DerivedBatch]:
    """What was derived of each batch, in any order. Raises `NoEngine` and `UnusableStudyFiles`."""
    require_engine(master)
    deriving = Deriving(Checks(files.export, files.zoned), wanted, versions())
    url = place if "://" in place else f"file://{os.path.abspath(place)}"
    for problem, content in _mapped(url, deriving, master, settings):
        if problem is not None:
            raise UnusableStudyFiles(problem)
        yield pickle.loads(content)  # noqa: S301 - of `Deriving`, by Spark, whose own rows come so


def require_engine(master: str | None) -> None:
    """Raise `NoEngine` if PySpark or Java is missing, or if nobody answers at the address of a standalone master."""
    if find_spec("pyspark") is None:
        raise NoEngine("Spark needs PySpark, which is not installed: pip install 'myoresponse[spark]'")
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=None if home is None else f"{home}/bin") is None:
        raise NoEngine("Spark needs Java 17 or 21, and there is no java on the PATH or in JAVA_HOME")
    if master is not None and master.startswith("spark://"):
        addresses = master.removeprefix("spark://").split(",")
        if not any(map(_answers, addresses)):
            raise NoEngine(f"no Spark master answers at {master}")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), SECONDS_TO_CONNECT):
            return True
    except (OSError, ValueError):
        return False


def _mapped(
    url: str, deriving: Deriving, master: str | None, settings: Mapping[str, str]
) -> Iterator[tuple[str | None, bytes]]:
    """The rows that the cluster gives."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("myoresponse derive")
    for name, value in {**SETTINGS, **settings}.items():
        builder = builder.config(name, value)
    try:
        session = (builder if master is None else builder.master(master)).getOrCreate()
        try:
            session.sparkContext.setLogLevel("OFF")
            rows = session.read.schema(ddl()).parquet(url).mapInArrow(deriving, _RESULT).collect()
        finally:
            session.stop()
    except (Py4JError, PySparkException, OSError) as error:
        raise NoEngine(f"Spark failed: {_cause(error)}") from None
    yield from ((row["problem"], row["part"]) for row in rows)


def _cause(error: Exception) -> str:
    """What an error of Spark is about. Its text may be long and may hold values of a batch, so only words that cannot
    do so are taken from it.
    """
    if missing := _MISSING.search(str(error)):
        return f"the Python of the cluster has no package {missing[1]}"
    code = _CODE.search(str(error))
    return type(error).__name__ if code is None else code[1] or code[2]


def ddl() -> str:
    """The columns of the files in the words of Spark, so that none is guessed from one of the files."""
    return ", ".join(f"`{field.name}` {_type(field.type)}" for field in schema())


def _type(kind: Any) -> str:  # noqa: ANN401 - a type of pyarrow
    from pyarrow import types

    if types.is_dictionary(kind):
        return _type(kind.value_type)
    if types.is_list(kind):
        return f"array<{_type(kind.value_type)}>"
    if types.is_struct(kind):
        return f"struct<{', '.join(f'`{field.name}`: {_type(field.type)}' for field in kind)}>"
    if types.is_map(kind):
        return f"map<{_type(kind.key_type)}, {_type(kind.item_type)}>"
    if types.is_fixed_size_binary(kind):
        return "binary"
    return {"int8": "tinyint", "int32": "int", "int64": "bigint", "bool": "boolean"}.get(str(kind), str(kind))
