"""What earlier releases stored and answered: a database of each, and its answers to many requests, byte for byte."""
