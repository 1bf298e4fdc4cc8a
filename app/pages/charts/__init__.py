"""Charts: specifications of Vega-Lite, drawn from the documents of answers, and rendered as SVG, PNG or PDF."""

from app.pages.charts import changes, definitions, flows, harms, improvement, responses, survival, trajectories
from app.pages.charts.chart import Chart

CHARTS: dict[str, Chart] = {
    chart.name: chart
    for module in (trajectories, changes, responses, survival, improvement, harms, definitions, flows)
    for chart in module.CHARTS
}
"""The charts by name."""

__all__ = ["CHARTS", "Chart"]
