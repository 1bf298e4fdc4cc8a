"""The door: addresses, methods, headers and status codes. What is asked and answered is decided in the rooms behind
it.
"""
