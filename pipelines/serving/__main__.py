"""serve: the thin endpoint on one port, quoting by one policy folder."""

from __future__ import annotations

import sys

from pipelines.errors import InputError
from pipelines.serving import settings, workers


def main(arguments: list[str] | None = None) -> None:
    """Serve until asked to stop; one clear message and exit status 1 where that cannot start."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        chosen = settings.read(given)
        if (chosen.workers > 1 or chosen.watch) and chosen.lifeline is None:
            workers.Keeper(chosen, given).run()
        # only a process that answers needs what prices
        from pipelines.serving import compose

        application = compose.endpoint(chosen)
        listener = workers.listener(chosen.host, chosen.port, shared=chosen.lifeline is not None)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if chosen.lifeline is None:
        facts = application.quoter.view().facts
        where = workers.address(chosen.host, listener.getsockname()[1])
        print(f"Quoting by {facts['name']} ({facts['digest']}) on {where}/quote", flush=True)
    workers.serve(application, listener, chosen)


if __name__ == "__main__":
    main()
