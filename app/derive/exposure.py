"""Which infusions are the treatment, to which course each belongs, and which date is day 0."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from app.derive.ordered_drugs import counted_drugs
from app.derive.per_patient import any_where, count_where, first_where, pick_int
from app.derive.reasons import FlagCode
from app.protocol.model import Treatment
from app.timeline.cohort import NO_TIME, Bools, Cohort, Infusions, Ints, Words, order_by
from app.timeline.drugs import drug_key


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """One row per patient.

    `day0` is the date of the first infusion of the index course (days since 1970-01-01; `NO_TIME` if never treated) and
    `instant0` its time if a time was sent. `second_course_day` is the date on which the first course after day 0 began
    (`NO_TIME` if none did): an intercurrent event. A course of another product that begins on day 0 is part of the
    treatment. `infusions` counts all infusions of the protocol's products. For each row of `given`, `index` says
    whether it is in the index course, `further` whether it begins a course after day 0, `product` numbers the products
    and `number` the courses of a patient and product.
    """

    day0: Ints
    instant0: Ints
    treated: Bools
    infusions: Ints
    courses: Ints
    second_course_day: Ints
    given: Infusions
    index: Bools
    further: Bools
    product: Ints
    number: Ints
    flags: Mapping[FlagCode, int]

    @property
    def second_course(self) -> Ints:
        """The day on which the first course after day 0 began, counted from day 0; `NO_TIME` if none did."""
        return np.where(self.second_course_day == NO_TIME, NO_TIME, self.second_course_day - self.day0)


def exposure(cohort: Cohort, treatment: Treatment) -> Exposure:
    """Courses by the gap rule: infusions of one product with at most `course_gap_days` between them are one course.

    The course that holds the earliest infusion is the index course. A sent course number is flagged if it
    is not the place of the course among those of its product; the gap rule decides. Upper and lower case are equal in
    names of products. A flag counts the infusions of other products.
    """
    size = len(cohort)
    names, named = _compared(cohort.infusions.product)
    listed = _among(names, treatment.products)
    counted = listed[named]
    given = cohort.infusions.where(counted)
    product = (np.cumsum(listed) - 1)[named[counted]]
    number, starts = _course_numbers(given, product, treatment.course_gap_days)
    first = first_where(given.patient, size, np.ones(len(given), dtype=np.bool_))
    day0 = pick_int(given.day, first, NO_TIME)
    row0 = np.maximum(first, 0)
    in_index = np.zeros(len(given), dtype=np.bool_)
    if len(given):
        mine = row0[given.patient]
        in_index = (product == product[mine]) & (number == number[mine])
    further = starts & (given.day > day0[given.patient])
    second = first_where(given.patient, size, further)
    disagrees = any_where(given.patient, size, (given.course != 0) & (given.course != number))
    flags = {
        FlagCode.OTHER_PRODUCT: int((~counted).sum()),
        FlagCode.COURSE_NUMBER_DISAGREES: int(disagrees.sum()),
        FlagCode.SECOND_COURSE: int((second >= 0).sum()),
        FlagCode.UTC_DAY: 0 if cohort.zoned else int(given.utc.sum()),
    }
    return Exposure(
        day0=day0,
        instant0=pick_int(given.instant, first, NO_TIME),
        treated=first >= 0,
        infusions=count_where(given.patient, size, np.ones(len(given), dtype=np.bool_)),
        courses=count_where(given.patient, size, starts),
        second_course_day=pick_int(given.day, second, NO_TIME),
        given=given,
        index=in_index,
        further=further,
        product=product,
        number=number,
        flags=flags,
    )


def first_new_drug_day(cohort: Cohort, exposure: Exposure, drugs: tuple[str, ...]) -> Ints:
    """The first day, counted from day 0, on which a patient began a new one of these drugs; `NO_TIME` for none.

    A drug is new if it begins after day 0 and was not given on or before day 0. All names of a drug in the drug
    dictionary are one drug. An order counts as `ordered_drugs` says.
    """
    size, table = len(cohort), counted_drugs(cohort).taken
    names, drug = _compared(table.drug, drug_key)
    listed = _among(names, drugs, drug_key)
    start = table.start_day - exposure.day0[table.patient]
    rows = np.flatnonzero(listed[drug] & exposure.treated[table.patient])
    kind, start = table.patient[rows] * len(names) + drug[rows], start[rows]
    new = (start > 0) & ~np.isin(kind, kind[start <= 0])
    first = np.full(size, -NO_TIME, dtype=np.int64)
    np.minimum.at(first, table.patient[rows[new]], start[new])
    return np.where(first == -NO_TIME, NO_TIME, first)


def comparable_name(name: str) -> str:
    """The form in which names are compared: IVIG, IVIg and ivig are one product."""
    return name.strip().casefold()


def _among(names: list[str], listed: Iterable[str], key: Callable[[str], str] = comparable_name) -> Bools:
    """Which of the comparable names are listed."""
    wanted = {key(name) for name in listed}
    return np.array([name in wanted for name in names], dtype=np.bool_)


def _compared(words: Words, key: Callable[[str], str] = comparable_name) -> tuple[list[str], Ints]:
    """The different names among some words in code-point order, and the number of each word's name.

    Each spelling is compared once, however many words have it.
    """
    sent = words.tolist()
    spelled = {word: key(word) for word in set(sent)}
    names = sorted(set(spelled.values()))
    place = {name: number for number, name in enumerate(names)}
    numbers = {word: place[name] for word, name in spelled.items()}
    return names, np.fromiter(map(numbers.__getitem__, sent), dtype=np.int64, count=len(sent))


def _course_numbers(given: Infusions, product: Ints, gap: int) -> tuple[Ints, Bools]:
    """1, 2, 3, ... along the courses of each patient and product, and the first infusion of each course.

    Infusions are in order of time, so the first infusion of a course is the first of its rows too.
    """
    order = order_by((given.day, product, given.patient))
    patient, kind, day = given.patient[order], product[order], given.day[order]
    same = (patient[1:] == patient[:-1]) & (kind[1:] == kind[:-1])
    new = np.concatenate([[True], ~same | (day[1:] - day[:-1] > gap)]) if len(order) else np.zeros(0, dtype=np.bool_)
    restart = np.concatenate([[True], ~same]) if len(order) else new
    running = np.cumsum(new)
    number = np.empty(len(order), dtype=np.int64)
    number[order] = running - np.maximum.accumulate(np.where(restart, running - 1, 0)) if len(order) else running
    starts = np.zeros(len(order), dtype=np.bool_)
    starts[order[new]] = True
    return number, starts
