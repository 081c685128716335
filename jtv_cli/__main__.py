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
        is_starting = _show_start(sys.argv[1:])
        from jtv_cli.cli.run import run

        code = run(sys.argv[1:], is_starting=is_starting)
    except KeyboardInterrupt:  # before signals are blocked
        code = 130
    except (ImportError, MemoryError) as error:
        if isinstance(error, ImportError) and "failed to map segment" not in str(error):
            raise
        os.write(2, b"jtv: error: not enough memory\nhint: raise the limit on memory (ulimit -v)\n")
        code = 71
    os._exit(code)


def _show_start(words: list[str]) -> bool:
    """Show on a terminal that jtv starts, and return whether that was done.

    The imports take longer than the tenth of a second that feels like an answer. Nothing
    is shown with --quiet, nor where help is all that is asked for.
    """
    is_brief = not words or {"-h", "--help", "--quiet", "-q", "completion"} & set(words)
    if is_brief or not os.isatty(2):
        return False
    from jtv_cli.config import is_dumb_terminal

    if is_dumb_terminal():
        return False
    try:
        os.write(2, "starting …".encode())
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
