"""The way in: `jtv`, or `python -m jtv_cli`."""

import os
import sys


def main() -> None:
    """Run jtv and leave with its exit code.

    `--version` is answered before anything is imported. By the end everything is
    written and closed, so that the process can leave at once: to take down what was
    imported would take the interpreter a tenth of the time of a search.
    """
    if sys.argv[1:] == ["--version"]:
        from jtv_cli import __version__

        try:
            os.write(1, f"jtv {__version__}\n".encode())
        except OSError:  # `run` says of it what it says of all output
            pass
        else:
            return
    try:
        from jtv_cli.cli.run import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before `run` could see to it
        code = 130
    os._exit(code)


if __name__ == "__main__":
    main()
