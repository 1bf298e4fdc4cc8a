"""From arrays to frozen results: the one room where SciPy and lifelines are used.

Every function takes the values of one group of patients and answers a result of `app.estimate.results`. A number that
is not defined is `None` beside a `Reason`, never NaN, infinity or an exception; a `ValueError` means that the caller
passed something that is no data at all (a NaN, a negative duration, a level of 95). The order of the values never shows
in a result. SciPy and lifelines are imported inside the functions that need them, so importing this room is cheap.
"""
