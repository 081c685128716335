"""The entry point: `jtv`, or `python -m jtv_cli`."""

import os
import sys


def main() -> None:
    """Run jtv and exit with its exit code.

    `--version` is answered before anything is imported. In the end everything is written
    and closed, so the process exits at once: tearing down what was imported would take the
    interpreter a tenth of the time of a search.
    """
    try:
        if sys.argv[1:] == ["--version"]:
            from jtv_cli import __version__

            try:
                os.write(1, f"jtv {__version__}\n".encode())
            except OSError:  # `run` says of it what it says of all output
                pass
            else:
                return
        import signal

        # An exception in the middle of an import leaves modules half initialized, which
        # crashes some of them. `run` unblocks the signals when it can handle them.
        if hasattr(signal, "pthread_sigmask"):
            signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
            signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        from jtv_cli.cli.run import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before signals are blocked
        code = 130
    os._exit(code)


if __name__ == "__main__":
    main()
