"""Bearer tokens: what is accepted, and that no forged one is."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from app.access.callers import Scope
from app.access.key_sets import (
    AGAIN_SECONDS,
    FIRST_SECONDS,
    MOST_BYTES,
    STALE_SECONDS,
    KeySet,
    NoKeySet,
    by_discovery,
    from_file,
    is_fetched,
    verifying_keys,
)
from app.access.tokens import LONGEST_NAME, Tokens
from app.errors import Busy
from app.settings import Settings

ISSUER, AUDIENCE = "https://login.hospital.example/realms/myo", "myoresponse"
RSA = rsa.generate_private_key(65537, 2048)
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
ATTACKER = rsa.generate_private_key(65537, 2048)
ATTACKER_P256 = ec.generate_private_key(ec.SECP256R1())
SIGNING = {"rsa": RSA, "p256": P256, "p384": P384, "ed": EDWARDS}
USES = {"rsa": "RS256", "p256": "ES256", "p384": "ES384", "ed": "EdDSA"}


def jwk(key: Any, name: str | None, **more: Any) -> dict[str, Any]:
    kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    writer = next((each for type_, each in kind.items() if isinstance(key, type_)), OKPAlgorithm)
    return writer.to_jwk(key.public_key(), as_dict=True) | ({} if name is None else {"kid": name}) | more


JWKS = {"keys": [jwk(key, name) for name, key in SIGNING.items()]}


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    stated = {"iss": ISSUER, "aud": AUDIENCE, "sub": "elab", "iat": now, "exp": now + 300} | more
    return {
        name: value
        for name, value in ({"scope": "read ingest", "studies": "trial"} | stated).items()
        if value is not None
    }


def token(name: str = "rsa", alg: str | None = None, head: dict[str, Any] | None = None, **more: Any) -> str:
    headers = {"kid": name} | (head or {})
    return jwt.encode(claims(**more), SIGNING[name], alg or USES[name], headers)


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(head: dict[str, Any], body: Any = None, signature: bytes = b"") -> str:
    return ".".join(
        (b64(json.dumps(head).encode()), b64(json.dumps(claims() if body is None else body).encode()), b64(signature))
    )


def with_shared_secret(secret: bytes, head: dict[str, Any]) -> str:
    """A token whose signature is an HMAC; PyJWT itself refuses to make some of these."""
    signed = unsigned(head).rpartition(".")[0]
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def key_set(document: Any = JWKS) -> KeySet:
    return KeySet(lambda: json.dumps(document).encode())


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(ISSUER, AUDIENCE, "scope", "studies", key_set())


@pytest.mark.parametrize(
    ("name", "alg"),
    [("rsa", "RS256"), ("rsa", "RS384"), ("rsa", "PS256"), ("rsa", "PS384"), ("rsa", "PS512"), ("p256", "ES256"),
     ("p384", "ES384"), ("ed", "EdDSA")],
)  # fmt: skip
def test_a_token_of_each_allowed_algorithm_is_accepted(tokens, name, alg):
    caller = tokens.caller(token(name, alg))
    assert caller.name == "token:login.hospital.example/realms/myo#elab"
    assert caller.scopes == {Scope.READ, Scope.INGEST}
    assert caller.studies == {"trial"}


def forged() -> dict[str, Callable[[], str]]:
    """Forged and faulty tokens, each with its name."""
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    now = int(time.time())
    good = token()
    head, body, signature = good.split(".")
    other_body = b64(json.dumps(claims(scope="admin")).encode())
    es = token("p256").split(".")

    def by_attacker(**headers: Any) -> str:
        return jwt.encode(claims(), ATTACKER, "RS256", {"kid": "rsa"} | headers)

    return {
        "alg none": lambda: unsigned({"alg": "none", "typ": "JWT", "kid": "rsa"}),
        "alg None": lambda: unsigned({"alg": "None", "kid": "rsa"}),
        "alg nOnE with a signature": lambda: unsigned({"alg": "nOnE", "kid": "rsa"}, signature=b"x" * 256),
        "no alg": lambda: unsigned({"typ": "JWT", "kid": "rsa"}, signature=b"x"),
        "alg a number": lambda: unsigned({"alg": 256, "kid": "rsa"}, signature=b"x"),
        "alg a list": lambda: unsigned({"alg": ["RS256"], "kid": "rsa"}, signature=b"x"),
        "HS256 with the public key as PEM": lambda: with_shared_secret(pem, {"alg": "HS256", "kid": "rsa"}),
        "HS256 with the public key as DER": lambda: with_shared_secret(der, {"alg": "HS256", "kid": "rsa"}),
        "HS256 with an empty secret": lambda: with_shared_secret(b"", {"alg": "HS256", "kid": "rsa"}),
        "HS256 with the modulus": lambda: with_shared_secret(
            JWKS["keys"][0]["n"].encode(), {"alg": "HS256", "kid": "rsa"}
        ),
        "RS512, which is not allowed": lambda: token(alg="RS512"),
        "ES256 that says RS256": lambda: ".".join((head, *es[1:])),
        "a key of another curve": lambda: jwt.encode(claims(), P384, "ES384", {"kid": "p256"}),
        "an elliptic key under the name of an RSA key": lambda: jwt.encode(claims(), P256, "ES256", {"kid": "rsa"}),
        "the key of somebody else": by_attacker,
        "the elliptic key of somebody else": lambda: jwt.encode(claims(), ATTACKER_P256, "ES256", {"kid": "p256"}),
        "an unknown kid": lambda: by_attacker(kid="mine"),
        "no kid": lambda: jwt.encode(claims(), RSA, "RS256"),
        "a kid that is a path": lambda: by_attacker(kid="../../../dev/null"),
        "a kid that is SQL": lambda: by_attacker(kid="' UNION SELECT 'x"),
        "a kid that is a list": lambda: unsigned({"alg": "RS256", "kid": ["rsa"]}, signature=b"x"),
        "its own key in jwk": lambda: by_attacker(jwk=jwk(ATTACKER, "rsa")),
        "its own key in jku": lambda: by_attacker(jku="https://evil.example/jwks.json"),
        "its own key in x5u": lambda: by_attacker(x5u="https://evil.example/x.pem"),
        "its own key in x5c": lambda: by_attacker(x5c=["MIIB"]),
        "a critical extension": lambda: jwt.encode(claims(), RSA, "RS256", {"kid": "rsa", "crit": ["exp2"], "exp2": 1}),
        "another type of token": lambda: token(head={"typ": "logout+jwt"}),
        "another issuer": lambda: token(iss="https://evil.example"),
        "the issuer with a slash": lambda: token(iss=ISSUER + "/"),
        "no issuer": lambda: token(iss=None),
        "another audience": lambda: token(aud="other"),
        "an audience that contains ours": lambda: token(aud="myoresponse-test"),
        "no audience": lambda: token(aud=None),
        "an empty list of audiences": lambda: token(aud=[]),
        "no expiry": lambda: token(exp=None),
        "expired 61 seconds ago": lambda: token(exp=now - 62),
        "expired long ago": lambda: token(exp=1),
        "not yet valid": lambda: token(nbf=now + 3_600),
        "made in the future": lambda: token(iat=now + 3_600),
        "an expiry that is a text": lambda: token(exp="never"),
        "no subject": lambda: token(sub=None),
        "an empty subject": lambda: token(sub=""),
        "a subject that is a number": lambda: unsigned_by_rsa({**claims(), "sub": 7}),
        "another body under the signature": lambda: ".".join((head, other_body, signature)),
        "no signature": lambda: f"{head}.{body}.",
        "a signature cut short": lambda: good[:-4],
        "a signature of zeros": lambda: f"{head}.{body}.{b64(bytes(256))}",
        "an elliptic signature of zeros": lambda: f"{es[0]}.{es[1]}.{b64(bytes(64))}",
        "four parts": lambda: good + ".x",
        "an encrypted token": lambda: f"{head}.{body}.{signature}.x.y",
        "a body that is no object": lambda: unsigned({"alg": "RS256", "kid": "rsa"}, ["x"], b"x"),
        "a character that base64 ignores": lambda: f"{head}.{body}.{signature}=",
        "a line break": lambda: good + "\n",
        "longer than is read": lambda: token(more="x" * 20_000),
    }


def unsigned_by_rsa(body: dict[str, Any]) -> str:
    """A token with claims that PyJWT refuses to write, with a good signature."""
    return jwt.api_jws.encode(json.dumps(body).encode(), RSA, "RS256", {"kid": "rsa"})


def test_of_all_forged_and_faulty_tokens_none_is_accepted(tokens):
    made = {name: make() for name, make in forged().items()}
    assert len(made) >= 40
    assert [name for name, text in made.items() if tokens.caller(text) is not None] == []
    assert tokens.caller(token()) is not None, "the control"


def test_the_clocks_may_differ_by_a_minute(tokens):
    now = int(time.time())
    assert tokens.caller(token(exp=now - 50)) is not None
    assert tokens.caller(token(nbf=now + 50, iat=now + 50)) is not None


def test_a_key_address_in_a_good_token_is_not_read(tokens):
    assert tokens.caller(token(head={"jku": "http://127.0.0.1:1/x", "jwk": jwk(ATTACKER, "rsa")})) is not None


@pytest.mark.parametrize(
    ("given", "scopes", "studies"),
    [
        ({"scope": ["admin", "analyse", 7, "superuser"]}, {Scope.ADMIN, Scope.ANALYSE}, {"trial"}),
        ({"scope": None}, set(), {"trial"}),
        ({"scope": {"admin": True}}, set(), {"trial"}),
        ({"scope": "READ readpatients read,ingest"}, set(), {"trial"}),
        ({"studies": None}, {Scope.READ, Scope.INGEST}, set()),
        ({"studies": ["a", "b"]}, {Scope.READ, Scope.INGEST}, {"a", "b"}),
        ({"studies": True}, {Scope.READ, Scope.INGEST}, set()),
        ({"studies": "*"}, {Scope.READ, Scope.INGEST}, None),
        ({"studies": "a*"}, {Scope.READ, Scope.INGEST}, {"a*"}),
    ],
)
def test_what_a_token_does_not_say_it_does_not_allow(tokens, given, scopes, studies):
    caller = tokens.caller(token(**given))
    assert (caller.scopes, caller.studies) == (scopes, studies)


@pytest.mark.parametrize("subject", ["x" * 500, "mad\nname", "a b", "\ud7ff\u202e", "名"])
def test_an_odd_subject_is_named_by_its_digest(tokens, subject):
    name = tokens.caller(token(sub=subject)).name
    assert "#sha256:" in name
    assert len(name) <= LONGEST_NAME
    assert name.isascii()
    assert name.isprintable()
    assert name != tokens.caller(token(sub=subject + "x")).name


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"},
        jwk(RSA, "x", use="enc"),
        jwk(RSA, "x", key_ops=["sign"]),
        jwk(RSA, "x", alg="RS512"),
        jwk(RSA, "x", alg="HS256"),
        jwk(RSA, "x", alg="ES256"),
        jwk(rsa.generate_private_key(65537, 1024), "x"),  # noqa: S505 - is refused
        jwk(RSA, "x", kid=7),
        jwk(P256, "x", crv="P-521"),
        jwk(RSA, "x", n="!!!"),
        {"kty": "RSA"},
        {},
        "text",
    ],
)  # fmt: skip
def test_an_unusable_entry_of_a_key_set_is_left_out(entry):
    with pytest.raises(NoKeySet):
        verifying_keys(json.dumps({"keys": [entry]}).encode())
    assert list(verifying_keys(json.dumps({"keys": [entry, jwk(RSA, "good")]}).encode())) == ["good"]


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b"{}", b'{"keys": {}}', b"[" * 100_000, b" " * (MOST_BYTES + 1)])
def test_what_is_no_key_set_is_none(text):
    with pytest.raises(NoKeySet):
        verifying_keys(text)


def test_a_key_with_its_algorithm_verifies_only_that_one():
    tokens = Tokens(ISSUER, AUDIENCE, "scope", "studies", key_set({"keys": [jwk(RSA, "rsa", alg="PS256")]}))
    assert tokens.caller(token(alg="PS256")) is not None
    assert tokens.caller(token(alg="RS256")) is None


def test_a_token_without_a_key_identifier_is_verified_only_if_there_is_one_key():
    tokens = Tokens(ISSUER, AUDIENCE, "scope", "studies", key_set({"keys": [jwk(RSA, None)]}))
    assert tokens.caller(jwt.encode(claims(), RSA, "RS256")) is not None
    assert tokens.caller(jwt.encode(claims(), ATTACKER, "RS256")) is None


class Provider:
    """What a key set is loaded from, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now, self.loads, self.document = 1_000.0, 0, JWKS
        self.keys = KeySet(self.load, lambda: self.now)

    def load(self) -> bytes:
        self.loads += 1
        if self.document is None:
            raise NoKeySet("down")
        return json.dumps(self.document).encode()


