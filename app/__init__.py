"""MyoResponse: treatment response in inflammatory myopathy. This file has the versions of software and answers."""

__version__ = "0.1.0"
SOFTWARE = f"myoresponse {__version__}"
ANSWERS = 2
"""The form of the answers. It is raised when an answer to the same question says more, so that nobody keeps an older
answer under its ETag.
"""
