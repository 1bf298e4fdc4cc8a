"""Who may do what: callers and their scopes, API keys and bearer tokens."""
