"""The one error that a user can mend: says what is wrong, where, why, and what to do."""


class InputError(Exception):
    """Something the user gave is wrong; the message is complete and is shown without a traceback."""
