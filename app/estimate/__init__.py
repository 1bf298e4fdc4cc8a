"""Statistics: functions from arrays to frozen results. Only this package uses SciPy and lifelines.

A function takes the values of one group of patients, or of two or more, and returns a result of `app.estimate.results`
or of its own module. A number that is not defined is `None` with a `Reason`, never NaN, infinity or an exception. A
`ValueError` means that the caller passed invalid data (a NaN, a negative duration, a level of 95). No result depends on
the order of the values. SciPy and lifelines are imported inside the functions that need them, so that importing this
package is fast.
"""
