"""The only SQL: an append-only ledger of patient histories on SQLite or PostgreSQL."""
