"""Forged and faulty tokens (no algorithm, a public key as a shared secret, keys in the head, the key of somebody else,
wrong issuers, audiences and times, cut and mixed parts) are sent to the service over HTTP beside good ones of each
allowed algorithm. All refusals must be the same but for the name of the occurrence.
"""

import json
import re
import tempfile
from pathlib import Path

from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.access.test_tokens import AUDIENCE, ISSUER, JWKS, forged, token
from tests.tables import with_tables
from tests.trust.figures import Figure

BASE = "http://127.0.0.1:8000"
GOOD = [("rsa", each) for each in ("RS256", "RS384", "PS256", "PS384", "PS512")] + [
    ("p256", "ES256"), ("p384", "ES384"), ("ed", "EdDSA"),
]  # fmt: skip
_INSTANCE = re.compile(r"urn:uuid:[0-9a-f-]{36}")


def run(full: bool) -> list[Figure]:
    """Send them all; there are few enough."""
    del full
    with tempfile.TemporaryDirectory() as folder:
        url, keys = f"sqlite:///{folder}/x.db", Path(folder, "jwks.json")
        keys.write_text(json.dumps(JWKS))
        with_tables(url)
        settings = Settings(
            database_url=url, require_keys=True, rate="", token_issuer=ISSUER, token_audience=AUDIENCE,
            token_keys_file=keys,
        )  # fmt: skip
        with TestClient(create_app(settings), base_url=BASE, client=("127.0.0.1", 5000)) as client:
            made = {name: make() for name, make in forged().items()}
            sent = {name: text for name, text in made.items() if text.isprintable() and len(text) < 20_000}
            answers = {
                name: client.get("/v1/studies", headers={"Authorization": f"Bearer {text}"})
                for name, text in sent.items()
            }
            good = [
                client.get("/v1/studies", headers={"Authorization": f"Bearer {token(name, alg)}"}).status_code
                for name, alg in GOOD
            ]
    accepted = [name for name, answer in answers.items() if answer.status_code != 401]
    texts = {_INSTANCE.sub("", answer.text) for answer in answers.values()}
    assert accepted == []
    assert good == [200] * len(GOOD)
    assert len(texts) == 1
    return [
        Figure("P19", "forged and faulty tokens sent", f"{len(answers)}"),
        Figure("P19", "of these accepted", f"{len(accepted)}"),
        Figure("P19", "different bodies of the refusals", f"{len(texts)}"),
        Figure("P19", "good tokens of the allowed algorithms accepted", f"{good.count(200)} of {len(GOOD)}"),
    ]
