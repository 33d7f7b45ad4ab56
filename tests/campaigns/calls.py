#!/usr/bin/env python3
"""Kills the program at every system call of every command, or lets every call fail, and looks at what is left.

    cargo build && tests/campaigns/calls.py kill          # SIGKILL just before the n-th call, for every n
    cargo build && tests/campaigns/calls.py fail          # the n-th call fails, for every n and every plausible errno
    tests/campaigns/calls.py fail --only add --calls fsync,linkat

Needs Linux, strace and Python 3, nothing else; root is not needed. Work happens below --dir (default: /dev/shm, where
nothing waits for a disk; calls are the same everywhere). Both together take about half an hour on two cores; --seconds
bounds each, --most bounds the points of one kind of call. Ends with 1 if a promise was broken, and says how to see it
again: each report is a line that names the scenario, the call, its number and the errno.

What is checked after each run, with a program that is left in peace:
  * the exit code is one that is documented, nothing panicked or hung, and what failed is said in words;
  * every line that was printed is true: added names are there with their bytes, removed ones are gone;
  * every name from before is there with its bytes, or (if the command is about it) in one of its two states;
  * a source that was to be moved is there with its bytes, or its name is in the store; foreign files are untouched;
  * a file that was being made is the old one, or the new one, or (only where there was none) not there;
  * every entry of the catalog is as it was before, or as the command makes it, with all of its variants;
  * verify finds nothing; the command, given again, ends well; then names/ and sha256/ hold what the records say, and
    after gc nothing is staged.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
CHANGING = (
    "openat,openat2,write,pwrite64,pwritev,fsync,fdatasync,syncfs,sync_file_range,link,linkat,symlink,symlinkat,rename,renameat,"
    "renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,flock,fcntl,fchmod,chmod,fchmodat,ftruncate,truncate,fallocate,"
    "utimensat,ioctl,copy_file_range,sendfile,exit_group"
).split(",")
# What a kernel may answer, once or from then on.
ERRORS = {
    "openat": ["EIO", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENOSPC", "EDQUOT", "EROFS", "EINTR", "ENOENT"],
    "openat2": ["EIO", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENOSPC", "EDQUOT", "EROFS", "EINTR"],
    "read": ["EIO", "EINTR"],
    "pread64": ["EIO", "EINTR"],
    "getdents64": ["EIO"],
    "statx": ["EIO", "EACCES"],
    "newfstatat": ["EIO", "EACCES"],
    "fstat": ["EIO"],
    "lseek": ["EIO"],
    "write": ["ENOSPC", "EDQUOT", "EIO", "EINTR"],
    "pwrite64": ["ENOSPC", "EIO", "EDQUOT", "EINTR", "EFBIG"],
    "fsync": ["EIO", "ENOSPC", "EDQUOT", "EINTR", "EROFS"],
    "fdatasync": ["EIO", "ENOSPC", "EDQUOT", "EINTR"],
    "syncfs": ["EIO", "ENOSPC", "EDQUOT"],
    "sync_file_range": ["EIO"],
    "linkat": ["EMLINK", "EXDEV", "EPERM", "EACCES", "ENOSPC", "EIO", "EROFS", "EDQUOT"],
    "link": ["EMLINK", "EXDEV", "EPERM", "EACCES", "ENOSPC", "EIO", "EROFS", "EDQUOT"],
    "symlinkat": ["EPERM", "EACCES", "EIO", "ENOSPC", "EDQUOT", "EROFS"],
    "symlink": ["EPERM", "EACCES", "EIO", "ENOSPC", "EDQUOT", "EROFS"],
    "rename": ["EIO", "ENOSPC", "EDQUOT", "EACCES", "EPERM", "EXDEV", "EROFS"],
    "renameat": ["EIO", "ENOSPC", "EDQUOT", "EACCES", "EPERM", "EXDEV", "EROFS"],
    "renameat2": ["EIO", "ENOSPC", "EDQUOT", "EACCES", "EPERM", "EINVAL", "EROFS"],
    "unlink": ["EIO", "EACCES", "EPERM", "EROFS"],
    "unlinkat": ["EIO", "EACCES", "EPERM", "EROFS"],
    "rmdir": ["EIO", "ENOTEMPTY"],
    "mkdir": ["ENOSPC", "EIO", "EACCES", "EPERM", "EROFS", "EDQUOT", "EMLINK"],
    "mkdirat": ["ENOSPC", "EIO", "EACCES", "EPERM", "EROFS", "EDQUOT", "EMLINK"],
    "flock": ["EIO", "ENOLCK", "EINTR"],
    "fcntl": ["EAGAIN", "EINVAL", "EIO", "ENOLCK"],
    "fchmod": ["EPERM", "EIO", "EROFS"],
    "chmod": ["EPERM"],
    "fchmodat": ["EPERM"],
    "ftruncate": ["EIO", "ENOSPC", "EINTR", "EPERM"],
    "fallocate": ["ENOSPC", "EDQUOT", "EOPNOTSUPP", "EIO", "EINTR"],
    "utimensat": ["EPERM", "EACCES", "EIO", "EROFS"],
    "ioctl": ["EOPNOTSUPP", "EIO", "ENOSPC", "EDQUOT"],
    "statfs": ["EIO", "EACCES", "EINTR"],
    "copy_file_range": ["EXDEV", "EIO"],
    "readlink": ["EIO", "EACCES"],
    "mmap": ["ENOMEM", "EAGAIN"],
    "madvise": ["EFAULT", "EINVAL"],
    "clone3": ["EAGAIN"],
}
# An interruption that never ends is none.
PASSING = ("EINTR",)
LIMIT = 60


def noise(seed, size):
    out = b""
    n = 0
    while len(out) < size:
        out += hashlib.sha256(f"{seed}/{n}".encode()).digest()
        n += 1
    return out[:size]


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Broken(Exception):
    """A promise that was not kept."""


class Place:
    """A directory with a store, sources, and an account of what must be there."""
    # With one thread, the n-th call is the same one each time.
    jobs = 1

    def __init__(self, root, program):
        self.root = pathlib.Path(root)
        self.program = program
        self.store = self.root / "store"
        self.env = {"LARDER_STORE": str(self.store), "HOME": str(self.root), "PATH": "/usr/bin:/bin"}

    def write(self, path, data, mode=0o644):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def run(self, *args, input=None, trace=None):
        words = [self.program, "--json", "--jobs", str(self.jobs), "--lock-timeout", "10s", *args]
        if trace:
            words = ["strace", "-f", "-qq", "-o", *trace, *words]
        try:
            done = subprocess.run(words, cwd=self.root, env=self.env, input=input if input is not None else b"",
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise Broken(f"it hangs: {args}")
        return done

    def lines(self, done):
        found = []
        for text in done.stdout.split(b"\n")[:-1]:  # what follows the last line feed was cut off by the kill
            value = json.loads(text)
            if value.get("schema") != 1:
                raise Broken(f"a line without its schema: {text!r}")
            found.append(value)
        return found

    def good(self, *args, codes=(0,)):
        done = self.run(*args)
        if done.returncode not in codes:
            raise Broken(f"afterwards, {' '.join(args)} ends with {done.returncode}: {done.stderr.decode()} {done.stdout.decode()[:600]}")
        return done

    def cat(self, name):
        done = self.run("cat", name)
        if done.returncode != 0:
            raise Broken(f"cat {name} ends with {done.returncode}: {done.stderr.decode()}")
        return done.stdout

    def names(self):
        done = self.good("ls", codes=(0,))
        return {line["name"]: line for line in self.lines(done) if line["event"] == "name"}

    def entries(self):
        """Key to state (or `trashed`) and the digests of all variants by their names."""
        found = {}
        for words in (["search"], ["search", "--trashed"]):
            for line in self.lines(self.good(*words)):
                if line["event"] == "entry":
                    variants = {one["name"]: one["digest"] for one in line["variants"]}
                    found[line["key"]] = ("trashed" if line["trashed_at"] else line["state"], variants)
        return found

    def mends(self):
        """Whether this program can mend what it knows of."""
        return b"--repair" in self.run("check", "--help").stdout


# A scenario: what is there, the command, what is there afterwards. `before` and `after` map names to bytes.
class Scenario:
    def __init__(self, name, args, before, after, files=None, setup=None, moved=None, made=None, input=None, codes=(0,),
                 again=(0,), first=None, catalog=None, absent=()):
        self.name, self.args, self.before, self.after = name, args, before, after
        self.files, self.setup, self.moved, self.made = files or {}, setup, moved or {}, made or {}
        self.input, self.codes, self.again, self.first = input, codes, again, first
        # Entries before and after, as Place.entries tells them.
        self.catalog = catalog
        # Names that `setup` takes away and the command may give back.
        self.absent = absent

    def prepare(self, root, program):
        place = Place(root, program)
        if self.before is not None:
            place.good("init")
            for path, data in self.before.items():
                source = place.write("seed/" + path, data)
                place.good("add", str(source), "--name", path)
            (place.store / "names" / "foreign").write_bytes(b"not larder's")
        for path, (data, mode) in self.files.items():
            place.write(path, data, mode)
        if self.setup:
            self.setup(place)
        return place


BIG = noise("big", 300_000)
HUGE = noise("huge", 1_500_000)
OLD = {"keep/a": b"kept one", "keep/b": BIG, "keep/c": b"kept three", "twin/1": b"twin", "twin/2": b"twin"}
TREE = {
    "tree/new": (b"a new file", 0o644),
    "tree/empty": (b"", 0o644),
    "tree/known": (b"kept one", 0o644),
    "tree/sub/big": (HUGE, 0o755),
    "tree/sub/twice": (b"a new file", 0o600),
}
ADDED = {path: data for path, (data, _) in TREE.items()}


def flip(place):
    """Damages the blob of keep/b where no stamp tells."""
    path = place.store / "sha256" / sha(BIG)[7:9] / sha(BIG)[9:]
    stat = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(bytes(data))
    path.chmod(stat.st_mode & 0o777)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def removed(*names):
    def setup(place):
        place.good("rm", *names)
    return setup


def unlinked(place):
    (place.store / "names" / "keep" / "b").unlink()


def without_journal(place):
    for directory in ("journal", "index"):
        for path in (place.store / directory).iterdir():
            path.unlink()


def checked_out(place):
    place.good("checkout", "keep", "out", "--mode", "hardlink")


def registered(*pairs):
    """Models that have what the store keeps under these names."""
    def setup(place):
        for key, name in pairs:
            place.good("register", key, "--blob", name)
    return setup


def trashed(key, name):
    def setup(place):
        registered((key, name))(place)
        place.good("trash", key)
    return setup


def of(state, **variants):
    return (state, {name.replace("whole", ""): sha(data) for name, data in variants.items()})


MANIFEST = "".join(
    json.dumps({"artifact_id": name, "resolver": "r", "path": f"d/{name}", "sha256": sha(data)[7:].upper()}) + "\n"
    for name, data in (("p", b"one"), ("q", BIG + b"q"))
).encode() + b"{bad\n"


# What begins with a bad blob.
DAMAGED = ("heal", "heal-move", "quarantine", "repair")


def scenarios():
    without = lambda *gone: {n: d for n, d in OLD.items() if n not in gone}
    yield Scenario("init", ["init"], None, {})
    yield Scenario("first-add", ["add", "tree"], None, ADDED, files=TREE)
    yield Scenario("add", ["add", "tree"], OLD, {**OLD, **ADDED}, files=TREE)
    yield Scenario("add-counted", ["add", "tree", "--alias", "counted"], OLD, {**OLD, **ADDED}, files=TREE)
    yield Scenario("add-stdin", ["add", "-", "--name", "in"], OLD, {**OLD, "in": BIG + b"x"}, input=BIG + b"x")
    yield Scenario("add-move", ["add", "--move", "tree"], OLD, {**OLD, **ADDED}, files=TREE, again=(0, 3),
                   moved={path: data for path, (data, _) in TREE.items()})
    yield Scenario("add-link", ["add", "--link", "tree"], OLD, {**OLD, **ADDED}, files=TREE,
                   moved={path: data for path, (data, _) in TREE.items()})
    yield Scenario("add-replace", ["add", "new", "--name", "keep/b", "--replace"], OLD, {**OLD, "keep/b": b"other"},
                   files={"new": (b"other", 0o644)})
    yield Scenario("heal", ["add", "again", "--name", "keep/again", "--verify-existing"], {**OLD},
                   {**OLD, "keep/again": BIG}, files={"again": (BIG, 0o644)}, setup=flip)
    yield Scenario("heal-move", ["add", "again", "--name", "keep/again", "--move"], {**OLD},
                   {**OLD, "keep/again": BIG}, files={"again": (BIG, 0o644)}, setup=flip, moved={"again": BIG}, again=(0, 3))
    yield Scenario("quarantine", ["verify", "--quarantine"], OLD, without("keep/b"), setup=flip, codes=(3,), again=(3,))
    yield Scenario("rm", ["rm", "keep", "twin/1"], OLD, {"twin/2": b"twin"}, again=(0, 1))
    yield Scenario("unlink", ["unlink", "twin/1"], OLD, without("twin/1"), again=(0, 1))
    yield Scenario("mv", ["mv", "keep/b", "moved/to/b"], OLD, {**without("keep/b"), "moved/to/b": BIG}, again=(0, 1))
    yield Scenario("mv-replace", ["mv", "keep/b", "keep/a", "--replace"], OLD, {**without("keep/b"), "keep/a": BIG}, again=(0, 1))
    yield Scenario("link", ["link", "keep/b", "linked/b"], OLD, {**OLD, "linked/b": BIG})
    yield Scenario("pin", ["pin", "keep/b", "--note", "n"], OLD, OLD)
    yield Scenario("unpin", ["unpin", "keep/b"], OLD, OLD, setup=lambda place: place.good("pin", "keep/b"), again=(0, 1))
    yield Scenario("gc", ["gc", "--grace", "0s"], OLD, without("keep/b", "keep/c"), setup=removed("keep/b", "keep/c"))
    yield Scenario("compact", ["compact"], OLD, OLD)
    yield Scenario("rebuild", ["rebuild"], OLD, OLD)
    made = {"out/" + n: OLD["keep/" + n] for n in "abc"}
    yield Scenario("checkout", ["checkout", "keep", "out"], OLD, OLD, made=made)
    yield Scenario("checkout-copy", ["checkout", "keep", "out", "--mode", "copy"], OLD, OLD, made=made)
    yield Scenario("checkout-replace", ["checkout", "keep", "out", "--replace"], OLD, OLD, made=made,
                   files={"out/b": (b"in the way", 0o644), "out/mine": (b"foreign", 0o644)})
    yield Scenario("get-replace", ["get", "keep/b", "got", "--replace"], OLD, OLD, made={"got": BIG},
                   files={"got": (b"in the way", 0o644)})
    yield Scenario("get", ["get", "keep/b", "got"], OLD, OLD, made={"got": BIG}, again=(0, 1))
    yield Scenario("unlock", ["unlock", "out/b"], OLD, OLD, made={"out/b": BIG}, setup=checked_out, again=(0, 1))
    yield Scenario("lease", ["lease", "keep", "--", "true"], OLD, OLD)
    yield Scenario("copies", ["copies", "2", "keep"], OLD, OLD)
    yield Scenario("copies-fewer", ["copies", "1", "keep"], OLD, OLD, setup=lambda place: place.good("copies", "3", "keep"))
    yield Scenario("repair", ["repair", "--all"], OLD, OLD, setup=flip, again=(0, 3))
    # The foreign file in names/ is a finding that stays.
    yield Scenario("check-repair", ["check", "--repair"], OLD, OLD, setup=unlinked, codes=(0, 3), again=(0, 3))
    yield Scenario("from-disk", ["rebuild", "--from-disk"], OLD, OLD, setup=without_journal, codes=(0, 3), again=(0, 3, 5),
                   first=(0, 3, 5))
    b = {"model:l/b": of("pending", whole=BIG)}
    gone = {"model:l/b": of("trashed", whole=BIG)}
    setup = registered(("model:l/b", "keep/b"))
    variants = {path[5:]: data for path, data in ADDED.items()}
    yield Scenario("register", ["register", "model:l/m", "tree"], OLD,
                   {**OLD, **{"l/m/" + path: data for path, data in variants.items()}}, files=TREE,
                   catalog=({}, {"model:l/m": ("active", {path: sha(data) for path, data in variants.items()})}))
    yield Scenario("finalise", ["finalise", "tmp", "--artifact", "x", "--name", "fin/x"], OLD, {**OLD, "fin/x": HUGE},
                   files={"tmp": (HUGE, 0o644)}, moved={"tmp": HUGE}, again=(0, 1),
                   catalog=({}, {"document:x": of("active", whole=HUGE)}))
    yield Scenario("import", ["import-manifest", "m.jsonl", "--adopt", "--copy"], OLD,
                   {**OLD, "p/p": b"one", "q/q": BIG + b"q"}, codes=(3,), again=(3,),
                   files={"m.jsonl": (MANIFEST, 0o644), "d/p": (b"one", 0o644), "d/q": (BIG + b"q", 0o644)},
                   catalog=({}, {"document:p": of("active", whole=b"one"), "document:q": of("active", whole=BIG + b"q")}))
    yield Scenario("verify-entry", ["verify", "model:l/b"], OLD, OLD, setup=setup,
                   catalog=(b, {"model:l/b": of("active", whole=BIG)}))
    yield Scenario("set-state", ["set-state", "model:l/b", "retired"], OLD, OLD, setup=setup,
                   catalog=(b, {"model:l/b": of("retired", whole=BIG)}))
    yield Scenario("forget", ["forget", "model:l/b"], OLD, OLD, setup=setup, again=(0, 1), catalog=(b, {}))
    yield Scenario("delete", ["delete", "model:l/b"], OLD, without("keep/b"), setup=setup, again=(0, 1), catalog=(b, gone))
    yield Scenario("delete-now", ["delete", "model:l/b", "--now"], OLD, without("keep/b"), setup=setup, again=(0, 1),
                   catalog=(b, {}))
    # What it was killed over is without a root and in its grace: the goal is out of reach until that is over.
    yield Scenario("evict", ["evict", "--max-size", "1kB"], OLD, without("keep/b"), setup=setup, again=(0, 3),
                   catalog=(b, {}))
    yield Scenario("undelete", ["undelete", "model:l/b"], without("keep/a"), without("keep/a"), again=(0, 1),
                   setup=trashed("model:l/b", "keep/b"), catalog=(gone, b), absent=("keep/b",))
    yield Scenario("trash-empty", ["trash", "empty"], OLD, without("keep/b"), setup=trashed("model:l/b", "keep/b"),
                   catalog=(gone, {}))
    yield Scenario("retention", ["retention", "--keep-last", "1"], OLD, without("keep/b"),
                   setup=registered(("model:l/v@1", "keep/b"), ("model:l/v@2", "keep/c")),
                   catalog=({"model:l/v@1": of("pending", whole=BIG), "model:l/v@2": of("pending", whole=b"kept three")},
                            {"model:l/v@1": of("trashed", whole=BIG), "model:l/v@2": of("pending", whole=b"kept three")}))
    yield Scenario("verify", ["verify"], OLD, OLD)
    yield Scenario("check", ["check"], OLD, OLD, codes=(3,), again=(3,))
    yield Scenario("doctor", ["doctor"], OLD, OLD, codes=(0, 3), again=(0, 3))


def whole(scenario, place, finished):
    """No entry is half of what it was or is to be."""
    before, after = scenario.catalog
    found = place.entries()
    for key in found.keys() | before.keys() | after.keys():
        if found.get(key) not in (before.get(key), after.get(key)):
            raise Broken(f"{key} is neither as it was nor as it is to be: {found.get(key)}")
    if finished and found != after:
        raise Broken(f"it ended well, and the entries are others: {found}")


def judge(scenario, place, done, killed, mute, inject):
    """Everything that must be so after `done`; raises Broken."""
    lines = place.lines(done)
    words = done.stderr.decode(errors="replace")
    if "panicked" in words or done.returncode == 101 or "bug in larder" in words:
        raise Broken(f"a panic: {words}")
    if not killed and done.returncode not in (0, 1, 2, 3, 4, 5):
        raise Broken(f"exit code {done.returncode}: {words}")
    if not killed and done.returncode == 2:
        raise Broken(f"a failing call is no wrong usage: {words}")
    if not killed and done.returncode not in scenario.codes:
        told = words + done.stdout.decode(errors="replace")
        if not mute and not re.search(r"cannot .*|unreadable|missing", told):
            raise Broken(f"exit code {done.returncode} without a reason in words: {told!r}")
    if scenario.first:
        # Without it nothing can be read: what it left is looked at once it has come to its end.
        place.good(*scenario.args, codes=scenario.first)
    exists = (place.store / "larder.toml").exists()
    before, after = scenario.before or {}, scenario.after
    acknowledged = {line["name"]: line for line in lines if line["event"] == "added"}
    gone = {line["name"] for line in lines if line["event"] in ("removed", "unlinked") and "name" in line}
    gone |= {line["from"] for line in lines if line["event"] == "renamed"}
    if not exists:
        if before or acknowledged:
            raise Broken("the store is gone")
    else:
        names = place.names()
        for name, line in acknowledged.items():
            if name not in names or names[name]["digest"] != line["digest"]:
                raise Broken(f"{name} was told as added and is not there: {sorted(names)}")
            if place.cat(name) != after[name]:
                raise Broken(f"{name} was told as added and has other bytes")
        for name in gone & names.keys():
            if name not in after:
                raise Broken(f"{name} was told as gone and is there")
        for name, data in before.items():
            keeps = after.get(name) == data
            if name in names:
                if scenario.name in DAMAGED and data == BIG:
                    continue
                if place.cat(name) not in (data, after.get(name)):
                    raise Broken(f"{name} has bytes that it never had")
            elif keeps and name not in scenario.absent:
                raise Broken(f"{name} is gone")
        for name in names:
            if name not in before and name not in after:
                raise Broken(f"{name} came from nowhere")
        if scenario.name not in DAMAGED:
            place.good("verify")
            if not killed and done.returncode == 0 and names.keys() != after.keys():
                raise Broken(f"it ended well, and not all is done: {sorted(names.keys() ^ after.keys())}")
        if scenario.catalog:
            # With findings it may have told that something could not be done.
            whole(scenario, place, not killed and done.returncode == 0)
        for path, data in scenario.moved.items():
            source = place.root / path
            name = scenario.args[scenario.args.index("--name") + 1] if "--name" in scenario.args else path
            if not source.exists():
                if name not in names or place.cat(name) != data:
                    raise Broken(f"the source {path} is gone and {name} is not kept")
            elif source.read_bytes() != data:
                raise Broken(f"the source {path} has other bytes")
            elif not killed and name not in acknowledged:
                mode = source.stat().st_mode & 0o7777
                # A frame whose outcome is unknown may still be finished: then the source stays a name of the blob. And
                # where nothing can be opened or changed any more, nothing can be given back.
                never = "chmod" in inject or re.match(r"openat:.*[+]$", inject)
                if mode != scenario.files[path][1] and name not in names and not never:
                    raise Broken(f"the source {path} was not kept and has mode {mode:o} all the same")
    for path, (data, mode) in scenario.files.items():
        if path not in scenario.moved and path not in scenario.made and (place.root / path).read_bytes() != data:
            raise Broken(f"the foreign file {path} was touched")
    for path, data in scenario.made.items():
        out = place.root / path
        was = scenario.files.get(path, (None,))[0]
        if not out.exists():
            if was is not None:
                raise Broken(f"{path} was there, and now it is not")
            if not killed and done.returncode == 0:
                raise Broken(f"it ended well without making {path}")
        elif out.read_bytes() not in (data, was):
            raise Broken(f"{path} is neither the old nor the new file")
    for line in lines:
        if line["event"] == "materialized":
            path = pathlib.Path(line["path"])
            path = path if path.is_absolute() else place.root / path
            if not path.exists() or path.read_bytes() not in scenario.made.values():
                raise Broken(f"{path} was told as made and is not")
    # It all goes on, with no step by hand.
    done = place.run(*scenario.args, input=scenario.input)
    if done.returncode not in scenario.again:
        raise Broken(f"the same again ends with {done.returncode}: {done.stderr.decode()} {done.stdout.decode()[-800:]}")
    if scenario.catalog and place.entries() != scenario.catalog[1]:
        raise Broken(f"the same again leaves other entries: {place.entries()}")
    names = place.names()
    if names.keys() != (after.keys() if scenario.name != "quarantine" else before.keys()):
        raise Broken(f"the same again leaves other names: {sorted(names.keys() ^ after.keys())}")
    for name, data in after.items():
        if place.cat(name) != data:
            raise Broken(f"the same again leaves other bytes in {name}")
    for path, data in scenario.made.items():
        if (place.root / path).read_bytes() != data:
            raise Broken(f"the same again leaves {path} as it was")
    if scenario.name == "quarantine":
        return
    place.good("verify")
    place.good("gc", "--grace", "0s", "--orphan-ttl", "0s")
    place.good("gc", "--grace", "0s", "--orphan-ttl", "0s")
    place.good("verify")
    names = place.names()
    told = next(line for line in place.lines(place.good("stats")) if line["event"] == "stats")["findings"]
    if told and not killed:
        # A name that could not be applied is a finding on record, and stays one until it is mended.
        if not place.mends():
            return
        place.good("check", "--repair", codes=(0, 3))
        # The file that was put into names/ is no concern of a repair.
        found = [line for line in place.lines(place.good("check", codes=(0, 3))) if line["event"] == "finding"]
        found = [line for line in found if line["path"] != "names/foreign"]
        if found:
            raise Broken(f"check --repair leaves {found}")
        if place.names().keys() != after.keys():
            raise Broken(f"check --repair leaves other names: {sorted(place.names().keys() ^ after.keys())}")
        # What a name that was taken away alone held has become a blob again, whose grace has begun.
        place.good("gc", "--grace", "0s", "--orphan-ttl", "0s")
    staged = [str(p) for p in (place.store / "staging").rglob("*")]
    if staged:
        raise Broken(f"staging holds {staged}")
    blobs = {p.parent.name + p.name for p in (place.store / "sha256").rglob("*") if p.is_file()}
    kept = {line["digest"][7:] for line in names.values()}
    kept |= {digest[7:] for _, variants in place.entries().values() for digest in variants.values() if digest}
    if blobs != kept:
        raise Broken(f"sha256/ holds {blobs - kept} too much and lacks {kept - blobs}")
    files = {str(p.relative_to(place.store / "names")) for p in (place.store / "names").rglob("*") if not p.is_dir()}
    hard = {name for name, line in names.items() if line["alias"] == "hardlinked"}
    if before and "foreign" not in files:
        raise Broken("the foreign file in names/ is gone")
    if files - {"foreign"} - hard:
        raise Broken(f"names/ holds {files - {'foreign'} - hard} too much")
    counted = hard - files
    if counted and killed:
        raise Broken(f"names/ lacks {counted}")
    for path, data in scenario.before.items() if scenario.before else ():
        if (place.root / "seed" / path).read_bytes() != data:
            raise Broken(f"the foreign file seed/{path} was touched")


def calls(scenario, base, program):
    """The calls of the undisturbed command: kind -> the numbers that concern files of ours."""
    root = tempfile.mkdtemp(dir=base)
    try:
        place = scenario.prepare(root, program)
        log = os.path.join(base, f"trace-{scenario.name}")
        done = place.run(*scenario.args, input=scenario.input, trace=[log, "-y", "-s", "0"])
        if done.returncode not in scenario.codes:
            raise SystemExit(f"{scenario.name} does not even work undisturbed: {done.returncode} {done.stderr.decode()}")
        counts = collections.defaultdict(collections.Counter)
        ours = collections.defaultdict(list)
        for text in open(log, errors="replace"):
            match = re.match(r"(\d+)\s+(\w+)\((.*)", text)
            if not match:
                continue
            thread, call, rest = match.groups()
            counts[call][thread] += 1
            rest = re.sub(r"AT_FDCWD<[^>]*>", "", rest)
            if root in rest or call in ("write", "exit_group", "clone3"):
                ours[call].append(counts[call][thread])
        os.unlink(log)
        return {call: sorted(set(numbers)) for call, numbers in ours.items()}
    finally:
        shutil.rmtree(root, ignore_errors=True)


def thin(numbers, most):
    if len(numbers) <= most:
        return numbers
    if most <= 1:
        return numbers[:most]
    step = (len(numbers) - 1) / (most - 1)
    return sorted({numbers[round(i * step)] for i in range(most)})


def attempt(scenario, inject, killed, base, program, keep):
    root = tempfile.mkdtemp(dir=base)
    fine = False
    try:
        place = scenario.prepare(root, program)
        done = place.run(*scenario.args, input=scenario.input, trace=["/dev/null", "-e", "inject=" + inject])
        # Where nothing can be written any more, nothing can be said, either.
        mute = inject.startswith("write:") and inject.endswith("+")
        judge(scenario, place, done, killed and done.returncode not in (0, 1, 3), mute, inject)
        fine = True
        return None, done.returncode
    except Broken as broken:
        return f"{scenario.name}: {inject}: {broken}" + (f" [{root}]" if keep else ""), None
    except subprocess.SubprocessError as error:
        return f"{scenario.name}: {inject}: {error}", None
    finally:
        if fine or not keep:
            shutil.rmtree(root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kill", "fail"])
    parser.add_argument("--program", default=str(HERE.parent.parent / "target" / "debug" / "larder"))
    parser.add_argument("--dir", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--only", help="scenarios, with commas between")
    parser.add_argument("--calls", help="kinds of calls, with commas between")
    parser.add_argument("--jobs", type=int, default=1, help="threads of each command: two, to have `--calls clone3` fail")
    parser.add_argument("--most", type=int, default=40, help="points of one kind of call in one scenario")
    parser.add_argument("--lasting", type=int, default=6, help="points of one kind of call and errno that fail from then on")
    parser.add_argument("--points", help="exactly these, with semicolons between, as a report names them: call:error=EIO:when=3")
    parser.add_argument("--seed", type=int, default=1, help="of the order, which matters when --seconds ends it early")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--keep", action="store_true", help="leave the places where something broke")
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    Place.jobs = options.jobs
    base = tempfile.mkdtemp(prefix="larder-calls-", dir=options.dir)
    started = time.monotonic()
    only = options.only and options.only.split(",")
    kinds = options.calls and options.calls.split(",")
    work = []
    try:
        for scenario in scenarios():
            if only and scenario.name not in only:
                continue
            if options.points:
                work += [(scenario, point, "signal=" in point) for point in options.points.split(";")]
                continue
            for call, numbers in sorted(calls(scenario, base, program).items()):
                if kinds and call not in kinds:
                    continue
                if options.what == "kill" and call in CHANGING:
                    work += [(scenario, f"{call}:signal=KILL:when={n}", True) for n in thin(numbers, options.most)]
                elif options.what == "fail" and call in ERRORS:
                    for errno in ERRORS[call]:
                        once = [(scenario, f"{call}:error={errno}:when={n}", False) for n in thin(numbers, options.most)]
                        lasting = thin(numbers, options.lasting) if errno not in PASSING else []
                        work += once + [(scenario, f"{call}:error={errno}:when={n}+", False) for n in lasting]
        random.Random(options.seed).shuffle(work)
        broken, codes, ran = [], collections.Counter(), 0
        lock = threading.Lock()
        with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
            def one(item):
                nonlocal ran
                if time.monotonic() - started > options.seconds:
                    return
                bad, code = attempt(*item, base, program, options.keep)
                with lock:
                    ran += 1
                    codes[code] += 1
                    if ran % 1000 == 0:
                        print(f"{ran} of {len(work)} points, {len(broken)} broken", flush=True)
                    if bad:
                        broken.append(bad)
                        print("BROKEN", bad, flush=True)
            list(pool.map(one, work))
        print(f"{options.what}: {ran} of {len(work)} points, {len(broken)} broken, exit codes {dict(codes)}, "
              f"{time.monotonic() - started:.0f} s")
        return 1 if broken else 0
    finally:
        if not options.keep:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
