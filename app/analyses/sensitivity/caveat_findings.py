"""Caveat findings: for each caveat, whether it applies to the data, and what was counted.

They are the one source of the question `caveats` and of the caveats in every answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from app.analyses.answer import CAVEATS, Caveat, Context
from app.analyses.response_rates import judges_the_best
from app.analyses.sensitivity.key_results import key_results, last_day, last_week, week_result
from app.analyses.sensitivity.regression_to_the_mean import regression
from app.analyses.undecided_facts import UNDECIDED
from app.derive.ck_normality import ABNORMAL, UNKNOWN, normality
from app.derive.exact_comparison import at_most_zero
from app.derive.intercurrent_events import Event
from app.derive.per_patient import included
from app.derive.reasons import ExclusionReason
from app.derive.study import DerivedStudy
from app.derive.study_by_course import CourseStudy
from app.derive.visits import window
from app.estimate.leave_one_out import influence_on_change
from app.estimate.results import Reason
from app.estimate.summary import summarise
from app.protocol.endpoints import Response
from app.timeline.cohort import Bools
from app.timeline.same_facts import PairKind
from app.timeline.vocabulary import LAB_CODES

EVENTS: tuple[Event, ...] = ("steroid_taper", "steroid_increase", "new_immunosuppressant", "second_course", "death")

SHARE = 0.1
"""Regression to the mean applies as a caveat from this share of the observed change on."""
NEAR = 10
"""A score within so many per cent of the scale from its end is near the end."""
STRENGTH = ("MMT", "MMT8", "MMT8_UNILATERAL", "MMT26")

SENTENCES: dict[str, str] = {
    "uncontrolled_pre_post": "All {of} treated patients are compared with themselves only: what time and other "
    "treatment would have done is in every change.",
    "selection_on_baseline": "In {count} of {of} patients CK at baseline was at least as high as weeks before: who is "
    "treated while a value is up sees it fall without treatment.",
    "selected_high": "In {count} of {of} patients CK at baseline was above its upper limit: where that is everybody, a "
    "high value was how they were found.",
    "regression_to_the_mean": "Regression to the mean is expected to change ln(CK) by {expected} of the observed "
    "{observed}, and by more in a group that was chosen by its baselines.",
    "ceiling_at_baseline": "In {count} of {of} patients the score at baseline was within a tenth of its scale of the "
    "best end, where it can hardly improve.",
    "floor_at_baseline": "In {count} of {of} patients the score at baseline was within a tenth of its scale of the "
    "worst end, where it can hardly get worse.",
    "steroid_taper": "In {count} of {of} patients whose dose is known glucocorticoids were reduced before the last "
    "endpoint, which hides improvement.",
    "steroid_increase": "In {count} of {of} patients whose dose is known glucocorticoids were raised before the last "
    "endpoint, which may be the improvement.",
    "new_immunosuppressant": "In {count} of {of} patients an immunosuppressant was begun before the last endpoint, "
    "which may be the improvement.",
    "second_course": "In {count} of {of} patients a second course was begun before the last endpoint.",
    "death": "Of {of} patients {count} died before the last endpoint: their later values do not exist.",
    "short_follow_up": "Follow-up of {count} of {of} patients ended before the window of the last week compared.",
    "ck_response_without_strength": "In {count} of {of} patients CK responded and muscle strength did not.",
    "strength_response_without_ck": "In {count} of {of} patients muscle strength responded and CK did not.",
    "missing_data": "Of {of} planned values {count} are missing.",
    "few_pairs": "At the last week compared {count} of {of} differences are not zero, so that no exact "
    "signed-rank p below {least_p} is possible.",
    "significance_depends_on_one_patient": "Of {of} tests {count} would be on the other side of alpha without one of "
    "the patients.",
    "best_of_many": "Of {of} main response rules {count} take the best of several values, which is biased upwards.",
    "definitions_changed": "Whether the definitions were changed after the first outcome is said in `provenance`.",
    "seen_at_visits_only": "In {count} of {of} patients whose CK became normal its end lies somewhere between two "
    "draws more than a day apart.",
    "several_laboratories": "In {count} of {of} patients CK was measured by more than one laboratory.",
    "upper_limit_changes": "In {count} of {of} patients the upper limit of CK changed, and with it what is normal.",
    "upper_limit_moved": "In {count} of {of} patients whom the CK rule can judge one of the CKs that it may judge had "
    "another upper limit than the baseline: what became normal may be the limit.",
    "comparators": "Of {of} CK values {count} are known only as a bound; the means of changes of ln(CK) take them as "
    "bounds, other figures take `<x` as x/2 and `>x` as x.",
    "bounds_as_values": "In {count} of {of} patients one of the CKs at the visits compared is known only as a bound: "
    "here `<x` counts as x/2 and `>x` as x, also where values are ranked.",
    "bounds_in_run_in": "Of {of} CK values before treatment {count} are known only as a bound: in means, slopes and "
    "regression to the mean `<x` counts as x/2 and `>x` as x.",
    "bounds_in_courses": "In {count} of {of} courses one of the CKs at the visits compared is known only as a bound: "
    "here `<x` counts as x/2 and `>x` as x.",
    "conditioned_on_normalising": "In {count} of {of} patients CK never became normal: the time with normal CK is told "
    "of the others only.",
    "spontaneous_reports": "An adverse event of any of the {of} patients that was not posted does not exist here.",
    "steroid_record_incomplete": "In {count} of {of} patients the glucocorticoid dose of a day of the longest window "
    "is not known; such a day never counts as a dose of 0.",
    "undecided_infusions": "Pairs of infusions that may be one, and both count until a person decides: {pairs}, in "
    "{count} of {of} patients.",
    "undecided_glucocorticoids": "Pairs of periods of a glucocorticoid that may be one, and whose doses are added up "
    "until a person decides: {pairs}, in {count} of {of} patients.",
    "undecided_adverse_events": "Pairs of adverse events that may be one, and both count until a person decides: "
    "{pairs}, in {count} of {of} patients.",
}
"""The codes of caveats about data, each with its sentence."""


@dataclass(frozen=True, slots=True)
class CaveatFinding:
    """The finding for one caveat: it was seen in `count` of `of`, and is not known in `unknown` patients.

    `applies` is None where it is not known; `reason` then says why.
    """

    code: str
    applies: bool | None
    count: int | None
    of: int | None
    measure: str | None = None
    unknown: int = 0
    evidence: Mapping[str, float | None] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    reason: Reason | None = None

    @property
    def text(self) -> str:
        """The sentence with its numbers, or the reason why it is not known."""
        if self.applies is None and self.code != "definitions_changed":
            return "This cannot be told. " + (self.reason.description if self.reason else "")
        numbers = {
            name: "unknown" if x is None else str(x) if isinstance(x, int) else f"{x:.3g}"
            for name, x in self.evidence.items()
        }
        return SENTENCES[self.code].format(count=self.count, of=self.of, **numbers)


KnownFindings = dict[Callable[[Context], Iterator[CaveatFinding]], tuple[CaveatFinding, ...]]
"""What each source found in one study."""


def counted(
    code: str,
    seen: Bools,
    among: Bools,
    *,
    measure: str | None = None,
    unknown: int = 0,
    evidence: Mapping[str, float | None] | None = None,
    parameters: Mapping[str, object] | None = None,
) -> CaveatFinding:
    """The finding that applies where it was `seen` in any of the patients `among` whom it is known."""
    finding = _of_count(code, int(np.count_nonzero(seen & among)), int(np.count_nonzero(among)))
    return replace(finding, measure=measure, unknown=unknown, evidence=evidence or {}, parameters=parameters or {})


def _of_count(code: str, count: int, of: int) -> CaveatFinding:
    reason = None if of else Reason.NO_PATIENTS
    return CaveatFinding(code, count > 0 if of else None, count, of, reason=reason)


def findings(
    context: Context, codes: Iterable[str] = tuple(SENTENCES), known: KnownFindings | None = None
) -> list[CaveatFinding]:
    """The findings for some caveats, by default all, in the order of their sentences. Those that are `known` of the
    same study and options are not found again.
    """
    known = {} if known is None else known
    wanted = {code for code in codes if code in SENTENCES}
    needed = dict.fromkeys(_SOURCES[code] for code in SENTENCES if code in wanted)
    for source in needed:
        if source not in known:
            known[source] = tuple(source(context))
    found = [finding for source in needed for finding in known[source] if finding.code in wanted]
    order = list(SENTENCES)
    return sorted(found, key=lambda finding: order.index(finding.code))


def caveats_of(context: Context, codes: Sequence[str], known: KnownFindings | None = None) -> tuple[Caveat, ...]:
    """The caveats of an answer: those about data with their findings, the others with their sentences alone."""
    found = findings(context, codes, known)
    caveats: list[Caveat] = []
    for code in dict.fromkeys(codes):
        general = CAVEATS.get(code, "")
        if code not in SENTENCES:
            caveats.append(Caveat(code=code, applies=True, text=general))
        for finding in found:
            if finding.code == code:
                of = f"{finding.measure}: " if finding.measure else ""
                text = f"{general} {of}{finding.text}".strip()
                caveats.append(Caveat(code=code, measure=finding.measure, applies=finding.applies, text=text))
    return tuple(caveats)


def _of_everybody(code: str) -> Callable[[Context], Iterator[CaveatFinding]]:
    """The source of a caveat about every treated patient."""

    def source(context: Context) -> Iterator[CaveatFinding]:
        yield counted(code, context.study.safety, context.study.safety)

    return source


def _definitions_changed(_: Context) -> Iterator[CaveatFinding]:
    yield CaveatFinding("definitions_changed", None, None, None, reason=Reason.NOT_KNOWN_HERE)


def _selection_on_baseline(context: Context) -> Iterator[CaveatFinding]:
    """It applies where CK was at least as high as before in more than half: by chance alone it is in half."""
    study, week = context.study, context.protocol.ck_change.before_week
    base, before = study.at_week("CK", 0), study.at_week("CK", week)
    known = ~np.isnan(base) & ~np.isnan(before)
    finding = counted("selection_on_baseline", base >= before, known, parameters={"before_week": week})
    applies = None if not finding.of else 2 * int(known[base >= before].sum()) > finding.of
    yield replace(finding, applies=applies, unknown=int((study.safety & ~known).sum()))


def _selected_high(context: Context) -> Iterator[CaveatFinding]:
    study = context.study
    at_baseline = normality(study.at_visit("CK", 0))
    known = at_baseline != UNKNOWN
    finding = counted("selected_high", at_baseline == ABNORMAL, known)
    applies = finding.count == finding.of if finding.of else None
    yield replace(finding, applies=applies, unknown=int((study.safety & ~known).sum()))


def _regression(context: Context) -> Iterator[CaveatFinding]:
    expected = regression(context, resamples=0)
    estimate = expected.estimates[0]
    share = estimate.share
    evidence = {
        "icc": expected.icc.value,
        "expected": estimate.expected,
        "observed": expected.observed,
        "remainder": estimate.remainder,
        "share": share,
    }
    yield CaveatFinding(
        code="regression_to_the_mean",
        applies=None if share is None else share >= SHARE,
        count=expected.n,
        of=int(context.study.efficacy.sum()),
        evidence=evidence,
        parameters={"least_share": SHARE, "weeks": list(expected.weeks)},
        reason=estimate.reason,
    )


def _ends_of_scales(context: Context) -> Iterator[CaveatFinding]:
    for measure in context.protocol.measures:
        if measure not in LAB_CODES:
            yield from _ends_of_scale(context, measure)


def _ends_of_scale(context: Context, measure: str) -> Iterator[CaveatFinding]:
    study, scale = context.study, context.protocol.scale(measure)
    score = study.at_week(measure, 0)
    known = study.efficacy & ~np.isnan(score)
    whole = np.ones(len(score))
    least = at_most_zero((100, score), (-100 + NEAR, whole * scale.minimum), (-NEAR, whole * scale.maximum))
    greatest = at_most_zero((-100, score), (100 - NEAR, whole * scale.maximum), (NEAR, whole * scale.minimum))
    best, worst = (greatest, least) if scale.better == "higher" else (least, greatest)
    for code, near in (("ceiling_at_baseline", best), ("floor_at_baseline", worst)):
        unknown = int((study.efficacy & ~known).sum())
        yield counted(code, near, known, measure=measure, unknown=unknown, parameters={"percent_of_scale": NEAR})


def _discordance(context: Context) -> Iterator[CaveatFinding]:
    """Whether the main rules of CK and of muscle strength agree in the patients whom both can judge."""
    main: dict[str, Response] = {
        declared.rule.measure: declared for declared in context.protocol.responses if declared.primary
    }
    strength = next((measure for measure in STRENGTH if measure in main), None)
    codes = ("ck_response_without_strength", "strength_response_without_ck")
    if strength is None or "CK" not in main:
        yield from (CaveatFinding(code, None, None, None, reason=Reason.NOT_DECLARED) for code in codes)
        return
    ck, muscle = (context.study.response(main[measure].rule) for measure in ("CK", strength))
    both = ck.evaluable & muscle.evaluable
    unknown = int((context.study.efficacy & ~both).sum())
    for code, seen in zip(codes, (ck.responder & ~muscle.responder, muscle.responder & ~ck.responder), strict=True):
        yield counted(code, seen, both, measure=strength, unknown=unknown)


def _few_pairs(context: Context) -> Iterator[CaveatFinding]:
    """n differences that are not zero have 2^n patterns of signs: no two-sided p is below 2/2^n (n >= 6 for 0.05)."""
    week, alpha = last_week(context.study), context.protocol.weekly_change.alpha
    if week is None:
        return
    for measure in context.protocol.weekly_change.measures:
        values = week_result(context.study, measure, week).values
        known = ~np.isnan(values)
        count = int((values[known] != 0).sum())
        least = 2.0 ** (1 - count)
        yield CaveatFinding(
            "few_pairs",
            applies=least > alpha if known.any() else None,
            count=count,
            of=int(known.sum()),
            measure=measure,
            evidence={"least_p": min(1.0, least)},
            parameters={"week": week, "alpha": alpha},
            reason=None if known.any() else Reason.NO_PATIENTS,
        )


def _one_patient(context: Context) -> Iterator[CaveatFinding]:
    """The signed-rank test decides; with too many patients to leave each out, the t test."""
    verdicts: list[bool] = []
    for main in key_results(context):
        if main.kind == "mean":
            within = main.differences
            tests = influence_on_change(
                within.point,
                within=(within.low, within.high),
                alpha=context.protocol.weekly_change.alpha,
                zeros=context.conventions.zeros,
                signed_rank_p=context.conventions.signed_rank_p,
            ).tests
            depends = [test.significance_depends_on_one_patient for test in tests]
            verdicts += [verdict for verdict in depends if verdict is not None][:1]
    yield CaveatFinding(
        "significance_depends_on_one_patient",
        applies=any(verdicts) if verdicts else None,
        count=sum(verdicts),
        of=len(verdicts),
        parameters={"alpha": context.protocol.weekly_change.alpha},
        reason=None if verdicts else Reason.NO_PATIENTS,
    )


def _best_of_many(context: Context) -> Iterator[CaveatFinding]:
    rules = [declared.rule for declared in context.protocol.responses if declared.primary]
    best = sum(judges_the_best(rule) for rule in rules)
    reason = None if rules else Reason.NOT_DECLARED
    yield CaveatFinding("best_of_many", best > 0 if rules else None, best, len(rules), reason=reason)


def last_endpoint_day(context: Context) -> int:
    """The last day of the windows of all endpoints that have one."""
    windowed = [main.until for main in key_results(context) if main.kind != "median"]
    return max((int(until.max()) for until in windowed if len(until)), default=0)


def _intercurrent(context: Context) -> Iterator[CaveatFinding]:
    study, until = context.study, last_endpoint_day(context)
    events = study.intercurrent_events
    for event in EVENTS:
        among = study.safety & events.steroid_known if event.startswith("steroid") else study.safety
        yield counted(
            event,
            events.within(until, event),
            among,
            unknown=int((study.safety & ~among).sum()),
            parameters={"days": [0, until]},
        )


def _short_follow_up(context: Context) -> Iterator[CaveatFinding]:
    study, week = context.study, last_week(context.study)
    if week is None:
        return
    first = window(week, context.protocol.visits)[0]
    days = study.follow_up_days - 1
    median = study.estimated(summarise, days[study.safety]).median
    yield counted(
        "short_follow_up",
        days < first,
        study.safety,
        evidence={"median_days": median},
        parameters={"week": week, "first_day": first},
    )


def _missing(context: Context) -> Iterator[CaveatFinding]:
    """Missing values of the efficacy set at the baseline and at every week that the weekly comparison uses."""
    study, weeks = context.study, (0, *context.protocol.weekly_change.weeks)
    for measure in context.protocol.weekly_change.measures:
        absent = np.stack([~study.at_visit(measure, week).present for week in weeks])
        planned = np.broadcast_to(study.efficacy, absent.shape)
        yield counted("missing_data", absent, planned, measure=measure, parameters={"weeks": list(weeks)})


def _laboratories(context: Context) -> Iterator[CaveatFinding]:
    draws = context.study.ck_draws
    unknown = int(((draws.count > 0) & ~draws.laboratory_known).sum())
    yield counted(
        "several_laboratories",
        draws.laboratory_differs,
        draws.laboratory_known,
        unknown=unknown,
        evidence={"laboratories": float(len(draws.laboratories))},
    )


def _limits(context: Context) -> Iterator[CaveatFinding]:
    draws = context.study.ck_draws
    unknown = int(((draws.count > 0) & ~draws.limit_known).sum())
    yield counted("upper_limit_changes", draws.limit_differs, draws.limit_known, unknown=unknown)


def _comparators(context: Context) -> Iterator[CaveatFinding]:
    draws = context.study.ck_draws
    yield _of_count("comparators", int(draws.bounds.sum()), int(draws.count.sum()))


def _bounds_at_visits(context: Context) -> Iterator[CaveatFinding]:
    yield _with_a_bound("bounds_as_values", context.study)


def _bounds_in_courses(context: Context) -> Iterator[CaveatFinding]:
    yield _with_a_bound("bounds_in_courses", CourseStudy(context.study))


def _with_a_bound(code: str, study: DerivedStudy) -> CaveatFinding:
    """Whether a CK of each patient (course) at the baseline or at a week that is compared is a bound."""
    change = study.protocol.ck_change
    weeks = sorted({0, *study.protocol.weekly_change.weeks, change.before_week, change.after_week})
    visits = [study.at_visit("CK", week) for week in weeks]
    bounded = np.logical_or.reduce([visit.comparator != 0 for visit in visits])
    seen = np.logical_or.reduce([visit.present for visit in visits])
    return counted(code, bounded, seen, parameters={"weeks": weeks})


def _bounds_in_run_in(context: Context) -> Iterator[CaveatFinding]:
    """Zeros have no logarithm and are no values of the run-in."""
    bounded = context.study.run_in.bounded
    yield _of_count("bounds_in_run_in", int(bounded.sum()), len(bounded))


def _limit_moved(context: Context) -> Iterator[CaveatFinding]:
    """Whether a CK that a main rule may judge has another upper limit than the baseline of its patient."""
    study = context.study
    rules = [each.rule for each in context.protocol.responses if each.primary and each.rule.measure == "CK"]
    if not rules:
        yield CaveatFinding("upper_limit_moved", None, None, None, reason=Reason.NOT_DECLARED)
        return
    until = max(last_day(study, rule) for rule in rules)
    draws, before = study.ck_draws, study.at_visit("CK", 0).upper_limit
    evaluable = np.logical_or.reduce([study.response(rule).evaluable for rule in rules])
    known = evaluable & ~np.isnan(before) & draws.limit_judged
    yield counted("upper_limit_moved", draws.limit_moved, known, unknown=int((evaluable & ~known).sum()),
                  parameters={"days": [0, until]})  # fmt: skip


def _between_visits(context: Context) -> Iterator[CaveatFinding]:
    """The days in which CK became abnormal again: from the last normal draw of the episode to the abnormal one."""
    study, episodes = context.study, context.study.remission_episodes
    inside = included(episodes.reason)
    ended = inside & episodes.relapsed
    end = episodes.start + episodes.duration
    gap = np.where(ended, end - study.ck_draws.last_normal, 0)
    yield counted(
        "seen_at_visits_only",
        gap > 1,
        inside,
        evidence={"median_gap_days": summarise(gap[ended]).median, "ended": float(ended.sum())},
    )


def _never_normal(context: Context) -> Iterator[CaveatFinding]:
    reasons = context.study.remission_episodes.reason
    never = np.array([reason == ExclusionReason.NEVER_NORMAL for reason in reasons], dtype=np.bool_)
    yield counted("conditioned_on_normalising", never, never | included(reasons))


def _steroid_record(context: Context) -> Iterator[CaveatFinding]:
    """Whether the dose of each patient is known from day 0 to the end of the longest window."""
    days, doses = context.protocol.doses.windows[-1], context.study.dosing
    yield counted("steroid_record_incomplete", doses.known_days(days) < days, context.study.safety,
                  parameters={"days": [0, days - 1]})  # fmt: skip


def _undecided(kind: PairKind) -> Callable[[Context], Iterator[CaveatFinding]]:
    """The source of the caveat about facts of one kind that wait for a decision whether they are one."""

    def source(context: Context) -> Iterator[CaveatFinding]:
        pairs = context.study.undecided(kind)
        yield counted(UNDECIDED[kind], pairs > 0, context.study.safety, evidence={"pairs": int(pairs.sum())})

    return source


_SOURCES: Mapping[str, Callable[[Context], Iterator[CaveatFinding]]] = {
    "uncontrolled_pre_post": _of_everybody("uncontrolled_pre_post"),
    "selection_on_baseline": _selection_on_baseline,
    "selected_high": _selected_high,
    "regression_to_the_mean": _regression,
    "ceiling_at_baseline": _ends_of_scales,
    "floor_at_baseline": _ends_of_scales,
    **dict.fromkeys(EVENTS, _intercurrent),
    "short_follow_up": _short_follow_up,
    "ck_response_without_strength": _discordance,
    "strength_response_without_ck": _discordance,
    "missing_data": _missing,
    "few_pairs": _few_pairs,
    "significance_depends_on_one_patient": _one_patient,
    "best_of_many": _best_of_many,
    "definitions_changed": _definitions_changed,
    "seen_at_visits_only": _between_visits,
    "several_laboratories": _laboratories,
    "upper_limit_changes": _limits,
    "upper_limit_moved": _limit_moved,
    "comparators": _comparators,
    "bounds_as_values": _bounds_at_visits,
    "bounds_in_run_in": _bounds_in_run_in,
    "bounds_in_courses": _bounds_in_courses,
    "conditioned_on_normalising": _never_normal,
    "spontaneous_reports": _of_everybody("spontaneous_reports"),
    "steroid_record_incomplete": _steroid_record,
    **{code: _undecided(kind) for kind, code in UNDECIDED.items()},
}
"""What finds each caveat; one function may find several."""
