"""A running service to send bad input to: what it answers, and whether it stored anything."""

import json
from typing import Any

from tests.api.test_server import Process
from tests.readers.refusals import CLOSED

CANARY = "canary-7391"
BODY = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}
NUMBER = 7391.25
"""Stand in what is sent; no refusal may repeat them."""


def lab(**more: Any) -> dict[str, Any]:
    """A result of 20 days before treatment."""
    return {"code": "CK", "time": "2005-03-22T09:00:00+09:00", "value": 1000, "unit": "U/L", "upper_limit": 163} | more


def infusion(**more: Any) -> dict[str, Any]:
    """The treatment, on day 0."""
    return {"time": "2005-04-11", "product": "IVIG"} | more


def timeline(patient: str = "P1", **parts: Any) -> dict[str, Any]:
    """A timeline of whatever parts."""
    return {"patient": {"id": patient}} | parts


def labs(*results: dict[str, Any], patient: str = "P1") -> dict[str, Any]:
    """Results in a timeline, one more among them that must not be repeated."""
    return timeline(patient, labs=[*results, lab(time="2004-01-01", value=NUMBER, lab=CANARY)])


def text_of(document: Any) -> bytes:
    """A document as it is sent."""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


class Trial:
    """A study of its own in a running service."""

    def __init__(self, client: Any, study: str) -> None:
        self.client = client
        self.study = study
        self.home = f"/v1/studies/{study}"
        made = client.put(self.home, json={"name": "Trial", "protocol": "seed-2008"})
        assert made.status_code == 201, made.text

    def address(self, path: str) -> str:
        """An address below the study, or one of the service."""
        return path if path.startswith("/") else f"{self.home}/{path}".rstrip("/")

    def stored(self) -> str:
        """All that a refused request could have changed: the studies and the ledger of this one."""
        found = [self.client.get(self.address(path)) for path in ("/v1/studies", "revisions", "patients")]
        assert {each.status_code for each in found} == {200}
        return "".join(each.text for each in found)

    def post(self, document: Any, path: str = "patients/P1/events", method: str = "POST", **headers: str) -> Any:
        """Send a document."""
        return self.client.request(
            method,
            self.address(path),
            content=text_of(document),
            headers=BODY | {k.replace("_", "-"): v for k, v in headers.items()},
        )

    def accepted(self, document: Any, path: str = "patients/P1/events") -> dict[str, Any]:
        """Send a document that must be stored; what became of it."""
        answer = self.post(document, path)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    def read(self, patient: str = "P1") -> dict[str, Any]:
        """The timeline of a patient."""
        answer = self.client.get(f"{self.home}/patients/{patient}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def report(self, *timelines: dict[str, Any], **more: Any) -> dict[str, Any]:
        """All analyses of timelines that are not stored."""
        answer = self.post({"protocol": "seed-2008", "timelines": list(timelines)} | more, "/v1/analyses")
        assert answer.status_code == 200, answer.text
        assert "NaN" not in answer.text
        assert "Infinity" not in answer.text
        return answer.json()

    def analysis(self, name: str, *timelines: dict[str, Any], **more: Any) -> dict[str, Any]:
        """One analysis of timelines that are not stored."""
        return self.report(*timelines, **more)["analyses"][name]

    def digest(self, *timelines: dict[str, Any]) -> str:
        """The digest of the facts that analyses read."""
        return self.report(*timelines)["provenance"]["data"]


def counted(analysis: dict[str, Any], kind: str, code: str) -> int:
    """How often an analysis excluded or flagged something."""
    return sum(each["count"] for each in analysis[kind] if code in {each.get("reason"), each.get("code")})


def lacks_nothing(problem: dict[str, Any]) -> bool:
    """Whether each fault of a place with a closed set, a range or a form says what the place accepts."""
    return all("accepts" in fault for fault in problem.get("errors", ()) if fault["code"] in CLOSED)


def first_line(answer: bytes) -> str:
    """The status line of a raw answer."""
    return answer.partition(b"\r\n")[0].decode()


def head(server: Process, method: str, path: str, *headers: str, host: str | None = None) -> bytes:
    """The head of a request over the wire."""
    host = host or f"127.0.0.1:{server.port}"
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()
