"""The catalogue of bad input that comes by feeds is whole: every row of the research note is tried."""

import re

from tests.catalogue import test_bad_bundles, test_bad_feed_times, test_bad_fhir, test_bad_messages, test_bad_tables
from tests.catalogue.feeds import parameters

MODULES = (test_bad_fhir, test_bad_bundles, test_bad_messages, test_bad_tables)


def numbers(*modules) -> list[int]:
    """The numbers of rows in the names of tests, each once, in their order."""
    names = [each.id for module in modules for each in parameters(module.ROWS)]
    assert len(set(names)) == len(names)
    return list(dict.fromkeys(int(re.match(r"(\d+)\.\d+-", name)[1]) for name in names))


def test_every_row_is_tried():
    assert numbers(*MODULES) == list(range(78, 113))


def test_every_row_about_times_is_tried_in_the_feeds_again():
    assert numbers(test_bad_feed_times) == list(range(37, 53))
