"""Figures, drawn with one style from records and the specifications of measures."""
