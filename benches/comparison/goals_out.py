"""The contests about what goes out and away: P9 and P16."""

import os
import shutil

from .contest import Contest, Rival, Side
from .measure import Failed
from .sides import files_of


def p9(bench):
    stores, store = bench.stores(), bench.added("d3")

    def check(to, cost):
        found, wanted = files_of(to), len(bench.digests("d3"))
        if len(found) != wanted or any(path.stat().st_nlink < 3 for path in found[:100]):
            raise Failed(f"{len(found)} of {wanted} files, or no links")

    ours = Side("larder", lambda to: bench.ours(store, "-q", "checkout", "d3", to), make=bench.fresh, check=check,
                clean=bench.remove, writes=True)
    rivals = [
        Rival(Side("cp -al", lambda to: ["cp", "-al", str(store / "names" / "d3"), str(to)], make=bench.fresh,
                   clean=bench.remove, needs="cp"), times=1),
        Rival(Side("floor: link all, 2 threads", lambda to: bench.floor("link", store / "names" / "d3", to, "--threads", 2),
                   make=bench.fresh, clean=bench.remove, own=True), within=1.3, goal=False),
    ]
    for name in ("ostree", "cacache"):
        if name in stores:
            peer, kept = stores[name], bench.peer_with(stores[name], "d3")
            rivals.append(Rival(Side(f"{name} checkout by link", lambda to, peer=peer, kept=kept: peer.checkout(kept, to),
                                     make=bench.fresh, clean=bench.remove, needs=peer.needs)))
    return [Contest("P9", "checkout D3 by hardlink", ours, rivals)]


def p16(bench):
    stores, tree = bench.stores(), bench.data("d3")
    parts = [f"d3/{top}/{below}" for top in sorted(os.listdir(tree)) for below in sorted(os.listdir(tree / top))]
    goes = parts[: max(1, len(parts) // 2)]
    lengths = []

    def halved():
        store = bench.init()
        bench.runner.run(bench.ours(store, "-q", "add", tree))
        bench.runner.run(bench.ours(store, "-q", "rm", *goes))
        if not lengths:
            plan = bench.told(store, "gc", "--grace", "0s", "--dry-run", "--yes-most")
            lengths.extend(line["size_bytes"] for line in plan if line["event"] == "doomed")
        os.sync()
        return store

    def check(store, cost):
        blobs = len(files_of(store / "sha256"))
        if blobs != bench.distinct("d3") - len(lengths):
            raise Failed(f"{blobs} blobs are left, and {len(lengths)} of {bench.distinct('d3')} were to go")

    ours = Side("larder", lambda store: bench.ours(store, "-q", "gc", "--grace", "0s", "--yes-most"), make=halved,
                check=check, clean=bench.remove, writes=True)

    def to_collect():
        return bench.lengths(lengths), bench.fresh()

    def clean(made):
        for path in made:
            bench.remove(path)

    floor = Side("floor: the same renames and unlinks", lambda made: bench.floor("collect", *made), make=to_collect,
                 clean=clean, own=True, writes=True)
    rivals = [Rival(floor, within=1.1)]
    if "ostree" in stores:
        rivals.append(Rival(pruning(bench, stores["ostree"], goes)))
    return [Contest("P16", "collect half of D3", ours, rivals)]


def pruning(bench, peer, goes):
    """A peer that holds the whole tree and half of it, and of which the whole goes."""
    def make():
        half = bench.fresh()
        top = bench.data("d3").parent
        shutil.copytree(bench.data("d3"), half, copy_function=os.link, ignore=lambda at, names: [
            name for name in names if os.path.relpath(os.path.join(at, name), top) in goes])
        store = bench.peer_store(peer)
        bench.runner.run(peer.add(store, bench.data("d3"), 1))
        bench.runner.run(peer.add(store, half, 2))
        bench.runner.run(peer.let_go(store, 1))
        bench.remove(half)
        return store
    return Side(f"{peer.name} prune", peer.prune, make=make, clean=bench.remove, needs=peer.needs)
