"""The secret file: who may read it, what is refused, and that several processes agree on one."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.secret_file import NoSecretFile, SecretFile, UnusableSecretFile, secret_path
from app.settings import Settings

ROOT = "00" * 31 + "01"


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="ascii")
    path.chmod(mode)
    return path


def test_a_new_file_is_for_its_owner_alone_and_is_read_again_as_the_same(tmp_path):
    made = SecretFile.create(tmp_path / "x.secret")
    assert stat.S_IMODE((tmp_path / "x.secret").stat().st_mode) == 0o600
    assert SecretFile.create(tmp_path / "x.secret") == SecretFile.read(tmp_path / "x.secret") == made
    assert os.listdir(tmp_path) == ["x.secret"]


def test_each_purpose_has_its_key_that_the_root_alone_decides(tmp_path):
    secret = SecretFile.read(written(tmp_path / "x", ROOT))
    # printf 'ledger' | openssl dgst -sha256 -mac HMAC -macopt hexkey:00...01
    assert secret.key("ledger").hex() == "73fd603f6be149a27f42a21e2f5bdeb31f7bee26ef66aa7b27555ce3b1d5ade5"
    keys = {secret.key(purpose) for purpose in ("ledger", "audit", "cursor", "etag", "session", "key-hash")}
    assert len(keys | {secret.fingerprint, secret.root}) == 8
    assert ROOT not in repr(secret)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path, mode):
    path = written(tmp_path / "x", ROOT, mode)
    with pytest.raises(UnusableSecretFile, match="chmod 600"):
        SecretFile.read(path)
    with pytest.raises(UnusableSecretFile, match="chmod 600"):
        SecretFile.create(path)
    assert path.read_text() == ROOT


@pytest.mark.parametrize(
    "text", ["", ROOT[:-1], ROOT + "00", ROOT.replace("1", "g"), ROOT + "\n\n", ROOT.upper() + "A"]
)
def test_a_file_with_other_content_is_refused_and_kept(tmp_path, text):
    path = written(tmp_path / "x", text)
    with pytest.raises(UnusableSecretFile, match="64 hexadecimal digits"):
        SecretFile.create(path)
    assert path.read_text() == text


def test_what_is_no_file_and_what_is_nowhere_is_refused_with_its_reason(tmp_path):
    with pytest.raises(NoSecretFile, match="MYORESPONSE_SECRET_FILE"):
        SecretFile.read(tmp_path / "none")
    with pytest.raises(UnusableSecretFile):
        SecretFile.read(tmp_path)
    with pytest.raises(UnusableSecretFile, match="cannot be made"):
        SecretFile.create(tmp_path / "nowhere" / "x")


def test_many_that_start_at_once_agree_on_one_file(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda _: SecretFile.create(tmp_path / "x").root, range(64)))
    assert len(made) == 1
    assert os.listdir(tmp_path) == ["x"]


def test_without_a_setting_the_file_is_beside_the_database():
    assert Settings(database_url="sqlite:////data/a.db").secret_path == Path("/data/a.db.secret")
    assert Settings(database_url="sqlite+pysqlite:///a.db?timeout=5").secret_path == Path("a.db.secret")
    assert Settings(database_url="postgresql://user@host/name").secret_path == Path("myoresponse.secret")
    assert secret_path("sqlite:///a.db", Path("/run/secrets/root")) == Path("/run/secrets/root")
    assert Settings(secret_file=Path("/run/secrets/root")).secret_path == Path("/run/secrets/root")
