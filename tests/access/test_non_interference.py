"""The control of the comparison of a service with and without another client."""

import pytest

from app.access.callers import Caller
from tests.trust import non_interference


@pytest.mark.slow
def test_the_comparison_notices_when_a_client_sees_another_study(monkeypatch):
    monkeypatch.setattr(Caller, "require_study", lambda self, study: None)
    monkeypatch.setattr(non_interference, "NEEDS", {"GET /fhir/{study}/Observation"})
    with pytest.raises(AssertionError, match="/fhir/b/"):
        non_interference.run(full=False)