def test_an_unknown_key_is_looked_for_once_a_minute_at_most():
    provider = Provider()
    assert provider.keys.key("rsa") is not None
    for _ in range(50):
        assert provider.keys.key("unknown") is None
    assert provider.loads == 1, "the keys were loaded a moment ago"
    provider.now += AGAIN_SECONDS
    for _ in range(50):
        assert provider.keys.key("unknown") is None
    assert provider.loads == 2
    provider.document = {"keys": [*JWKS["keys"], jwk(ATTACKER, "new")]}
    provider.now += AGAIN_SECONDS
    assert provider.keys.key("new") is not None


def test_a_withdrawn_key_ends_after_ten_minutes():
    provider = Provider()
    provider.keys.key("rsa")
    provider.document = {"keys": JWKS["keys"][1:]}
    provider.now += STALE_SECONDS
    assert provider.keys.key("rsa") is not None
    provider.now += 1
    assert provider.keys.key("rsa") is None


def test_while_the_provider_is_down_known_keys_stay_and_unknown_ones_are_refused():
    provider = Provider()
    provider.keys.key("rsa")
    provider.document = None
    provider.now += 10 * STALE_SECONDS
    assert provider.keys.key("rsa") is not None
    assert provider.keys.key("unknown") is None
    assert provider.loads == 2


