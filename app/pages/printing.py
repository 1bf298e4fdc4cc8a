"""Prints a report as PDF/UA, in a worker process. Only this module knows WeasyPrint."""

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from app.access.work import Workplace
from app.errors import NotInstalled

PDF = "application/pdf"
_STYLE = Path(__file__).parent / "files" / "print.css"


def check_installed() -> None:
    """Raise `NotInstalled` unless PDF can be written."""
    if find_spec("weasyprint") is None:
        raise NotInstalled("To print PDF, install the extra `pdf`: pip install myoresponse[pdf].")


def printed(html: str, data: bytes, created: str, identifier: str, place: Workplace) -> bytes:
    """The report as PDF, with its data attached. The same page gives the same bytes: the dates are those of `created`,
    and nothing is read from anywhere. Raises `NotInstalled` where the system has no Pango.
    """
    del place
    try:
        from weasyprint import CSS, HTML, Attachment  # noqa: PLC0415 - only a process that prints loads it
    except OSError:
        raise NotInstalled("To print PDF, install Pango on this system: libpango-1.0-0, libpangoft2-1.0-0.") from None

    attached = Attachment(
        string=data,
        name="report.json",
        description="The figures of this report, as the service answers them.",
        relationship="Data",
        created=datetime.fromisoformat(created),
        modified=datetime.fromisoformat(created),
    )
    return bytes(
        HTML(string=html, url_fetcher=_nothing).write_pdf(
            stylesheets=[CSS(string=_STYLE.read_text(encoding="utf-8"), url_fetcher=_nothing)],
            attachments=[attached],
            pdf_identifier=identifier.encode(),
            pdf_variant="pdf/ua-1",
        )
    )


def _nothing(address: str, *_: object, **__: object) -> dict[str, object]:
    raise ValueError("a report reads nothing from an address")
