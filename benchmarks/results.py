"""What was measured as a table, a picture and a line of the history."""

import json
import math
import os
import platform
import re
import sqlite3
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app import __version__
from benchmarks.pairs import Loaded, Row
from benchmarks.programs import ENVIRONMENT
from tests.bench.loopback import ROOT

OURS = ("fastapi", "uvicorn", "pydantic", "sqlalchemy", "numpy", "scipy")
WORSE = 0.8
"""A ratio that is less than this part of the one before is printed as worse."""


def machine() -> dict[str, Any]:
    """The processor, and how many there are: ratios of different machines are not compared."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {"processor": model, "processors": os.cpu_count()}


def versions() -> dict[str, str]:
    """What took part: our side and, if they are installed, the peers that their requirements name."""
    ours = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version} | {n: version(n) for n in OURS}
    interpreter = ENVIRONMENT / "bin" / "python"
    if not interpreter.exists():
        return ours
    wanted = re.findall(r"^[\w-]+", (Path(__file__).parent / "requirements.in").read_text(), re.MULTILINE)
    program = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    told = subprocess.run([interpreter, "-c", program, *wanted], capture_output=True, text=True, check=True)
    return ours | dict(zip(wanted, told.stdout.split(), strict=True))


def page(rows: Sequence[Row], loads: Sequence[Loaded], pairs: int) -> str:
    """The results in Markdown."""
    told = machine()
    took_part = ", ".join(f"{name} {number}" for name, number in versions().items())
    lines = [
        "# MyoResponse beside others",
        "",
        "Written by `make peers`; [README.md](README.md) says what each side does. A ratio is how many times as fast",
        f"MyoResponse is, in time and in processor time: the median of {pairs} pairs in one run, the sides taken in",
        "turn, with the least and the greatest in brackets. Below 1 the other side is faster.",
        "",
        f"{told['processor']}, {told['processors']} processors. {took_part}.",
        "",
        "![How many times as fast](results.svg)",
        "",
        "| work | against | times as fast | of processor time | asked |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {row.work} | {row.peer} | {_cell(row, 'seconds')} | {_cell(row, 'cpu')} | {_asked(row)} |"
            for row in rows
        ),
        "",
        "| clients under load | at once | requests/s | p50 | p99 | processor time of the server for a request |",
        "| --- | --- | --- | --- | --- | --- |",
        *map(_load, loads),
        "",
    ]
    return "\n".join(lines)


def _cell(row: Row, by: str) -> str:
    if row.skipped:
        return f"skipped: {row.skipped}"
    found = row.ratios(by)
    return f"{_number(row.ratio(by))} ({_number(min(found))} to {_number(max(found))})" if found else "–"


def _asked(row: Row) -> str:
    if row.asked is None:
        return "–"
    return f"{row.asked:g}" + (" of processor time" if row.by == "cpu" else "")


def _load(load: Loaded) -> str:
    rate, median, slow = (
        load.figure(each) for each in (lambda r: r.per_second, lambda r: r.slowest(0.5), lambda r: r.slowest(0.99))
    )
    costs = [run.cpu for run in load.runs if run.cpu is not None]
    cpu = f"{statistics.median(costs) * 1e3:.2f} ms" if costs else "–"
    return f"| {load.name} | {load.clients} | {rate:,.1f} | {median * 1e3:,.1f} ms | {slow * 1e3:,.1f} ms | {cpu} |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


WIDTH, LEFT, BAR, TOP = 960, 330, 30, 56
"""The picture: its width, where bars begin, the height of a row, and of the head."""
OF_A_NUMBER = 45
"""The width of a number beside a bar, with its distance."""


def picture(rows: Iterable[Row]) -> str:
    """The ratios as bars on a logarithmic axis, as SVG; a tick shows what was asked."""
    shown = [(row, ratio) for row in rows if (ratio := row.ratio(row.by)) is not None]
    height = TOP + BAR * len(shown) + 20
    values = [1.0, *(ratio for _, ratio in shown), *(row.asked for row, _ in shown if row.asked)]
    low, high = (edge(math.log10(pick(values))) for edge, pick in ((math.floor, min), (math.ceil, max)))
    high = max(high, low + 1)

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 60) * (math.log10(value) - low) / (high - low), 1)

    title = "How many times as fast MyoResponse is as each peer"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="13">',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="22" font-size="16">{title}</text>',
        '<text x="10" y="42" fill="#555">Logarithmic; at 1 both are equally fast. A black tick: what was asked.</text>',
    ]
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(f'<path d="M{at} {TOP}V{height - 20}" stroke="{"#555" if power == 0 else "#ddd"}"/>')
        parts.append(f'<text x="{at}" y="{height - 6}" text-anchor="middle" fill="#555">{10.0**power:g}</text>')
    for place, (row, ratio) in enumerate(shown):
        y, begin, end = TOP + BAR * place, *sorted((x(1), x(ratio)))
        colour = "#1b6e8c" if row.asked is None or ratio >= row.asked else "#b3541e"
        parts.append(f'<text x="10" y="{y + 20}">{escape(row.name)}</text>')
        parts.append(f'<rect x="{begin}" y="{y + 7}" width="{round(end - begin, 1)}" height="16" fill="{colour}"/>')
        tick = x(row.asked) if row.asked else end
        beside = tick if end < tick < end + OF_A_NUMBER else end
        parts.append(f'<text x="{beside + 6}" y="{y + 20}">{_number(ratio)}</text>')
        if row.asked:
            parts.append(f'<path d="M{tick} {y + 3}V{y + 27}" stroke="#000" stroke-width="2"/>')
    return "\n".join((*parts, "</svg>", ""))


def entry(rows: Iterable[Row], loads: Iterable[Loaded]) -> dict[str, Any]:
    """This run for the history."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "version": __version__,
        "commit": commit.stdout.strip() or None,
        **machine(),
        "versions": versions(),
        "ratios": {row.name: round(ratio, 4) for row in rows if (ratio := row.ratio(row.by)) is not None},
        "p50_p99_ms": {
            load.name: [round(load.figure(lambda run, s=share: run.slowest(s)) * 1e3, 2) for share in (0.5, 0.99)]
            for load in loads
        },
    }


def read_history(file: Path) -> list[dict[str, Any]]:
    """The runs before, the oldest first."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def worse(now: dict[str, Any], history: Sequence[dict[str, Any]]) -> list[str]:
    """The ratios that are more than 20 % less than in the last run on such a machine, or that there is none."""
    same = [each for each in history if all(each[name] == now[name] for name in ("processor", "processors"))]
    if not same:
        return ["No run on such a machine is in the history: nothing to compare with."]
    before = same[-1]
    when = f"{before['version']} ({before['commit']}, {before['date']})"
    pairs = [(name, old, now["ratios"].get(name)) for name, old in before["ratios"].items()]
    return [
        f"WORSE: {name}: {_number(old)} in {when}, now {_number(new)}"
        for name, old, new in pairs
        if new is not None and new < WORSE * old
    ] or [f"No ratio is more than 20 % worse than in {when}."]
