"""Charts: specifications of Vega-Lite, drawn from the documents of answers, and rendered as SVG, PNG or PDF."""

from app.pages.charts import changes, responses, survival
from app.pages.charts.chart import Chart

CHARTS: dict[str, Chart] = {chart.name: chart for chart in (*survival.CHARTS, *changes.CHARTS, *responses.CHARTS)}
"""The charts by name."""

__all__ = ["CHARTS", "Chart"]
