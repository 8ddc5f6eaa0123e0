"""Pricewright: from a shop's events to a served personal price. One module per pipeline stage."""
