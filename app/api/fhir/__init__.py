"""The FHIR R4 facade: what this service keeps, spoken of as resources."""
