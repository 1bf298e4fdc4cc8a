"""What a study declares of its feeds, for the reader of FHIR."""

from app.submission.feeds import feed_of, remember_key

__all__ = ["feed_of", "remember_key"]
