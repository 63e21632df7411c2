"""The recipe of the small inpainting model that ships with realbench: `python -m tools.train_tiny --help`."""
