"""What all contests work on: programs, data sets, scratch directories, stores that are kept for several of them."""

import json
import os
import pathlib
import re
import shutil
import subprocess

from . import machine, peers
from .contest import say
from .measure import Failed, Runner

# Bytes that each data set takes at scale 1.
SETS = {"d1": 16 << 28, "d2": 2 << 30, "d3": 1_500_000_000, "d4": 250_000_000}


class Bench:
    """One run of the program."""

    def __init__(self, options, root):
        self.options, self.root = options, root
        self.work = pathlib.Path(options.work or root / "target" / "compare").absolute()
        self.work.mkdir(parents=True, exist_ok=True)
        self.scratch = self.work / f"run-{os.getpid()}"
        self.scratch.mkdir()
        self.runner = Runner(peers.environment(self.scratch))
        self.made, self.kept, self.sums, self.rows, self.flags = 0, {}, {}, [], []
        self.trouble = []
        self.found = {name: path for name in peers.HINTS if (path := shutil.which(name))}
        self.missing = [name for name in peers.HINTS if name not in self.found]
        self.target = root / "target"
        # Where cargo puts what it builds by a profile.
        self.built = "debug" if options.profile in ("dev", "test") else options.profile
        self.larder = self.target / self.built / "larder"

    # Programs

    def build(self):
        """Builds larder and the drivers, as a user would."""
        if self.options.no_build:
            return
        profile = ["--profile", self.options.profile]
        say("building larder and the drivers")
        cargo(self.root, "build", *profile, "--bin", "larder")
        cargo(self.root, "build", *profile, "--manifest-path", str(self.root / "benches" / "peers" / "Cargo.toml"),
              "--target-dir", str(self.target / "peers"))

    def driver(self, name):
        return self.target / "peers" / self.built / name

    def floor(self, *words):
        return [str(self.driver("floor")), *map(str, words)]

    def has(self, program):
        return program in self.found

    def wants_peer(self, name):
        return self.options.peers is None or name in self.options.peers

    def wanted(self, rival):
        """Whether a rival is asked for: floors always, peers where they are not left out."""
        if rival.once and not self.options.all:
            return False
        return rival.is_floor or rival.side.needs is None or self.wants_peer(rival.side.needs)

    def stores(self):
        return peers.stores(self)

    # Data and directories

    def data(self, name):
        """The directory of a data set, which is made when it is first asked for."""
        directory = self.scratch / "data" / name
        if not directory.exists():
            machine.refuse_without_room(self.work, SETS[name] * self.options.scale)
            say(f"making {name}")
            (self.scratch / "data").mkdir(exist_ok=True)
            scale = self.options.scale if name in ("d3", "d4") else self.options.scale * self.options.big
            self.runner.run([self.driver("data"), self.scratch / "data", scale, name])
            os.sync()
        return directory

    def fresh(self):
        """A path at which there is nothing."""
        self.made += 1
        return self.scratch / f"fresh-{self.made}"

    def remove(self, path):
        """Removes a file or tree, and leaves the disk settled for the next turn."""
        if path and os.path.lexists(path):
            subprocess.run(["rm", "-rf", str(path)], check=True)
            os.sync()

    def forget(self, directories):
        machine.forget(*directories)

    def digests(self, name):
        """What `sha256sum` says of each file of a data set: the judge of every store."""
        if name not in self.sums:
            tree = self.data(name)
            names = b"\0".join(os.fsencode(path) for path in machine.files(tree))
            at_once = ["xargs", "-0", "-P", str(os.cpu_count()), "-n", "500", "sha256sum"]
            said = subprocess.run(at_once, input=names, capture_output=True, check=True).stdout.decode()
            lines = (line.split("  ", 1) for line in said.splitlines())
            self.sums[name] = {os.path.relpath(path, tree.parent): digest for digest, path in lines}
        return self.sums[name]

    def lengths(self, lengths):
        """A file with a number in each line, for a floor."""
        path = self.fresh()
        path.write_text("".join(f"{length}\n" for length in lengths))
        return path

    # larder

    def ours(self, store, *words):
        return [str(self.larder), "--store", str(store), "--no-progress", *map(str, words)]

    def can(self, command, option=None):
        """Whether this larder has a command, and an option of it."""
        said = subprocess.run([self.larder, *command.split(), "--help"], capture_output=True, text=True)
        return said.returncode == 0 and (option is None or option in said.stdout)

    def told(self, store, *words, ok=(0,)):
        """The lines of JSON of a command."""
        cost = self.runner.run(self.ours(store, "--json", *words), ok=ok)
        return [json.loads(line) for line in cost.output.splitlines()]

    def init(self):
        """A new store."""
        store = self.fresh()
        self.runner.run(self.ours(store, "init"))
        return store

    def added(self, name, *options):
        """A store with a data set, made once and kept."""
        key = ("larder", name, options)
        if key not in self.kept:
            store = self.init()
            self.runner.run(self.ours(store, "-q", "add", *options, self.data(name)))
            self.check_added(store, name)
            os.sync()
            self.kept[key] = store
        return self.kept[key]

    def check_added(self, store, name):
        """Every file of a data set has its name, with the digest that `sha256sum` says."""
        wanted = self.digests(name)
        found = {line["name"]: line["digest"].removeprefix("sha256:")
                 for line in self.told(store, "ls", name) if line["event"] == "name"}
        if found != wanted:
            raise Failed(f"of {len(wanted)} names {sum(found.get(n) != d for n, d in wanted.items())} are wrong")

    def peer_with(self, peer, name):
        """A peer's store with a data set, made once and kept."""
        key = (peer.name, name)
        if key not in self.kept:
            self.kept[key] = self.peer_store(peer)
            self.runner.run(peer.add(self.kept[key], self.data(name)))
            os.sync()
        return self.kept[key]

    def peer_store(self, peer):
        """An empty store of a peer."""
        store = self.fresh()
        self.runner.run(peer.make(store))
        return store

    def release(self, needed):
        """Removes what is kept of data sets that nobody needs any more."""
        for name in SETS:
            if name not in needed:
                for key in [key for key in self.kept if name in key]:
                    self.remove(self.kept.pop(key))
                self.remove(self.scratch / "data" / name)

    def drop(self, peers, name):
        """Removes the stores of some peers with a data set."""
        for peer in peers:
            self.remove(self.kept.pop((peer, name), None))

    def distinct(self, name):
        return len(set(self.digests(name).values()))

    def close(self):
        """Ends what runs, and removes everything."""
        self.runner.stop()
        if not self.options.keep:
            subprocess.run(["rm", "-rf", str(self.scratch)])
        elif self.scratch.exists():
            say(f"kept: {self.scratch}")
        if self.work == self.root / "target" / "compare" and not any(self.work.iterdir()):
            self.work.rmdir()


def cargo(root, *words):
    done = subprocess.run(["cargo", *words], cwd=root)
    if done.returncode != 0:
        raise SystemExit(f"compare: cargo {words[0]} failed")


def counted(pattern, text):
    """The number in a text."""
    found = re.search(pattern, text)
    if not found:
        raise Failed(f"nothing like {pattern!r} in: {text.strip()[-200:]}")
    return int(found[1])


def size(directory, *below):
    """Bytes that some directories take on the disk."""
    total = 0
    for part in below or [""]:
        top = os.path.join(directory, part)
        total += sum(os.lstat(path).st_blocks * 512 for path in machine.files(top))
    return total
