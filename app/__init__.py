"""MyoResponse: did the treatment of inflammatory myopathy work, how soon, for how long, and how safely."""

__version__ = "0.1.0"
SOFTWARE = f"myoresponse {__version__}"
