"""The store: an append-only ledger of patients' facts on SQLite or PostgreSQL. No other room contains SQL."""
