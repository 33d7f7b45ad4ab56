"""How time, memory, system calls and bytes of each verb grow, from a thousand names on, and from one to eight processes."""

import os
import pathlib
import time

from .contest import say
from .measure import median

PROCESSES = [1, 2, 4, 8]


def sizes(most):
    """Powers of ten from a thousand to so many."""
    found = [1000]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


def tree(bench, count, first=0):
    """So many files of some hundred bytes, a hundred in a directory, made by name: each has bytes of its own."""
    top = bench.fresh() / "files"
    for i in range(first, first + count):
        if i % 100 == 0 or i == first:
            below = top / f"{i // 10000:04}" / f"{i // 100 % 100:02}"
            below.mkdir(parents=True, exist_ok=True)
        (below / f"{i:08}").write_bytes(f"file {i}\n".encode() * 20)
    os.sync()
    return top


def verbs(bench, store, files, count):
    """Each verb with its command, in an order in which each finds what it needs; those this larder has."""
    one = f"files/{0:04}/{0:02}/{0:08}"
    out = bench.fresh()
    every = [
        ("add", ["-q", "add", files], None),
        ("add again", ["-q", "add", files], None),
        ("add again, --trust-stamps", ["-q", "add", "--trust-stamps", files], ("add", "--trust-stamps")),
        ("path (start and one lookup)", ["path", one], None),
        ("show", ["show", one], None),
        ("ls of 100 names", ["-q", "ls", "files/0000/00"], None),
        ("link", ["-q", "link", one, "another-name"], None),
        ("pin", ["-q", "pin", one], None),
        ("stats", ["stats"], None),
        ("status", ["status"], ("status", None)),
        ("check", ["check"], None),
        ("verify", ["verify"], None),
        ("scrub", ["scrub"], ("scrub", None)),
        ("checkout", ["-q", "checkout", "files", out], None),
        ("rebuild", ["-q", "rebuild"], None),
        ("compact", ["-q", "compact"], None),
        ("rm of half", ["-q", "rm", *halves(files)], None),
        ("gc of half", ["-q", "gc", "--grace", "0s", "--yes-most"], None),
    ]
    return [(verb, bench.ours(store, *words)) for verb, words, needs in every if not needs or bench.can(*needs)]


def of_records(bench, store):
    """The verbs that ask nothing of files but of one, over a store whose other names mean blobs that are only on record. A
    verb that is short is run so many times."""
    digest = "".join(pathlib.Path(bench.told(store, "path", "real")[0]["path"]).parts[-2:])
    name = "hf/org0000/model-00000/part-00000-0000000.safetensors"
    return [
        ("path (start and one lookup)", 21, lambda i: ["path", name]),
        ("show of a name", 9, lambda i: ["show", name]),
        ("where, by the beginning of a digest", 9, lambda i: ["-q", "where", digest[:12]]),
        ("ls of 20 names", 9, lambda i: ["-q", "ls", "hf/org0000/model-00000"]),
        ("link", 9, lambda i: ["-q", "link", "real", f"another-name/{i}"]),
        ("pin", 9, lambda i: ["-q", "pin", "real"]),
        ("rm of one name", 9, lambda i: ["-q", "rm", f"another-name/{i}"]),
        ("stats", 1, lambda i: ["stats"]),
        ("rebuild", 1, lambda i: ["-q", "rebuild"]),
        # Whoever commits beside the next one would compact by itself what is due.
        ("compact", 1, lambda i: ["-q", "compact"]),
    ]


