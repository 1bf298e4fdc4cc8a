"""The address of a request, read in one way by every check, by the audit and by the routes.

A proxy may decide by the path whether a request may pass. If the path had a second spelling, `demo%2Fpatients%2FP01`
would be one name for the proxy and a patient for this service. Therefore each address has exactly one accepted
spelling. No name in an address needs an encoding, so this takes nothing from any client.
"""

import re
from urllib.parse import unquote

from starlette._utils import get_route_path  # the function by which its routes read a path
from starlette.types import Scope

from app.errors import AmbiguousAddress

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""What is never encoded: such a byte would have two spellings."""
_HARMFUL = frozenset(range(32)) | frozenset(b"\x7f/\\%;")
"""What is not accepted encoded either: another reader might decode it, and see another address."""
_ENCODED = "|".join(f"{byte:02X}" for byte in range(256) if byte not in _PLAIN | _HARMFUL)
_PART = rf"(?:[A-Za-z0-9_~!$&'()*+,=:@.-]|%(?i:{_ENCODED}))+"
_ONE_FORM = re.compile(rf"(?:/(?!\.\.?(?:/|\Z)){_PART})*/?".encode())


def is_in_one_form(scope: Scope) -> bool:
    """Whether the path is in the form that this service reads."""
    path: str = scope["path"]
    sent: bytes = scope.get("raw_path") or path.encode()
    return bool(sent) and _ONE_FORM.fullmatch(sent) is not None and unquote(sent.decode("ascii")) == path


def check_address(scope: Scope) -> None:
    """Raise `AmbiguousAddress` unless the path is in the form that this service reads."""
    if not is_in_one_form(scope):
        raise AmbiguousAddress


def path_of(scope: Scope) -> str:
    """The path as the routes read it: without the prefix that a proxy removes."""
    return get_route_path(scope)
