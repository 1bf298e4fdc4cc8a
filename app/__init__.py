"""MyoResponse: treatment response in inflammatory myopathy. This file has the version of the software."""

__version__ = "0.1.0"
SOFTWARE = f"myoresponse {__version__}"
