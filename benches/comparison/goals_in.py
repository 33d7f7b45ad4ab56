"""The contests about files that are taken in: P1 to P4."""

import os
import shutil

from .contest import Contest, Rival, Side
from .measure import Failed
from .sides import directory, files_of, floor_side, hashers, missing


def adding(bench, name, options=(), check=None):
    """larder takes a data set into a new store."""
    return Side(
        "larder", lambda store: bench.ours(store, "-q", "add", *options, bench.data(name)), make=bench.init,
        check=check or (lambda store, cost: bench.check_added(store, name)), clean=bench.remove, writes=True)


def peer_adding(bench, peer, name):
    """A peer takes a data set into a new store."""
    durable = "" if peer.durable else " (nothing synced)"
    return Side(f"{peer.name} add{durable}", lambda store: peer.add(store, bench.data(name)),
                make=lambda: bench.peer_store(peer), clean=bench.remove, needs=peer.needs, writes=True)


def p1(bench):
    stores, tree = bench.stores(), bench.data("d3")

    def floor(name, reading):
        return floor_side(bench, name, "add", tree, make=lambda: directory(bench), clean=bench.remove, writes=True,
                          after=("--threads", 2, "--reading", reading))

    rivals = [
        Rival(floor("floor: make, write, link, unlink and sync", 0), within=1.3),
        Rival(floor("the same, and every source read", 1), within=1.3),
    ]
    rivals += [Rival(peer_adding(bench, stores["ostree"], "d3"), times=4)] if "ostree" in stores else []
    rivals += [Rival(peer_adding(bench, peer, "d3"), once=True) for name, peer in stores.items() if name != "ostree"]
    return [Contest("P1", "add D3, durable, copied", adding(bench, "d3"), rivals)]


def p2(bench):
    stores, tree = bench.stores(), bench.data("d3")

    def again(*options):
        def check(store, cost):
            bench.check_added(store, "d3")
            summary = bench.told(store, "add", *options, tree)[-1]
            if summary["unchanged_files"] != len(bench.digests("d3")):
                raise Failed(f"not all was known: {summary}")
            # What was changed just before it was added is read again: one file in ten at most.
            if options and summary["trusted_files"] < 0.9 * len(bench.digests("d3")):
                raise Failed(f"few stamps were trusted: {summary}")
        return Side("larder", lambda store: bench.ours(store, "-q", "add", *options, tree),
                    make=lambda: bench.added("d3"), check=check, writes=True)

    def peer_again(peer):
        numbers = iter(range(2, 1000))
        return Side(f"{peer.name} add again", lambda store: peer.add(store, tree, next(numbers)), needs=peer.needs,
                    make=lambda: bench.peer_with(peer, "d3"), writes=True)

    rivals = [Rival(floor_side(bench, f"{name}, {threads} thread{'s' * (threads > 1)}", "read", tree,
                               after=("--threads", threads)), within=1.5, goal=threads == 1)
              for name, threads in (("floor: walk and read all once", 1), ("the same", 2))]
    rivals += [Rival(peer_again(stores["restic"]), times=5)] if "restic" in stores else []
    rivals += [Rival(peer_again(stores[name]), once=True) for name in ("ostree", "borg", "cacache") if name in stores]
    contests = [Contest("P2", "add D3 again, read and hashed", again(), rivals)]
    if not bench.can("add", "--trust-stamps"):
        contests.append(missing("P2", "add D3 again with --trust-stamps", "larder add --trust-stamps"))
    elif "git" in stores:
        git = peer_again(stores["git"])
        git.name = "git add again (trusts stamps)"
        contests.append(Contest("P2", "add D3 again with --trust-stamps", again("--trust-stamps"), [Rival(git, within=3)]))
    return contests


def writing(bench, name):
    """The best ways to write so many bytes durably."""
    def side(threads):
        words = f"floor: write as much, write-back started early, {threads} thread{'s' * (threads > 1)}"
        return floor_side(bench, words, "write", bench.data(name), make=bench.fresh, clean=bench.remove, writes=True,
                          after=("--threads", threads))
    return [side(threads) for threads in (1, 2)]


def p3(bench):
    stores, tree = bench.stores(), bench.data("d1")
    # At least 0.8 × the rate: at most 1.25 × the time.
    rivals = [Rival(side, within=1.25) for side in writing(bench, "d1")]
    if bench.wants_peer("cp"):
        copy = Side("cp -r and sync", lambda to: ["sh", "-c", 'cp -r "$1" "$2" && sync -f "$2"', "sh", str(tree), str(to)],
                    make=bench.fresh, clean=bench.remove, needs="cp", writes=True)
        rivals.append(Rival(copy))
    rivals += [Rival(peer_adding(bench, stores["ostree"], "d1"), times=5)] if "ostree" in stores else []
    rivals += [Rival(peer_adding(bench, stores[name], "d1"), once=True) for name in ("cacache", "borg", "restic")
               if name in stores]
    return [Contest("P3", "add D1, durable, copied", adding(bench, "d1"), rivals, best_floor=True)]


def p4(bench):
    def linked():
        # The files become blobs, so that they are copies of D1; the second turn finds them read-only, and links again.
        if ("copy", "d1") not in bench.kept:
            copy = bench.fresh()
            shutil.copytree(bench.data("d1"), copy / "d1")
            os.sync()
            bench.kept["copy", "d1"] = copy
        return bench.kept["copy", "d1"] / "d1"

    def side(option):
        tree = linked()
        return Side("larder", lambda store: bench.ours(store, "-q", "add", option, tree), make=bench.init, writes=True,
                    check=lambda store, cost: bench.check_added(store, "d1"), clean=bench.remove)

    tools = hashers(bench, files_of(bench.data("d1")))
    return [Contest("P4", "add D1 with --link", side("--link"), [Rival(tools["openssl"], times=4)])]
