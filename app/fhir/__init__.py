"""FHIR R4: reading, storing, searching and writing of resources and bundles, from the bytes to the answer."""
