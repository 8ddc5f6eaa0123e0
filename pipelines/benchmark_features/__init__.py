"""How fast features of an event log are made: the engines against a query written by hand and against pandas."""
