"""What is asked: the declared definitions behind every number, as data."""