def test_without_any_key_the_answer_is_that_nobody_can_say():
    provider = Provider()
    provider.document = None
    for _ in range(20):
        with pytest.raises(Busy, match="identity provider cannot be reached"):
            provider.keys.key("rsa")
    assert provider.loads == 1
    provider.document = JWKS
    provider.now += FIRST_SECONDS
    assert provider.keys.key("rsa") is not None


def test_many_threads_load_the_keys_once():
    loads = []

    def slowly() -> bytes:
        loads.append(1)
        time.sleep(0.1)
        return json.dumps(JWKS).encode()

    keys, found = KeySet(slowly), []
    threads = [threading.Thread(target=lambda: found.append(keys.key("rsa"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(loads), len(found), None in found) == (1, 8, False)


@pytest.fixture
def provider():
    """An identity provider on this machine; `answers` has what it says at each address."""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"
    about = {"issuer": base, "jwks_uri": f"{base}/keys"}
    answers["/.well-known/openid-configuration"] = (200, {}, json.dumps(about).encode())
    answers["/keys"] = (200, {}, json.dumps(JWKS).encode())
    yield base, answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_keys_are_found_by_discovery(provider):
    base, _ = provider
    assert set(verifying_keys(by_discovery(base)())) == set(SIGNING)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", (200, {}, b'{"issuer": "https://evil.example"}')),
        ("/.well-known/openid-configuration", (200, {}, b"x")),
        ("/.well-known/openid-configuration", (404, {}, b"")),
        ("/.well-known/openid-configuration", (302, {"Location": "/keys"}, b"")),
        ("/keys", (500, {}, b"")),
        ("/keys", (302, {"Location": "https://evil.example/keys"}, b"")),
        ("/keys", (200, {}, b" " * (MOST_BYTES + 1))),
    ],
)
def test_a_provider_that_misbehaves_gives_no_keys(provider, path, answer):
    base, answers = provider
    answers[path] = answer
    with pytest.raises(NoKeySet):
        verifying_keys(by_discovery(base)())


@pytest.mark.parametrize(
    "address", ["http://evil.example/keys", "file:///etc/passwd", "ftp://127.0.0.1/", "None", "https://"]
)
def test_keys_are_fetched_by_https_or_from_this_machine_only(provider, address):
    base, answers = provider
    about = {"issuer": base, "jwks_uri": address}
    answers["/.well-known/openid-configuration"] = (200, {}, json.dumps(about).encode())
    assert not is_fetched(address)
    with pytest.raises(NoKeySet, match="neither HTTPS"):
        by_discovery(base)()


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path):
    file = tmp_path / "jwks.json"
    with pytest.raises(NoKeySet):
        from_file(file)()
    file.write_text(json.dumps(JWKS))
    assert len(verifying_keys(from_file(file)())) == 4


