"""One module per question.

A case has a docstring whose first line is the question, a function ``runs() -> list[Run]``, top-level
functions named by the runs (each is called in a fresh process with the run's arguments and returns
measurements, among them ``seconds``), and ``TABLES``: a function from a result to Markdown per table name.
Peers are imported inside those functions, so that a case can be listed without them. A case that needs a
device says what is lacking in a function ``lack() -> str | None``; it is then named and left out, and writes
no file.
"""
