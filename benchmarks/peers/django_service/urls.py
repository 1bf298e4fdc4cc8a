"""One address for each kind of result, which takes new results of a patient, changed ones and the same again."""

from django.db import transaction
from django.urls import path
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView
from simple_history.utils import bulk_create_with_history, bulk_update_with_history

from django_service.models import Patient, PlainResult, VersionedResult

FIELDS = ("code", "time", "value", "unit", "upper_limit", "lab")
KEY, REST = ("code", "time", "lab"), ("value", "unit", "upper_limit")


class PlainSerializer(serializers.ModelSerializer):
    """A result as it is sent."""

    class Meta:
        model = PlainResult
        fields = FIELDS


class VersionedSerializer(serializers.ModelSerializer):
    """The same."""

    class Meta:
        model = VersionedResult
        fields = FIELDS


class PlainView(APIView):
    """Insert or replace, in one statement and one transaction."""

    def post(self, request, identifier):
        """Store the results of a patient."""
        sent = PlainSerializer(data=request.data["labs"], many=True)
        sent.is_valid(raise_exception=True)
        with transaction.atomic():
            patient, _ = Patient.objects.get_or_create(identifier=identifier)
            rows = [PlainResult(patient=patient, **each) for each in sent.validated_data]
            PlainResult.objects.bulk_create(
                rows, update_conflicts=True, unique_fields=("patient", *KEY), update_fields=REST
            )
        return Response({"stored": len(rows)}, 201)


class VersionedView(APIView):
    """Insert what is new and update what is different, each with a row of its history, in one transaction."""

    def post(self, request, identifier):
        """Store the results of a patient."""
        sent = VersionedSerializer(data=request.data["labs"], many=True)
        sent.is_valid(raise_exception=True)
        with transaction.atomic():
            patient, _ = Patient.objects.get_or_create(identifier=identifier)
            known = {(row.code, row.time, row.lab): row for row in VersionedResult.objects.filter(patient=patient)}
            new, changed = [], []
            for each in sent.validated_data:
                row = known.get((each["code"], each["time"], each["lab"]))
                if row is None:
                    new.append(VersionedResult(patient=patient, **each))
                elif any(getattr(row, name) != each[name] for name in REST):
                    for name in REST:
                        setattr(row, name, each[name])
                    changed.append(row)
            bulk_create_with_history(new, VersionedResult)
            bulk_update_with_history(changed, VersionedResult, REST)
        return Response({"stored": len(new), "changed": len(changed)}, 201)


urlpatterns = [
    path("plain/patients/<str:identifier>/results/", PlainView.as_view()),
    path("versioned/patients/<str:identifier>/results/", VersionedView.as_view()),
]
