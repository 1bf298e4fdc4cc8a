"""Studies as Parquet files, and their report by Spark on a cluster of the test."""
