"""The definitions as worked examples: each case has the record of patients and the expected answers.

`rule.py` has the classes, `rules_*.py` the definitions and `book.py` their order. `test_rules.py` checks the service
against them; `case_text.py` and `render.py` write them as docs/definitions.md.
"""
