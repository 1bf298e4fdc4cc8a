"""Two HL7 clients of other people send to a listener, unmodified: `mllp_send` of Python's hl7, and node-hl7-client."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store.timelines import document
from tests.clients.conftest import DIRECT
from tests.hl7v2.test_mllp_command import Place, Process

pytestmark = pytest.mark.slow

SEND_BY_NODE = """
import { Client, Message } from "node-hl7-client"
import { readFileSync } from "node:fs"

const [port, ...files] = process.argv.slice(2)
const client = new Client({ host: "127.0.0.1" })
const waiting = []
const connection = client.createConnection({ port: Number(port) }, (answer) => {
  const acknowledgement = answer.getMessage()
  console.log(["MSA.1", "MSA.2", "ERR.5"].map((path) => acknowledgement.get(path).toString()).join(" "))
  waiting.shift()()
})
for (const file of files) {
  const answered = new Promise((resolve) => waiting.push(resolve))
  await connection.sendMessage(new Message({ text: readFileSync(file, "utf8") }))
  await answered
}
await connection.close()
process.exit(0)
"""


def oru(control: str, unit: str = "U/L", version: str = "2.5.1") -> str:
    """An ORU^R01 with one CK."""
    return (
        f"MSH|^~\\&|LIS|LAB|MYO|WARD|20050316100000+0900||ORU^R01^ORU_R01|{control}|P|{version}\r"
        "PID|1||P01^^^HOSP||SECRETNAME^JANE||19530102|F\r"
        f"OBR|1||{control}^LAB|24336-0^CK^LN|||20050316094800+0900\r"
        f"OBX|1|NM|2157-6^CK^LN||1101|{unit}|0-163|H|||F|||20050316094800+0900\r"
    )


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[int, Place]]:
    """The port of a listener for the study `ward7`, and its database."""
    place = Place(tmp_path)
    process = Process(("-m", "app", "mllp", "--port", "0"), place.variables())
    yield process.port, place
    process.close()


def stored(place: Place) -> list[str]:
    """The numbers of the stored results."""
    with place.database() as database, database.reading() as connection:
        return [lab["id"] for lab in document(connection, "ward7", "P01")["labs"]]


def test_mllp_send_sends_a_file_of_messages(listener, tmp_path):
    port, place = listener
    (tmp_path / "messages.hl7").write_bytes("".join([oru("M1"), oru("M2", "furlong"), oru("M3")]).encode())
    command = [Path(sys.executable).with_name("mllp_send"), "--loose", "--file", "messages.hl7"]
    sent = subprocess.run(
        [*command, "--port", str(port), "127.0.0.1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (sent.returncode, sent.stderr) == (0, "")
    assert re.findall(r"MSA\|(A[AER]\|M\d)", sent.stdout) == ["AA|M1", "AE|M2", "AA|M3"]
    assert stored(place) == ["M1", "M3"]


def test_node_hl7_client_sends_messages_and_reads_their_acknowledgements(listener, packages, tmp_path):
    port, place = listener
    (packages / "send.mjs").write_text(SEND_BY_NODE)
    files = []
    for control, unit, version in (("M1", "U/L", "2.5.1"), ("M2", "furlong", "2.5.1"), ("M3", "U/L", "2.8")):
        files.append(tmp_path / f"{control}.hl7")
        files[-1].write_bytes(oru(control, unit, version).encode())
    sent = subprocess.run(
        ["node", packages / "send.mjs", str(port), *files],
        env=DIRECT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout.splitlines() == ["AA M1 new_patient", "AE M2 unknown_unit", "AA M3 counts"]
    assert stored(place) == ["M1", "M3"]
    assert (
        json.loads((packages / "node_modules" / "node-hl7-client" / "package.json").read_text())["version"] == "3.2.0"
    )
