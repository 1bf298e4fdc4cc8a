"""The number rule once more, as slowly and plainly as it can be said.

A statement here is (time, status, issued, version, value). Its time is a minute, `("day", n)` for a bare date, or
`None`. What was received when is a dictionary. Nothing is shared with the rule of the service.
"""

from typing import Any, NamedTuple

ORDER = ["preliminary", "final", "amended", "corrected"]
GONE = ("cancelled", "entered-in-error")


class Told(NamedTuple):
    """One statement about the number."""

    time: Any
    status: str
    issued: int | None = None
    version: int | None = None
    value: float | None = None


def standing(received: dict[Told, int]) -> tuple[frozenset[Told], frozenset[Told]]:
    """What stands, without withdrawals; and what is ambiguous."""
    told = list(received)
    values = [one for one in told if one.status not in GONE]
    minutes = {one.time for one in values if isinstance(one.time, int)}
    ambiguous: set[Told] = set()
    cell_of: dict[Told, Any] = {}
    for one in told:
        if isinstance(one.time, tuple):
            of_its_day = [minute for minute in minutes if minute // 1440 == one.time[1]]
            if len(of_its_day) > 1:
                ambiguous.add(one)
            else:
                cell_of[one] = of_its_day[0] if of_its_day else one.time
        elif one.time is not None:
            cell_of[one] = one.time
            day = ("day", one.time // 1440)
            known_by_date = any(value.time == day for value in values)
            if one.status in GONE and known_by_date and not any(minute // 1440 == day[1] for minute in minutes):
                cell_of[one] = day

    def cell(key: Any) -> list[Told]:
        return [one for one in told if one in cell_of and cell_of[one] == key]

    def rank(one: Told) -> tuple[float, float, int]:
        """Of two statements with a version or a time of issue, the greater one is newer."""
        place = 9 if one.status in GONE else ORDER.index(one.status)
        return (
            float("-inf") if one.version is None else one.version,
            float("-inf") if one.issued is None else one.issued,
            place,
        )

    def is_dated(one: Told) -> bool:
        return one.version is not None or one.issued is not None

    def corrects(one: Told) -> bool:
        return one.status in ("amended", "corrected")

    def said_at(one: Told) -> float:
        if one.issued is not None:
            return one.issued
        return received[one] if one.version is None and (corrects(one) or one.status in GONE) else float("-inf")

    def precise(one: Told) -> bool:
        return isinstance(one.time, int)

    def greatest(group: list[Told]) -> Told:
        dated = sorted(
            (one for one in group if is_dated(one)), key=lambda one: (rank(one), precise(one), received[one])
        )
        undated = sorted(
            (one for one in group if not is_dated(one)), key=lambda one: (rank(one), precise(one), received[one])
        )
        corrections = [one for one in undated if corrects(one)]
        if corrections:
            until = max(received[one] for one in corrections)
            if not dated or dated[-1].issued is None or dated[-1].issued <= until:
                return corrections[-1]
        return dated[-1] if dated else undated[-1]

    def withdraws(one: Told, other: Told) -> bool:
        if is_dated(one) and is_dated(other):
            return rank(one) > rank(other)
        if is_dated(other):
            return other.issued is None or other.issued <= received[one]
        if is_dated(one) and corrects(other):
            return one.issued is not None and one.issued >= received[other]
        return True

    def withdrawals_of(one: Told) -> list[Told]:
        return [other for other in cell(cell_of[one]) if other.status in GONE and withdraws(other, one)]

    draws: list[list[Told]] = []
    corrections = []
    for key in dict.fromkeys(cell_of[one] for one in values if one in cell_of):
        group = [one for one in cell(key) if one.status not in GONE]
        others = [one for one in values if one in cell_of and cell_of[one] != key and one.version is not None]
        opening = [
            one
            for one in group
            if not corrects(one)
            and (one.version is None or not any((other.version or 0) < one.version for other in others))
        ]
        (draws if opening else corrections).append(group)

    def not_later(one: Told, other: Told) -> bool:
        if one.version is not None and other.version is not None and one.version != other.version:
            return one.version < other.version
        return said_at(one) <= said_at(other)

    def in_order(group: list[Told]) -> tuple[Any, ...]:
        top = greatest(group)
        key = cell_of[top]
        return rank(top)[0], said_at(top), isinstance(key, int), key if isinstance(key, int) else key[1]

    for group in sorted(corrections, key=in_order):
        candidates = [draw for draw in draws if any(not_later(one, greatest(group)) for one in draw)]
        withdrawn = [draw for draw in candidates if withdrawals_of(greatest(draw))]
        if len(candidates) > 1 and len(withdrawn) == 1:
            candidates = withdrawn
        if len(candidates) > 1:
            ambiguous.update(group)
        elif candidates:
            candidates[0] += group
        else:
            draws.append(group)

    timeless = [one for one in told if one.time is None]
    if len(draws) > 1:
        ambiguous.update(timeless)
    shown = []
    for draw in draws:
        top = greatest(draw)
        everywhere = [one for one in timeless if withdraws(one, top)] if len(draws) == 1 else []
        if not withdrawals_of(top) and not everywhere:
            shown.append(top)
    firm = [said_at(one) for one in shown if one.status != "preliminary"]
    hidden = [
        one
        for one in shown
        if one.status == "preliminary" and firm and (said_at(one) == float("-inf") or max(firm) >= said_at(one))
    ]
    for one in told:
        alone = one in cell_of and all(other.status in GONE for other in cell(cell_of[one]))
        if draws and alone and one.status == "entered-in-error":
            ambiguous.add(one)
    return frozenset(shown) - frozenset(hidden), frozenset(ambiguous)
