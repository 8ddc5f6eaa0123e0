"""Settings of all tests."""

from hypothesis import settings

# The same examples in every run: a red test is a change, not chance.
settings.register_profile("pricewright", derandomize=True, deadline=None)
settings.load_profile("pricewright")
