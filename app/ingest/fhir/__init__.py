"""FHIR R4 resources and bundles, the few fields of them that say something that is kept."""

from app.ingest.fhir.reader import MOST_ENTRIES, read_bundle, read_line, read_resource

__all__ = ["MOST_ENTRIES", "read_bundle", "read_line", "read_resource"]
