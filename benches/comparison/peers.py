"""How each store and tool that people use does the same work, and how to get it.

A peer that is a store answers: `make` (an empty one), `add` (a tree, under a number), `verify`, `checkout`, `half` (what
of a tree of two halves one half is let go) and `prune`. Each answer is a command, or what it takes to make one.
"""

import os
import subprocess

HINTS = {
    "openssl": "apt install openssl", "sha256sum": "apt install coreutils", "b3sum": "cargo install b3sum --locked",
    "hashdeep": "apt install hashdeep", "rhash": "apt install rhash", "ostree": "apt install ostree",
    "git": "apt install git", "restic": "apt install restic", "borg": "apt install borgbackup",
    "cp": "apt install coreutils", "strace": "apt install strace",
}


def split(files, parts):
    """Some files in so many parts of about the same size."""
    shares = [[] for _ in range(parts)]
    sizes = [0] * parts
    for path in sorted(files, key=os.path.getsize, reverse=True):
        least = sizes.index(min(sizes))
        shares[least].append(path)
        sizes[least] += os.path.getsize(path)
    return [share for share in shares if share]


def parallel(bench, program, files, processes):
    """Commands that hash files with so many processes of a program, each with its share."""
    commands = []
    for share in split(files, processes):
        path = bench.fresh()
        path.write_bytes(b"\0".join(os.fsencode(str(name)) for name in share))
        commands.append(["xargs", "-0", "-a", str(path), "-n", "10000", *program])
    return commands


class Ostree:
    name = needs = "ostree"
    durable = True
    # Files of root keep their owner in a bare repository; others can only have this other kind with hardlinks.
    mode = "bare" if os.geteuid() == 0 else "bare-user-only"

    def make(self, store):
        return ["ostree", f"--repo={store}", "init", f"--mode={self.mode}"]

    def add(self, store, tree, number=1):
        return ["ostree", f"--repo={store}", "commit", "-b", f"b{number}", f"--tree=dir={tree}", "-s", str(number)]

    def verify(self, store):
        return ["ostree", f"--repo={store}", "fsck", "-q"]

    def checkout(self, store, to):
        user = [] if self.mode == "bare" else ["-U"]
        return ["ostree", f"--repo={store}", "checkout", "-H", *user, "b1", str(to)]

    def let_go(self, store, number):
        return ["ostree", f"--repo={store}", "refs", "--delete", f"b{number}"]

    def prune(self, store):
        return ["ostree", f"--repo={store}", "prune", "--refs-only", "--depth=-1"]


class Git:
    """As durable as git gets without a sync for each object: `core.fsyncMethod=batch`."""

    name, needs, durable = "git", "git", True

    def make(self, store):
        return ["git", "init", "-q", "--bare", str(store)]

    def add(self, store, tree, number=1):
        settings = ["-c", "core.fsync=loose-object", "-c", "core.fsyncMethod=batch", "-c", "core.bare=false"]
        return ["git", "-C", str(tree), *settings, f"--git-dir={store}", f"--work-tree={tree}", "add", "-A", "."]

    def verify(self, store):
        return ["git", f"--git-dir={store}", "fsck", "--full", "--no-dangling", "--no-progress"]


class Restic:
    name = needs = "restic"
    durable = True

    def __init__(self, cache):
        self.words = ["restic", "-q", "--cache-dir", str(cache)]

    def make(self, store):
        return [*self.words, "-r", str(store), "init"]

    def add(self, store, tree, number=1):
        return [*self.words, "-r", str(store), "backup", "--force", str(tree)]

    def verify(self, store):
        return [*self.words, "-r", str(store), "check", "--read-data"]


class Borg:
    name = needs = "borg"
    durable = True

    def make(self, store):
        return ["borg", "init", "-e", "none", str(store)]

    def add(self, store, tree, number=1):
        return ["borg", "create", "--files-cache=disabled", f"{store}::n{number}", str(tree)]

    def verify(self, store):
        return ["borg", "check", "--verify-data", str(store)]


class Cacache:
    """A driver of the crate, with as many threads as there are cores. Nothing is synced."""

    name, needs, durable = "cacache", None, False

    def __init__(self, bench):
        self.program = str(bench.driver("cacache"))

    def make(self, store):
        return ["mkdir", str(store)]

    def add(self, store, tree, number=1):
        return [self.program, "add", str(tree), str(store)]

    def verify(self, store):
        return [self.program, "verify", str(store)]

    def checkout(self, store, to):
        return [self.program, "checkout", str(store), str(to)]


def stores(bench):
    """All of them that are here and wanted."""
    every = [Ostree(), Git(), Restic(bench.scratch / "restic-cache"), Borg(), Cacache(bench)]
    return {peer.name: peer for peer in every if (not peer.needs or bench.has(peer.needs)) and bench.wants_peer(peer.name)}


def environment(scratch):
    """What keeps them from asking, and from writing outside the work directory."""
    return {
        "RESTIC_PASSWORD": "compare", "BORG_BASE_DIR": str(scratch / "borg"), "HOME": str(scratch),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "GIT_CONFIG_NOSYSTEM": "1", "CARGO_TERM_COLOR": "never",
    }


def version(program):
    """What a program says of itself, in one line."""
    flag = {"openssl": "version", "restic": "version", "hashdeep": "-V"}.get(program, "--version")
    try:
        said = subprocess.run([program, flag], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = [line.strip(" '") for line in (said.stdout or said.stderr).splitlines() if line.strip()]
    numbered = [line for line in lines if any(c.isdigit() for c in line)]
    return (numbered or lines or ["unknown"])[0].replace("Version: '", "")


def report(found, missing):
    """Which peers there are, and how to install the others."""
    lines = [f"  {name:10} {path}  {version(name)}" for name, path in sorted(found.items())]
    lines += [f"  {name:10} missing: {HINTS[name]}" for name in sorted(missing)]
    return "\n".join(lines)

