"""Write every code of the answers down for readers: `python -m tests.spec.codes` renders docs/codes.md."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from app.analyses import QUESTIONS
from app.analyses.answer import CAVEATS
from app.derive.reasons import ExclusionReason, FlagCode
from app.errors import SENTENCES
from app.http.problems import KINDS
from app.timeline.receipts import DISPOSITIONS, NOT_KEPT, NOTES
from app.timeline.vocabulary import INSTRUMENTS, Instrument

TARGET = Path(__file__).parents[2] / "docs" / "codes.md"

INTRODUCTION = """\
# Codes

Every code that an answer may hold, with its sentence. A program may rely on a code; the sentence may improve. The page
is rendered from the code of the service (`make docs`). The words in the sentences are explained in the
[glossary](glossary.md), the rules in the [definitions](definitions.md).
"""


def rendering() -> str:
    """The whole page."""
    return "\n".join([
        INTRODUCTION,
        *_section("Questions", ((name, question.title) for name, question in QUESTIONS.items())),
        *_section("Reasons for leaving a patient out", ((code, code.description) for code in ExclusionReason)),
        *_section("Flags", ((code, code.description) for code in FlagCode)),
        *_section("Caveats", CAVEATS.items()),
        *_section("Assessments", ((each.code, _meaning(each)) for each in INSTRUMENTS.values())),
        *_section("Problems", ((slug, f"{kind.title()} ({kind.status}).") for slug, kind in KINDS.items())),
        *_section("Dispositions of a fact that was sent", DISPOSITIONS.items()),
        *_section("Notes about a fact that is kept", NOTES.items()),
        *_section("Reasons why a statement does not count", NOT_KEPT.items()),
        *_section("Faults", ((code, sentence) for code, sentence in SENTENCES.items())),
    ])  # fmt: skip


def _section(title: str, codes: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from (f"## {title}", "", "| code | meaning |", "| --- | --- |")
    yield from (f"| `{code}` | {' '.join(sentence.split())} |" for code, sentence in codes)
    yield ""


def _meaning(instrument: Instrument) -> str:
    if instrument.maximum is None:
        return f"{instrument.name}."
    return f"{instrument.name}; 0 to {instrument.maximum:g}, {instrument.better} is better."


if __name__ == "__main__":
    TARGET.write_text(rendering(), encoding="utf-8")
