"""The timeline of a patient: the posted document, its vocabulary, its facts, and the same facts as columns."""
