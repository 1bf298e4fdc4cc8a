"""Batches of few patients, so that a small study has many files and many batches."""

import pytest

from app.bulk import study_files
from app.timeline import cohort_batches


@pytest.fixture
def small_files(monkeypatch):
    monkeypatch.setattr(cohort_batches, "PERSONS", 4)
    monkeypatch.setattr(cohort_batches, "_MOST", 8)
    monkeypatch.setattr(study_files, "BATCHES_IN_A_FILE", 2)
