"""The commands `import` and `export`, which read and write whole files."""
