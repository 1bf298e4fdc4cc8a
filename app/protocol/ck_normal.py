"""How long CK stays normal, and what a further treatment does to that."""

from typing import Literal

from pydantic import Field

from app.protocol.parts import Part, Product

RescueStrategy = Literal["treatment_policy", "composite", "hypothetical", "competing"]
"""What an intercurrent event does to the estimate: the words of ICH E9(R1), and `competing` for competing risks."""

IMMUNOSUPPRESSANTS = (
    "azathioprine",
    "ciclosporin",
    "cyclophosphamide",
    "cyclosporine",
    "methotrexate",
    "mycophenolate mofetil",
    "rituximab",
    "tacrolimus",
)
"""Drugs used beside corticosteroids in inflammatory myopathy, by their international names (and one American)."""


class CkNormalTime(Part):
    """How long CK stays normal once it is."""

    rmst_until_days: int = Field(
        default=365, ge=1, le=36500, description="Horizon of the restricted mean.", examples=[365]
    )
    immunosuppressants: tuple[Product, ...] = Field(
        default=IMMUNOSUPPRESSANTS,
        description="Drugs that are a rescue when they begin after day 0; compared without regard to case.",
        examples=[["azathioprine", "methotrexate"]],
    )
    rescue: RescueStrategy = Field(
        default="treatment_policy",
        description="What a further treatment (a second course or a new immunosuppressant, begun after day 0) and "
        "death do to the time. `treatment_policy`: nothing, they are ignored and reported. `composite`: they end it, "
        "as an abnormal CK does. `hypothetical`: the time is censored on the day of the further treatment. "
        "`competing`: they forestall the abnormal CK, whose cumulative incidence is estimated beside theirs. Either "
        "counts up to the last CK of known normality, at which everybody else is censored.",
        examples=["treatment_policy"],
    )