def recorded(bench, most):
    """The table of names alone, with no file for each."""
    table = {}
    for count in sizes(most):
        began = time.monotonic()
        store = bench.fresh()
        filling = bench.runner.run([bench.driver("ours"), "fill", store, count])
        cells = {"make it, 20,000 names in a transaction": costs_of(filling)}
        for verb, times, words in of_records(bench, store):
            costs = [bench.runner.run(bench.ours(store, *words(i)), ok=(0, 3)) for i in range(times)]
            cost = sorted(costs, key=lambda cost: cost.seconds)[times // 2]
            cells[verb] = costs_of(cost)
        pauses = bench.runner.run([bench.driver("ours"), "pauses", store, *bench.ours(store, "-q", "compact")])
        cells["compact again, with somebody who commits beside it"] = costs_of(pauses)
        for which in ("longest", "median"):
            cells[f"commits while it compacts: the {which}"] = costs_of(pauses, seconds=pauses.said()[which])
        for verb, cell in cells.items():
            table.setdefault(verb, {})[str(count)] = cell
        bench.remove(store)
        say(f"  {count:,} names alone: {time.monotonic() - began:.0f} s")
    return table


def costs_of(cost, **others):
    """A cell of a table."""
    return {"seconds": cost.seconds, "cpu": cost.cpu, "anon": cost.anon, "written": cost.written, "calls": None, **others}


def halves(files):
    """The names of half of the directories at the second level."""
    found = [f"files/{top}/{below}" for top in sorted(os.listdir(files)) for below in sorted(os.listdir(files / top))]
    return found[: max(1, len(found) // 2)]


def grown(bench, most):
    """The table of sizes: each verb once at each size for its time, and once under strace where that is not long."""
    table = {}
    for count in sizes(most):
        began = time.monotonic()
        files = tree(bench, count)
        store, counted = bench.init(), bench.init()
        for (verb, command), (_, again) in zip(verbs(bench, store, files, count), verbs(bench, counted, files, count)):
            cost = bench.runner.run(command, ok=(0, 3))
            calls = None
            # Counting each call slows them down a hundred times.
            if bench.has("strace") and count <= bench.options.count_calls:
                calls = sum(bench.runner.count(again, ok=(0, 3), which=None).values())
            table.setdefault(verb, {})[str(count)] = costs_of(cost, calls=calls)
        for directory in (files.parent, store, counted):
            bench.remove(directory)
        say(f"  {count:,} names: {time.monotonic() - began:.0f} s")
    return table


def together(bench, count):
    """The table of processes: so many at once on one store, which share the work out."""
    files = tree(bench, count)
    parts = sorted(path for top in files.iterdir() for path in top.iterdir())
    table = {}
    for processes in PROCESSES:
        shares = [parts[i::processes] for i in range(processes)]
        shares = [share for share in shares if share]
        times = {}
        for _ in range(bench.options.pairs):
            store, out = bench.init(), bench.fresh()
            out.mkdir()
            work = [
                ("add", [bench.ours(store, "-q", "--jobs", "1", "add", "--prefix", f"p{i}", *share)
                         for i, share in enumerate(shares)]),
                ("checkout", [bench.ours(store, "-q", "--jobs", "1", "checkout", f"p{i}", out / str(i))
                              for i in range(len(shares))]),
                ("verify", [bench.ours(store, "-q", "--jobs", "1", "verify", f"p{i}") for i in range(len(shares))]),
                ("path, 100 lookups", [looping(bench, store, f"p0/00/{0:08}", 100 // processes)] * processes),
                ("link, 100 commits", [linking(bench, store, f"p0/00/{0:08}", f"new-{i}", 100 // processes)
                                       for i in range(processes)]),
            ]
            for verb, commands in work:
                times.setdefault(verb, []).append(bench.runner.run(commands).seconds)
            bench.remove(store)
            bench.remove(out)
        for verb, seconds in times.items():
            table.setdefault(verb, {})[str(processes)] = {"seconds": median(seconds)}
        say(f"  {processes} processes")
    bench.remove(files.parent)
    return table


def looping(bench, store, name, times):
    script = 'i=0; while [ $i -lt "$1" ]; do "$2" --store "$3" path "$4" >/dev/null || exit 1; i=$((i+1)); done'
    return ["sh", "-c", script, "sh", str(times), str(bench.larder), str(store), name]


def linking(bench, store, name, new, times):
    script = 'i=0; while [ $i -lt "$1" ]; do "$2" --store "$3" -q link "$4" "$5/$i" || exit 1; i=$((i+1)); done'
    return ["sh", "-c", script, "sh", str(times), str(bench.larder), str(store), name, new]


def room(most):
    """Bytes that the largest tree takes, its blobs and its inodes: a block and an inode for each of both."""
    return most * 2 * (4096 + 512)


def room_of_records(most):
    """Bytes that so many names take on record, with what compacting and rebuilding write beside it."""
    return most * 1200


def measure(bench, most, shared):
    """The tables of files and of processes."""
    return {
        "sizes": sizes(most), "verbs": grown(bench, most), "processes": PROCESSES, "shared_names": shared,
        "shared": together(bench, shared),
    }


def measure_records(bench, most):
    """The table of names alone."""
    return {"sizes": sizes(most), "verbs": recorded(bench, most)}
