"""Sides that several contests have."""

import os
import pathlib

from . import peers
from .contest import Side


def floor_side(bench, name, *words, make=None, after=(), clean=None, cold=None, writes=False):
    """A floor: `words` for the program, then what was made, then the options."""
    return Side(
        name, lambda made: bench.floor(*words, *([made] if made else []), *after), make=make or (lambda: None),
        clean=clean or (lambda made: None), own=True, cold=cold, writes=writes)


def directory(bench):
    path = bench.fresh()
    path.mkdir()
    return path


def missing(goal, work, what):
    """A row for what this larder cannot do."""
    return {"goal": goal, "work": work, "rival": what, "is_floor": False, "bound": "", "ratio": None, "least": None,
            "most": None, "pairs": 0, "met": None, "ours": {}, "theirs": {}, "note": "not built", "unit": ""}


def files_of(*directories):
    return sorted(path for top in directories for path in pathlib.Path(top).rglob("*") if path.is_file())


def hashers(bench, files):
    """Programs that hash files, two processes of those that use one core."""
    def two(name, *program):
        commands = peers.parallel(bench, program, files, 2)
        return Side(f"{name} × 2", lambda _: commands, needs=program[0])

    names = bench.fresh()
    names.write_bytes(b"\0".join(os.fsencode(str(path)) for path in files))
    read = ["xargs", "-0", "-a", str(names), "-n", "10000"]
    return {
        "openssl": two("openssl", "openssl", "dgst", "-sha256"),
        "sha256sum": two("sha256sum", "sha256sum"),
        "rhash": two("rhash", "rhash", "--sha256"),
        "one sha256sum": Side("sha256sum, one process", lambda _: [*read, "sha256sum"], needs="sha256sum"),
        "hashdeep": Side("hashdeep -j2", lambda _: [*read, "hashdeep", "-c", "sha256", "-j2"], needs="hashdeep"),
        "b3sum": Side("b3sum", lambda _: [*read, "b3sum"], needs="b3sum"),
    }
