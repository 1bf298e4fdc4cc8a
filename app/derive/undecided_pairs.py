"""Which facts of treated patients count twice until a person decides whether they are one."""

import numpy as np

from app.derive.exposure import Exposure, comparable_name
from app.protocol.model import Treatment
from app.timeline.cohort import Cohort, Ints
from app.timeline.same_facts import PairKind, UndecidedPair


def undecided_pairs(cohort: Cohort, exposure: Exposure, treatment: Treatment, kind: PairKind) -> Ints:
    """How many pairs of each treated patient wait for a decision and may change a figure. Infusions of other products
    do not, and nothing that was over before day 0.
    """
    products = {comparable_name(product) for product in treatment.products}

    def matters(pair: UndecidedPair, day0: int) -> bool:
        counts = pair.kind == kind and (kind != "infusion" or pair.word in products)
        return counts and (pair.last_day is None or pair.last_day >= day0)

    found = np.zeros(len(cohort), dtype=np.int64)
    for patient, pairs in cohort.waiting.items():
        if exposure.treated[patient]:
            found[patient] = sum(matters(pair, int(exposure.day0[patient])) for pair in pairs)
    return found
