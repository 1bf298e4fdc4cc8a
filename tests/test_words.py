"""The words of the tree: one meaning each, in the glossary, and plain enough to be understood at the first reading."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.spec import codes

ROOT = Path(__file__).parents[1]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
UNPLAIN = re.compile(r"\b(told|tells|whoever|what became of|what becomes of)\b", re.IGNORECASE)


def entries() -> list[list[str]]:
    """The rows of the glossary: word, meaning, elsewhere."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in GLOSSARY.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] not in {"word", "room"} and set(row[0]) != {"-"}]


def sources() -> Iterator[tuple[str, str]]:
    """The files of the program and their text."""
    for path in sorted((ROOT / "app").rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def prose(text: str) -> Iterator[str]:
    """The docstrings and comments of a file."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    yield from re.findall(r"(?<!\S)# .*", text)


def test_each_word_of_the_glossary_has_one_line_with_its_meaning():
    assert [row for row in entries() if len(row) != 3 or not all(row)] == []
    assert [word for word, count in Counter(row[0] for row in entries()).items() if count > 1] == []


def test_the_words_of_each_section_stand_in_alphabetical_order():
    for section in GLOSSARY.split("\n## ")[1:]:
        words = re.findall(r"^\| ([^|`]+?) \|", section, re.MULTILINE)[2:]
        assert words == sorted(words, key=str.casefold), section.splitlines()[0]


def test_every_room_of_the_tree_is_explained_in_the_glossary():
    rooms = {path.name for path in (ROOT / "app").iterdir() if (path / "__init__.py").is_file()}
    assert set(re.findall(r"^\| `app/(\w+)/` \|", GLOSSARY, re.MULTILINE)) == rooms


def test_the_page_of_codes_is_what_the_service_answers():
    assert codes.TARGET.read_text(encoding="utf-8") == codes.rendering()


def test_a_class_name_stands_in_one_file_only():
    files: dict[str, set[str]] = defaultdict(set)
    for name, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                files[node.name].add(name)
    assert {name: sorted(where) for name, where in files.items() if len(where) > 1} == {}


def test_docstrings_and_comments_use_plain_words():
    found = [(name, word[0]) for name, text in sources() for each in prose(text) if (word := UNPLAIN.search(each))]
    assert found == []
