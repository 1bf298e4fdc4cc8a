"""The R script of a question: it reads the datasets of a revision and prints the figures of the answer.

A script has the common part (`r_code/begin.R`) and that of its question. `@NAME@` stands for what the study, its
protocol or the request declares.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from app import SOFTWARE
from app.analyses import QUESTIONS, SCRIPTED, Options
from app.analyses.weekly_change import scales_of
from app.datasets.parameters import LOG_CK, PARAMETERS
from app.errors import Accepts, Fault, FaultCode, InvalidDocument
from app.protocol.conventions import Conventions
from app.protocol.improvement import TABLE, ImprovementScore, judged_weeks
from app.protocol.model import Protocol

_CODE = Path(__file__).with_name("r_code")
_GROUPED = "ck-normal-groups"
_GROUPS = {"diagnosis": "DIAG", "sex": "SEX"}


def r_script(name: str, study: str, revision: int, protocol: Protocol, options: Options) -> bytes:
    """The script of a question. Raises `InvalidDocument` for a question, an option or a convention without one."""
    _check(name, protocol, options)
    declared = {
        "TITLE": QUESTIONS[name].title,
        "STUDY": study,
        "REVISION": str(revision),
        "PROTOCOL": protocol.digest,
        "SOFTWARE": SOFTWARE,
        "LEVEL": repr(options.level),
        **_declared(name, protocol, options),
    }
    text = "\n".join((_CODE / part).read_text(encoding="utf-8") for part in ("begin.R", f"{name}.R"))
    for word, value in declared.items():
        text = text.replace(f"@{word}@", value)
    return text.encode()


def _check(name: str, protocol: Protocol, options: Options) -> None:
    if name not in SCRIPTED:
        raise _refusal("code", "This question has no R script.", tuple(SCRIPTED))
    if name == "improvement-score" and protocol.improvement_score is None:
        raise _refusal("code", "The protocol does not declare this definition.", tuple(SCRIPTED))
    if name == _GROUPED and options.by not in _GROUPS:
        raise _refusal("by", "The script of this question needs subgroups.", tuple(_GROUPS))
    takes = SCRIPTED[name]
    if others := sorted(option for option in options.model_fields_set if option not in takes):
        detail = f"The R script takes only {' and '.join(sorted(takes))}."
        raise InvalidDocument(faults=[Fault(f"/query/{each}", FaultCode.CONTRADICTION, detail) for each in others])
    usual = Conventions()
    unlike = [each for each in Conventions.model_fields if getattr(protocol.conventions, each) != getattr(usual, each)]
    if unlike:
        detail = f"The protocol declares other conventions than the script has: {', '.join(unlike)}."
        raise _refusal("code", detail, tuple(SCRIPTED))


def _refusal(place: str, detail: str, known: Sequence[str]) -> InvalidDocument:
    accepts = Accepts(one_of=tuple(known))
    return InvalidDocument(faults=[Fault(f"/query/{place}", FaultCode.CONTRADICTION, detail, accepts)])


def _declared(name: str, protocol: Protocol, options: Options) -> dict[str, str]:
    """What the scripts need of the protocol and the options, as R."""
    weekly, ck_change = protocol.weekly_change, protocol.ck_change
    rows = [(measure, scale) for measure in weekly.measures for scale in scales_of(measure)]
    declared = {
        "RULES": str(len(protocol.responses)),
        "BEFORE_WEEK": str(ck_change.before_week),
        "AFTER_WEEK": str(ck_change.after_week),
        "GROUP": _GROUPS[options.by or "diagnosis"],
        "MEASURES": _words([measure for measure, _ in rows]),
        "SCALES": _words([scale for _, scale in rows]),
        "PARAMETERS": _words([LOG_CK.code if scale == "ln" else PARAMETERS[measure].code for measure, scale in rows]),
        "COLUMNS": _words([f"{PARAMETERS[measure].code}BL" for measure, _ in rows]),
        "WEEKS": _numbers(weekly.weeks),
    }
    score = protocol.improvement_score
    return declared | _score(protocol, score) if name == "improvement-score" and score is not None else declared


def _score(protocol: Protocol, declared: ImprovementScore) -> dict[str, str]:
    core_set = declared.core_set
    codes: dict[str, str] = {name: getattr(core_set, name) for name in TABLE if name != "enzyme"}
    scales = {name: protocol.scale(code) for name, code in codes.items()}
    spans = {name: scale.maximum - scale.minimum for name, scale in scales.items()}
    higher = ["TRUE" if name in scales and scales[name].better == "higher" else "FALSE" for name in TABLE]
    return {
        "MEASURES": _words(list(TABLE)),
        "INSTRUMENTS": _words([PARAMETERS[codes[name]].code if name in codes else "" for name in TABLE]),
        "HIGHER": f"c({', '.join(higher)})",
        "SPANS": _numbers([spans.get(name, 0) for name in TABLE]),
        "CUTS": _named({name: _numbers(bands.cuts) for name, bands in TABLE.items()}, "list"),
        "SCORES": _named({name: _numbers(bands.scores) for name, bands in TABLE.items()}, "list"),
        "ENZYMES": _words([PARAMETERS[enzyme].code for enzyme in core_set.enzymes]),
        "MULTIPLES": _numbers([declared.range_of(enzyme).upper_limits for enzyme in core_set.enzymes]),
        "LEVELS": _named({level: str(least) for level, least in declared.thresholds.items()}, "c"),
        "WEEKS": _numbers(judged_weeks(declared, protocol.visits.weeks)),
    }


def _words(words: Sequence[str]) -> str:
    return f"c({', '.join(map(json.dumps, words))})"


def _numbers(numbers: Sequence[float]) -> str:
    return f"c({', '.join(map(repr, numbers))})"


def _named(parts: Mapping[str, str], kind: str) -> str:
    return f"{kind}({', '.join(f'`{name}` = {value}' for name, value in parts.items())})"