@pytest.mark.parametrize(
    "settings",
    [
        {"token_issuer": "https://x.example"},
        {"token_audience": "x"},
        {"token_issuer": "http://x.example", "token_audience": "x"},
        {"token_issuer": "https://x.example/?y", "token_audience": "x"},
        {"token_keys_file": "x"},
    ],
)
def test_half_of_the_settings_of_tokens_are_refused(settings):
    with pytest.raises(ValueError, match=r"TOKEN|issuer"):
        Settings(**settings)


def test_over_http_a_good_token_is_served_and_every_forged_one_gets_the_same_answer(start, url, tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    service = start(url, token_issuer=ISSUER, token_audience=AUDIENCE, token_keys_file=str(file))
    service.client().put("/v1/studies/trial", json={"name": "T", "protocol": "seed-2008"})
    good = service.with_key(token())
    assert good.get("/v1/studies/trial").status_code == 200
    assert good.get("/v1/studies/other").status_code == 404
    assert good.get("/v1/studies/trial/patients").status_code == 403
    assert [each["id"] for each in good.get("/v1/studies").json()["items"]] == ["trial"]
    answers = set()
    for name, make in forged().items():
        text = make()
        if text.isprintable() and len(text) < 20_000:
            answer = service.with_key(text).get("/v1/studies/trial")
            assert answer.status_code == 401, name
            answers.add((answer.text.replace(answer.json()["instance"], ""), answer.headers["www-authenticate"]))
    assert len(answers) == 1


def test_while_no_key_of_the_provider_is_known_a_token_is_answered_503_and_a_key_works(start, url, tmp_path):
    file = tmp_path / "jwks.json"
    service = start(url, token_issuer=ISSUER, token_audience=AUDIENCE, token_keys_file=str(file))
    answer = service.with_key(token()).get("/v1/studies")
    assert answer.status_code == 503
    assert "identity provider" in answer.json()["detail"]
    assert "retry-after" in answer.headers
    assert service.client().get("/v1/studies").status_code == 200
    assert service.stranger.get("/livez").status_code == 200
