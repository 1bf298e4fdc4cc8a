"""The character sets that a study may declare for its feeds."""

from typing import Literal, get_args

Charset = Literal["US-ASCII", "UTF-8", "ISO-8859-1", "ISO-8859-15", "windows-1252", "Shift_JIS"]
CHARSETS: tuple[Charset, ...] = get_args(Charset)
"""The names of IANA; Python knows all of them."""
