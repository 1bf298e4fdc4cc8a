"""From a message to its outcome: read by `ingest`, stored by `store`, whoever brought it (HTTP, MLLP, a file)."""
