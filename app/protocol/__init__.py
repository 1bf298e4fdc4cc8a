"""The protocol of a study: the declared definitions that the analyses use."""
