"""The commands of the tutorial and of the pages for each user do what the pages say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.test_server import ROOT, environment, running, with_demo
from tests.tables import with_tables

DOCS = ROOT / "docs"
PAGES = ("tutorial", "curl", "ehr-integration", "front-end", "statistics", "operator")
NOT_RUN = ("make ", "python -m app serve", "python -m app migrate")
"""The service that the tests start stands for these."""
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SAVED = re.compile(r"Save this as `([\w.]+)`:\n\n```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A service with the demonstration study, and the variables of its programs."""
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('served') / 'x.db'}")
    with_demo(url)
    with running(url) as service:
        bin = Path(sys.executable).parent
        variables = environment(url) | {"PYTHONPATH": str(ROOT), "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
        yield service.port, variables


def commands(block):
    """The commands of a block, each with the lines that it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def follows(printed, output):
    """Whether the lines follow each other in the output; `...` stands for any lines, and for the end of a line."""
    given = iter(output.splitlines())
    for line in printed.rstrip("\n").splitlines():
        wanted = line.strip()
        if wanted == "...":
            continue
        start = wanted.removesuffix("...")
        if not any(each.strip() == wanted or (start != wanted and each.strip().startswith(start)) for each in given):
            return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_print_what_it_says(served, tmp_path, page):
    port, variables = served
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8").replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    for name, content in _SAVED.findall(text):
        (tmp_path / name).write_text(content.replace("\n", "\r") if name.endswith(".hl7") else content)
    ran = 0
    quietly = {"capture_output": True, "text": True, "cwd": tmp_path, "env": variables, "timeout": 120}
    for kind, block in _BLOCK.findall(text):
        steps = [([sys.executable, "-c", block], "")] if kind == "python" else []
        if kind == "console":
            steps = [(["bash", "-c", command], printed) for command, printed in commands(block)]
        for step, printed in steps:
            if step[-1].startswith(NOT_RUN):
                continue
            done = subprocess.run(step, check=False, **quietly)
            assert done.returncode == 0, (step[-1], done.stderr)
            refused = '"type": "/problems/' in done.stdout and '"type": "/problems/' not in printed
            assert not refused, (step[-1], done.stdout)
            assert follows(printed, done.stdout), (step[-1], printed, done.stdout)
            ran += 1
    assert ran >= 2


def test_lines_that_are_not_printed_in_this_order_are_seen():
    assert follows("a\n...\nc\n", "a\nb\nc\n")
    assert not follows("c\na\n", "a\nb\nc\n")
    assert not follows("a\nd\n", "a\nb\nc\n")
    assert follows("ab...\n", "abc\n")
