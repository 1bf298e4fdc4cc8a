"""What a patient history is: the document that is posted, its vocabulary, its facts, and the same facts as columns."""
