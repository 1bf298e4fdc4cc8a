"""The settings of the service, read once from the environment."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.secret_file import beside, secret_path

PREFIX = "MYORESPONSE_"
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:_-]+")
SHORTEST_SECRET = 32
"""Least number of characters of a secret: a shorter one could be guessed by trying."""
_ISSUER = re.compile(r"https://[^\s/?#]+[^\s?#]*|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/[^\s?#]*)?")
_RATE = re.compile(r"[1-9]\d{0,6}/(second|minute|hour)")
_SUBJECT = re.compile(r"[^,=]+=[A-Za-z0-9.\-]+")
_TYPE = re.compile(r"[A-Z][A-Z0-9]{2}\^[A-Z][A-Z0-9]{2}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")


class Settings(BaseSettings):
    """The settings of one process; each is the environment variable `MYORESPONSE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    database_url: str = Field(
        default="sqlite:///myoresponse.db",
        description="SQLAlchemy URL of the database: `sqlite:///file.db` or `postgresql+psycopg://user@host/name`.",
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen on. Beyond loopback, every request needs a key or a token."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Number of processes that serve.")
    allow_unauthenticated: bool = Field(
        default=False,
        description="`true`: nobody is asked for a key, on any address. Only for a network in front of which a proxy "
        "decides who may call.",
    )
    require_keys: bool = Field(
        default=False,
        description="`true`: programs on this machine are asked for a key, too. Needed behind a proxy on this machine "
        "that adds no X-Forwarded-For.",
    )
    token_issuer: str = Field(
        default="",
        description="Issuer (`iss`) of the bearer tokens that are accepted: an OpenID Connect provider, by HTTPS. "
        "Empty: no tokens.",
    )
    token_audience: str = Field(default="", description="What `aud` of such a token must name; needed with an issuer.")
    token_keys_file: Path | None = Field(
        default=None, description="JWKS file with the keys of the issuer, instead of discovery over the network."
    )
    token_scopes_claim: str = Field(
        default="scope", min_length=1, description="Claim with the scopes: a text with spaces, or a list."
    )
    token_studies_claim: str = Field(
        default="studies", min_length=1, description="Claim with the studies, in the same form; `*` is all of them."
    )
    rate: str = Field(
        default="600/minute",
        description="How many requests a client with a key or token, or an address without one, may send: "
        "`600/minute`, `20/second`. Empty: any number. Local use without a key has no limit.",
    )
    share_rates: bool = Field(
        default=False,
        description="`true`: several services behind one address count together, through their database. The processes "
        "of one service always do.",
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names other than loopback that a request may name, comma separated.",
    )
    cors_origins: str = Field(
        default="",
        description="Origins of browser applications that may call the service, comma separated; no wildcard.",
    )
    root_path: str = Field(
        default="", description="Path prefix that a reverse proxy strips, for example `/myoresponse`."
    )
    log: Literal["text", "json"] = Field(
        default="text", description="How lines of the log are written: `text`, or `json` for a program that reads them."
    )
    max_body_bytes: int = Field(default=16_000_000, ge=1_000, description="Largest request body that is read.")
    max_bodies: int = Field(
        default=16, ge=1, description="Most requests with a body that are worked on at a time; more are refused (503)."
    )
    max_bytes_in_flight: int = Field(
        default=64_000_000, ge=1_000, description="Most bytes of bodies in memory; more are refused (503)."
    )
    max_stream_bytes: int = Field(
        default=10_000_000_000,
        ge=1_000,
        description="Largest body of lines that is stored while it arrives; each line may have `max_body_bytes`.",
    )
    max_rejected_lines: int = Field(
        default=10_000, ge=1, description="Number of rejected lines after which a body of lines is not read further."
    )
    max_spool_bytes: int = Field(
        default=100_000_000,
        ge=1_000,
        description="Most bytes of outcomes of one body of lines, or of one file, that wait on the disk until the "
        "client reads them.",
    )
    body_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Longest wait for the next part of a request body, and for a client that does not read its answer.",
    )
    reading_seconds: float = Field(
        default=20.0, gt=0, description="Most processor time in which one request body, or one group of lines, is read."
    )
    head_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Longest time in which the head of a request must arrive."
    )
    idle_timeout_seconds: int = Field(
        default=5, ge=1, description="Time without a request after which a connection is closed."
    )
    connections: int = Field(default=400, ge=1, description="Greatest number of connections of a process at a time.")
    live_connections: int = Field(
        default=200, ge=0, description="Greatest number of connections of a process that follow a study; 0: none."
    )
    live_connections_of_client: int = Field(
        default=10,
        ge=1,
        description="How many of them one client with a key or token, or one address without, may have. Local use "
        "without a key has no limit.",
    )
    secret_file: Path | None = Field(
        default=None,
        description="File with the secret of this service, from which the keys of ledger, audit, cursors and sessions "
        "are made. Default: beside the SQLite file, with PostgreSQL `myoresponse.secret`. Back it up separately.",
    )
    heads_file: Path | None = Field(
        default=None,
        description="File in which the service notes how far each ledger has come, so that a cut end is noticed. "
        "Default: beside the secret file's default, with the ending `.heads`. Best on another disk.",
    )
    segments: str = Field(
        default="",
        description="Folder for copies of the columns that analyses read, so that a question reads only what changed; "
        "it contains patients' data. Default: beside the SQLite file, with the ending `.segments`; with PostgreSQL "
        "none. `off`: none.",
    )
    cursor_key: str = Field(
        default="",
        description="Secret that signs the cursors of lists. Empty: it is made from the secret file.",
        repr=False,
    )
    pseudonym_secret: str = Field(
        default="",
        description="Secret by which identifiers of feeds become pseudonyms, at least 32 characters. It is kept "
        "outside the database: without it no person can be found again. Back it up separately from the data.",
        repr=False,
    )
    pseudonym_secret_file: Path | None = Field(
        default=None,
        description="File with this secret, for example a mounted one; used instead of the setting above.",
    )
    cache_answers: int = Field(
        default=256, ge=0, description="How many answers are kept in memory for unchanged questions."
    )
    cache_bytes: int = Field(default=64_000_000, ge=0, description="How many bytes these answers have together.")
    compute_workers: int = Field(
        default=min(2, os.cpu_count() or 1) if hasattr(os, "fork") else 0,
        ge=0,
        le=64,
        description="Processes that compute answers; 0: threads of the service, which cannot be stopped.",
    )
    compute_seconds: float = Field(
        default=60.0, gt=0, description="Seconds of a processor after which the computing of an answer is stopped."
    )
    cohort_bytes: int = Field(
        default=200_000_000,
        ge=0,
        description="Bytes of patients' data that each of these processes keeps for the next question.",
    )
    idempotency_hours: float = Field(
        default=24.0,
        gt=0,
        le=720,
        description="How long the answer to a request with an `Idempotency-Key` is kept.",
    )
    mllp_study: str = Field(default="", description="Study that messages over MLLP go to, unless `--study` names one.")
    mllp_host: str = Field(
        default="127.0.0.1",
        description="Address that `mllp` listens on; loopback unless MYORESPONSE_MLLP_SENDERS or _CLIENT_CA is set.",
    )
    mllp_port: int = Field(default=2575, ge=0, le=65535, description="Port that `mllp` listens on, unless `--port`.")
    mllp_certificate: Path | None = Field(
        default=None, description="PEM file with our certificate and its chain; with it MLLP accepts TLS only."
    )
    mllp_key: Path | None = Field(
        default=None, description="PEM file with the key of this certificate, without a password."
    )
    mllp_client_ca: Path | None = Field(
        default=None,
        description="PEM file with the authority that signs senders' certificates; with it each sender needs one.",
    )
    mllp_senders: str = Field(
        default="", description="Networks that may send, comma separated: `10.20.0.0/16,192.0.2.7`. Empty: any."
    )
    mllp_subjects: str = Field(
        default="",
        description="Subjects of senders' certificates (common name or DNS name), each with the study that it may send "
        "to, comma separated: `elab.example=ward7,rlab.example=ward7`. Empty: any certificate, any study.",
    )
    mllp_max_bytes: int = Field(default=1_000_000, ge=1_000, description="Largest message over MLLP.")
    mllp_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Longest time from the first byte of a message over MLLP to its last."
    )
    mllp_idle_seconds: float = Field(
        default=900.0, gt=0, description="Time without data after which a connection over MLLP is closed."
    )
    mllp_connections: int = Field(default=32, ge=1, description="Greatest number of connections over MLLP at a time.")
    mllp_not_ours: str = Field(
        default="",
        description="Types of messages that `mllp` acknowledges (AA) and does not read, comma separated: "
        "`ADT^A08,ADT^A01,ORM^O01`. Empty: each type that is not read is refused.",
    )
    dead_letters: Path = Field(
        default=Path("dead-letters"),
        description="Directory of the messages over MLLP that were refused. They are encrypted. All processes of a "
        "service use the same directory, so that an erasure finds the letters of a person.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins_must_be_exact(cls, listed: str) -> str:
        if not all(_ORIGIN.fullmatch(origin) for origin in _names(listed)):
            raise ValueError(
                "each origin is written as https://host or https://host:port, without a path or a wildcard"
            )
        return listed

    @field_validator("root_path")
    @classmethod
    def _prefix_must_be_a_path(cls, prefix: str) -> str:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError("a prefix begins with a slash and does not end with one, as in /myoresponse")
        return prefix

    @field_validator("mllp_senders")
    @classmethod
    def _senders_must_be_networks(cls, listed: str) -> str:
        try:
            _networks(listed)
        except ValueError:
            raise ValueError("each network is written as 10.20.0.0/16, without host bits, or as an address") from None
        return listed

    @field_validator("mllp_not_ours")
    @classmethod
    def _types_must_have_an_event(cls, listed: str) -> str:
        if not all(_TYPE.fullmatch(each) for each in _names(listed)):
            raise ValueError("each type is written with its event, as in ADT^A08")
        return listed

    @field_validator("mllp_subjects")
    @classmethod
    def _subjects_must_have_a_study(cls, listed: str) -> str:
        if not all(_SUBJECT.fullmatch(each) for each in _names(listed)):
            raise ValueError("each subject is written with its study, as in elab.example=ward7")
        return listed

    @model_validator(mode="after")
    def _a_certificate_with_its_key(self) -> Self:
        if (self.mllp_certificate is None) != (self.mllp_key is None):
            raise ValueError("MYORESPONSE_MLLP_CERTIFICATE and MYORESPONSE_MLLP_KEY must be set together")
        if self.mllp_client_ca is not None and self.mllp_certificate is None:
            raise ValueError("MYORESPONSE_MLLP_CLIENT_CA needs MYORESPONSE_MLLP_CERTIFICATE")
        if self.mllp_subjects and self.mllp_client_ca is None:
            raise ValueError("MYORESPONSE_MLLP_SUBJECTS needs MYORESPONSE_MLLP_CLIENT_CA")
        return self

    @field_validator("token_issuer")
    @classmethod
    def _issuer_must_be_https(cls, issuer: str) -> str:
        if issuer and not _ISSUER.fullmatch(issuer):
            raise ValueError("an issuer is written as https://host/path, exactly as its tokens have it")
        return issuer

    @field_validator("rate")
    @classmethod
    def _rate_must_be_a_number_in_a_time(cls, rate: str) -> str:
        if rate and not _RATE.fullmatch(rate):
            raise ValueError("a rate is written as 600/minute; the times are second, minute and hour")
        return rate

    @model_validator(mode="after")
    def _an_issuer_with_its_audience(self) -> Self:
        if bool(self.token_issuer) != bool(self.token_audience):
            raise ValueError("MYORESPONSE_TOKEN_ISSUER and MYORESPONSE_TOKEN_AUDIENCE must be set together")
        if self.token_keys_file is not None and not self.token_issuer:
            raise ValueError("MYORESPONSE_TOKEN_KEYS_FILE needs MYORESPONSE_TOKEN_ISSUER")
        return self

    @model_validator(mode="after")
    def _keys_are_asked_or_not(self) -> Self:
        if self.allow_unauthenticated and self.require_keys:
            raise ValueError("MYORESPONSE_ALLOW_UNAUTHENTICATED and MYORESPONSE_REQUIRE_KEYS must not be set together")
        return self

    @model_validator(mode="after")
    def _one_secret_that_cannot_be_guessed(self) -> Self:
        if self.pseudonym_secret and self.pseudonym_secret_file is not None:
            raise ValueError(
                "MYORESPONSE_PSEUDONYM_SECRET and MYORESPONSE_PSEUDONYM_SECRET_FILE must not be set together"
            )
        secret = self.secret
        if secret is not None and len(secret) < SHORTEST_SECRET:
            raise ValueError(f"the pseudonym secret must have at least {SHORTEST_SECRET} characters")
        return self

    @cached_property
    def secret(self) -> str | None:
        """The secret of the pseudonyms, if there is one."""
        if self.pseudonym_secret_file is None:
            return self.pseudonym_secret or None
        try:
            return self.pseudonym_secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError):
            raise ValueError("the file of the pseudonym secret cannot be read") from None

    @cached_property
    def secret_path(self) -> Path:
        """Where the secret file of this service is."""
        return secret_path(self.database_url, self.secret_file)

    @cached_property
    def heads_path(self) -> Path:
        """Where the heads of the ledger are noted."""
        return self.heads_file or beside(self.database_url, "heads")

    @cached_property
    def segments_path(self) -> Path | None:
        """The folder of the columns of studies, if there is one."""
        if self.segments:
            return None if self.segments == "off" else Path(self.segments)
        return beside(self.database_url, "segments") if self.database_url.startswith("sqlite") else None

    @cached_property
    def listens_on_loopback(self) -> bool:
        """Whether `host` is an address that only this machine can reach."""
        return is_loopback(self.host)

    @cached_property
    def asks_for_keys(self) -> bool:
        """Whether no request at the address of the settings is served without a key."""
        return not self.allow_unauthenticated and (self.require_keys or not self.listens_on_loopback)

    @cached_property
    def shares_rates(self) -> bool:
        """Whether several processes serve clients at one address, so that they must count together."""
        return self.share_rates or self.workers > 1

    @cached_property
    def mllp_listens_on_loopback(self) -> bool:
        """Whether `mllp_host` is an address that only this machine can reach."""
        return is_loopback(self.mllp_host)

    @cached_property
    def sender_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks that may send over MLLP; if there are none, any network may."""
        return _networks(self.mllp_senders)

    @cached_property
    def types_not_ours(self) -> frozenset[tuple[str, str]]:
        """The types and events of messages over MLLP that are acknowledged and not read."""
        return frozenset(
            (kind, event) for kind, _, event in (each.partition("^") for each in _names(self.mllp_not_ours))
        )

    @cached_property
    def sender_subjects(self) -> frozenset[tuple[str, str]]:
        """The names of subjects of certificates, each with a study that it may send to."""
        pairs = (each.rpartition("=") for each in _names(self.mllp_subjects))
        return frozenset((name, study) for name, _, study in pairs)

    @cached_property
    def host_names(self) -> frozenset[str]:
        """The host names that a request may carry in its Host header."""
        return frozenset({"127.0.0.1", "localhost", "[::1]", *_names(self.allowed_hosts)})

    @cached_property
    def public_names(self) -> frozenset[str]:
        """The declared host names, by which the service is reached from other machines."""
        return frozenset(name.lower() for name in _names(self.allowed_hosts))

    @cached_property
    def origins(self) -> tuple[str, ...]:
        """The origins of browser applications that may call the service."""
        return _names(self.cors_origins)


_OF_KUBERNETES = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable with our prefix that is no setting, with the setting of the nearest name.

    Variables that Kubernetes sets for each of its services are left out: the name of a service may begin as ours.
    """
    in_cluster = "KUBERNETES_SERVICE_HOST" in environment
    known = [name.upper() for name in Settings.model_fields]
    given = sorted(name.upper().removeprefix(PREFIX) for name in environment if name.upper().startswith(PREFIX))
    return [
        f"{PREFIX}{name}: there is no such setting"
        + "".join(f", the nearest name is {PREFIX}{near}" for near in get_close_matches(name, known, n=1, cutoff=0.5))
        for name in given
        if name not in known and not (in_cluster and _OF_KUBERNETES.fullmatch(name))
    ]


@lru_cache(maxsize=1_024)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address or a name."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _networks(listed: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(name) for name in _names(listed))


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())
