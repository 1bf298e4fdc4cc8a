"""A service that a test uses over HTTP and by the command line."""

import json
from pathlib import Path

from typer.testing import CliRunner

from app.__main__ import cli

CK = {"code": "CK", "time": "2005-03-16T09:48:00+09:00", "value": 1101, "unit": "U/L", "upper_limit": 163}


class Place:
    """A service that a test uses over HTTP and by the command line."""

    def __init__(self, client, url: str, folder: Path) -> None:
        self.client, self.url, self.folder = client, url, folder
        self.study("trial")

    def study(self, name: str, **more: object) -> None:
        """Make a study whose identifiers are pseudonyms."""
        document = {"name": "T", "protocol": "seed-2008", "identifiers": "pseudonyms", **more}
        assert self.client.put(f"/v1/studies/{name}", json=document).status_code in {200, 201}

    def run(self, *command: object, **settings: str):
        """Run a command: its exit code, output and errors."""
        variables = {f"MYORESPONSE_{name}": value for name, value in settings.items()}
        return CliRunner().invoke(
            cli, [str(part) for part in command], env={"MYORESPONSE_DATABASE_URL": self.url, **variables}
        )

    def write(self, name: str, content: bytes | str | list[object]) -> Path:
        """A file with bytes, with text, or with one document on each line."""
        if isinstance(content, list):
            content = "".join(json.dumps(document) + "\n" for document in content)
        file = self.folder / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def digest(self, study: str) -> str:
        """The digest of the data that analyses read."""
        answer = self.client.get(f"/v1/studies/{study}/analyses/ck-change")
        assert answer.status_code == 200, answer.text
        return answer.json()["provenance"]["data"]

    def read(self, study: str) -> dict[str, dict]:
        """All timelines of a study."""
        page = self.client.get(f"/v1/studies/{study}/patients?limit=500").json()["items"]
        ids = [item["patient"]["id"] for item in page]
        return {name: self.client.get(f"/v1/studies/{study}/patients/{name}").json() for name in ids}


def timeline(patient: str, *labs: dict, **more: object) -> dict:
    return {"patient": {"id": patient}, "labs": list(labs), **more}
