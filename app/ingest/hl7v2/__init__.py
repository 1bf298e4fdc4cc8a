"""HL7 v2: messages of results (ORU^R01) and of merged records (ADT^A40), as their senders really write them."""
