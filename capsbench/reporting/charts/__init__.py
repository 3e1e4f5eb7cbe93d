"""Interactive charts of the page: specifications of Vega-Lite, which the browser draws."""
