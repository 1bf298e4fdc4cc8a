"""FHIR R4: bundles and resources that are read, stored, searched and written, from the bytes to the answer."""
