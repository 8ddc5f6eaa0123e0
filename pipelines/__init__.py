"""Pricewright: from a shop's events to a served personal price. One module per pipeline stage."""

import warnings

# Where pyspark is installed, pandera looks at its pandas part, which then warns of pandas 3; neither is used here.
warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
