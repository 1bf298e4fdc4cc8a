"""HL7 v2: results (ORU^R01) and merged records (ADT^A40), over HTTP and MLLP, from the bytes to the acknowledgement."""
