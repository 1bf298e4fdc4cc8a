"""The page of an answer that has no page of its own: field by field, with the descriptions of the interface."""

from typing import Any

from app.pages.page import Names, Page, PageReading, Refused


async def _fill(reading: PageReading, names: Names) -> dict[str, Any]:
    del names
    asked = reading.asked
    found = await reading.document(asked.path, asked.query)
    if not found.is_json:
        return {"file": found}
    if found.status >= 400:
        raise Refused(found)
    content = found.json()
    return {"content": content, "title": _title(asked.path)}


def _title(path: str) -> str:
    return path.rpartition("/")[2] or path


PAGE = Page("", "any_answer.html", _fill)
