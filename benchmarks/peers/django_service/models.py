"""Patients and their results; the second kind of result has its earlier versions kept by django-simple-history."""

from django.db import models
from simple_history.models import HistoricalRecords


class Patient(models.Model):
    """A patient by the identifier that the sender gave."""

    identifier = models.CharField(max_length=100, unique=True)


class Result(models.Model):
    """A laboratory result."""

    patient = models.ForeignKey(Patient, models.CASCADE)
    code = models.CharField(max_length=20)
    time = models.DateTimeField()
    value = models.FloatField()
    unit = models.CharField(max_length=20)
    upper_limit = models.FloatField(null=True)
    lab = models.CharField(max_length=100)

    class Meta:
        abstract = True
        constraints = [models.UniqueConstraint("patient", "code", "time", "lab", name="%(class)s_key")]  # noqa: RUF012 - Django's form


class PlainResult(Result):
    """Of which only the last version is stored."""


class VersionedResult(Result):
    """Of which every version is stored."""

    history = HistoricalRecords()
