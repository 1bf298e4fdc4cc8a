"""Files in and out: what the commands `import` and `export` do."""
