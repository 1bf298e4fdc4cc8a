"""`python -m tests.container`: build the image where that is possible, start the service from it, and ask it.

buildah builds in a chroot, from a base that debootstrap makes, so that neither a daemon nor a registry is needed. The
service then runs from the root of the image as its own user: the root is read-only but for /data and /tmp, and the
network is a new one that nobody else reaches. Where something is missing, one line says that nothing was built.
"""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = ("buildah", "debootstrap", "unshare", "chroot", "mount")
CERTIFICATES = Path("/etc/ssl/certs")
"""The authorities that this machine trusts; a proxy of its network may be one of them."""
SECONDS = 60


class NoBase(Exception):
    """The packages of the base cannot be fetched here."""


def missing() -> str | None:
    """Why the image cannot be built here."""
    if os.geteuid() != 0:
        return "only root may make its base"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"there is no {', '.join(absent)}" if absent else None


def main() -> int:
    """Build, check what the image declares, start it."""
    if why := missing():
        print(f"container: SKIPPED, {why}")
        return 0
    work = Path(tempfile.mkdtemp(prefix="myoresponse-image-"))
    try:
        root, declared = build(work)
        print(f"container: built, {size_of(root):,} bytes", flush=True)
        check(declared)
        data = work / "data"
        data.mkdir(mode=0o700)
        os.chown(data, 10_001, 10_001)
        plan = {"root": str(root), "data": str(data), **declared}
        inside = [sys.executable, "-m", "tests.container", json.dumps(plan)]
        subprocess.run(["unshare", "--mount", "--net", *inside], cwd=ROOT, check=True)
    except NoBase:
        print("container: SKIPPED, the packages of its base cannot be fetched")
        return 0
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("container: 1 passed, 0 failed")
    return 0


def build(work: Path) -> tuple[Path, dict]:
    """The root of the built image, and what the image declares."""
    base, store = work / "base", ["--root", work / "store", "--runroot", work / "run", "--storage-driver", "vfs"]

    def buildah(*arguments: object) -> str:
        command = [str(each) for each in ("buildah", *store, *arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"buildah {arguments[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout.strip()

    log = work / "debootstrap.log"
    with log.open("w") as output:
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", base]
        if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode:
            raise NoBase
    empty = buildah("from", "scratch")
    buildah("add", "--quiet", empty, base, "/")
    buildah("commit", "--quiet", "--rm", empty, "localhost/base")
    shutil.rmtree(base)
    settings = ["[global]", f"cert = {CERTIFICATES}-of-host/ca-certificates.crt"]
    if index := os.environ.get("PIP_INDEX_URL"):
        settings.append(f"index-url = {index}")
    (work / "pip.conf").write_text("\n".join(settings) + "\n")
    buildah(
        "build", "--isolation", "chroot", "--pull-never", "--format", "docker", "--build-arg", "BASE=localhost/base",
        "--volume", f"{CERTIFICATES}:{CERTIFICATES}-of-host:ro", "--volume", f"{work / 'pip.conf'}:/etc/pip.conf:ro",
        "--tag", "myoresponse", ROOT,
    )  # fmt: skip
    container = buildah("from", "--pull-never", "localhost/myoresponse")
    declared = json.loads(buildah("inspect", "--type", "image", "localhost/myoresponse"))["Docker"]["config"]
    kept = {name.lower(): declared[name] for name in ("User", "Env", "Cmd", "Volumes", "WorkingDir", "Healthcheck")}
    return Path(buildah("mount", container)), kept


def check(declared: dict) -> None:
    """Compare what the image declares with what is promised."""
    assert declared["user"] == "10001:10001", declared
    assert declared["volumes"] == {"/data": {}}, declared
    assert declared["healthcheck"]["Test"][0] == "CMD", declared
    secrets = [name for name in declared["env"] if "SECRET" in name or "PASSWORD" in name or "UNAUTHENTICATED" in name]
    assert secrets == [], secrets


def size_of(root: Path) -> int:
    """The bytes of all files below a directory."""
    return sum(path.lstat().st_size for path in root.rglob("*") if not path.is_symlink())


def start(plan: dict) -> None:
    """Run in namespaces of its own: start the service as it is shipped, ask it, stop it."""
    root = Path(plan["root"])
    loopback_up()
    mounts = [
        ["--make-rprivate", "/"],
        ["--bind", root, root],
        ["-o", "remount,bind,ro", root],
        ["--bind", plan["data"], root / "data"],
        ["-t", "tmpfs", "tmpfs", root / "tmp"],
        ["-t", "proc", "proc", root / "proc"],
        ["--bind", "/dev", root / "dev"],
    ]
    for arguments in mounts:
        subprocess.run(["mount", *arguments], check=True)

    def command(*arguments: str) -> list[str]:
        enter = ["chroot", f"--userspec={plan['user']}", "--groups=", str(root), "/usr/bin/env", "-i", *plan["env"]]
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', plan["workingdir"], *arguments]

    service = subprocess.Popen(command(*plan["cmd"]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until = time.monotonic() + SECONDS
        while subprocess.run(command(*plan["healthcheck"]["Test"][1:]), capture_output=True, check=False).returncode:
            assert service.poll() is None, service.stdout.read()
            assert time.monotonic() < until, "the health check fails"
            time.sleep(0.5)
        ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/readyz').read().decode())"
        ready = subprocess.run(command("python", "-c", ask), capture_output=True, text=True, check=True).stdout
        assert json.loads(ready)["status"] == "ready", ready
        for path in ("/srv/myoresponse/app/x", "/opt/venv/x", "/etc/x", "/x"):
            assert subprocess.run(command("touch", path), capture_output=True, check=False).returncode, path
        for arguments in (["demo"], ["report", "demo", "-o", "/tmp/report.pdf"]):  # with the Pango of the image
            subprocess.run(command("python", "-m", "app", *arguments), stdout=subprocess.DEVNULL, check=True)
        written = sorted(path.name for path in Path(plan["data"]).iterdir())
        assert "myoresponse.db" in written, written
    finally:
        service.send_signal(signal.SIGTERM)
        output = service.communicate(timeout=60)[0]
    events = [json.loads(line)["event"] for line in output.splitlines() if line.startswith("{")]
    assert events[0] == "start", output
    assert events[-1] == "stop", output
    assert service.returncode in {0, -signal.SIGTERM}, service.returncode
    print(f"container: ready as user {plan['user']}, root read-only, written below /data: {', '.join(written)}")


def loopback_up() -> None:
    """Switch on the loopback device of a new network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x1))  # SIOCSIFFLAGS, IFF_UP


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the builder
        start(json.loads(sys.argv[1]))
    else:
        sys.exit(main())
