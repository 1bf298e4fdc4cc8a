"""The other door: HL7 v2 messages over a socket (MLLP), each answered by its acknowledgement."""
