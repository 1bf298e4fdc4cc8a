"""The definitions as worked examples: what was recorded of patients in, what the answers say of them out.

`rule.py` is the vocabulary, `rules_*.py` hold the definitions one after the other, `book.py` puts them in order,
`test_rules.py` holds the service to them and `render.py` writes them down for readers as docs/definitions.md.
"""
