"""FHIR R4 resources and bundles, the few fields of them that say something that is kept."""
