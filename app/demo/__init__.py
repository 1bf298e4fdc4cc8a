"""The demonstration study: 16 synthetic patients, similar to those of an open trial of immunoglobulin."""

from pathlib import Path

STUDY = "demo"
NAME = "Demonstration: synthetic IVIG cohort in steroid-resistant polymyositis and dermatomyositis"
TIMELINES = Path(__file__).with_name("timelines.json")
