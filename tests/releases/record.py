"""Record a release: `python -m tests.releases.record` writes its database and its answers to `tests/data`.

Run it once a release, with the code of that release, and commit both files; they are never written again.
"""

import json
import lzma
import re
import tempfile
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from app import __version__
from app.main import create_app
from app.settings import Settings
from app.store import migrations
from tests.releases.questions import addresses
from tests.releases.studies import fill

DATA = Path(__file__).parents[1] / "data"
SECRET = "x" * 32
_SOFTWARE = re.compile(r"myoresponse \d+\.\d+\.\d+[a-z0-9.]*")
_INSTANCE = re.compile(r"urn:uuid:[0-9a-f-]{36}")


def serve(file: Path) -> TestClient:
    """The application on a database file, with the secrets of the record."""
    settings = Settings(database_url=f"sqlite:///{file}", pseudonym_secret=SECRET, cursor_key=SECRET)
    return TestClient(create_app(settings), base_url="http://127.0.0.1:8000")


def answer(client: TestClient, address: str) -> dict[str, Any]:
    """What is compared of an answer: status, media type and body; of a problem not its words, which may improve."""
    given = client.get(address)
    media_type = given.headers.get("content-type", "")
    if media_type.startswith("application/problem+json"):
        problem = given.json()
        faults = [(fault["pointer"], fault["code"]) for fault in problem.get("errors", [])]
        body: Any = {"type": problem["type"], "errors": faults}
    elif given.status_code >= 400 and "fhir" in media_type:
        issues = given.json()["issue"]
        body = [{name: issue.get(name) for name in ("severity", "code", "expression")} for issue in issues]
    else:
        body = _SOFTWARE.sub("myoresponse", _INSTANCE.sub("urn:uuid", given.text))
    return json.loads(json.dumps({"status": given.status_code, "type": media_type, "body": body}))


def record() -> None:
    """Make the studies, ask the questions, write both files."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "release.db"
        migrations.upgrade(f"sqlite:///{file}")
        with serve(file) as client:
            fill(client)
            answers = {address: answer(client, address) for address in addresses(client)}
        text = json.dumps(answers, indent=0, ensure_ascii=False)
        (DATA / f"{__version__}.db.xz").write_bytes(lzma.compress(file.read_bytes()))
        (DATA / f"{__version__}.answers.json.xz").write_bytes(lzma.compress(text.encode()))
    print(f"{len(answers)} answers of {__version__}")


if __name__ == "__main__":
    record()
