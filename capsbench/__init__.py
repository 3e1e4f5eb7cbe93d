"""CapsBench: what happens to an image classifier when the viewpoint changes."""

__version__ = "0.1.0"
