"""What was measured, as tables in Markdown."""

import re

from . import machine

GOALS = [f"P{number}" for number in range(1, 20)]


def figure(row):
    """The ratio with its unit."""
    if row["ratio"] is None:
        return row["note"] or "not measured"
    unit, value = row["unit"], row["ratio"]
    if unit == "/s":
        return f"{value:,.0f}/s"
    if unit == "MiB":
        return f"{value:.0f} MiB"
    if unit == "ms more":
        return f"+ {value:.2f} ms"
    return f"{number(value)} {unit}"


def number(value):
    """Two or three digits that mean something."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def spread(row):
    if row["least"] is None or row["pairs"] < 2:
        return f"{row['pairs']} run" if row["pairs"] == 1 else ""
    return f"{number_signed(row['least'])} to {number_signed(row['most'])}; {row['pairs']}"


def number_signed(value):
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def met(row):
    return {True: "met", False: "**missed**", None: ""}[row["met"]]


def seconds(value):
    if value is None:
        return "–"
    return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def cost(side):
    """Seconds, CPU seconds, anonymous memory, bytes written, syncs."""
    if all(side.get(key) is None for key in ("seconds", "cpu", "anon", "written")):
        return "–"
    def shown(key, text):
        return text(side[key]) if side.get(key) is not None else "–"
    return " / ".join([
        seconds(side.get("seconds")), shown("cpu", lambda v: f"{v:.1f} s"), shown("anon", lambda v: f"{v / 2**20:.0f} MiB"),
        shown("written", lambda v: f"{v / 1e6:.0f} MB"), shown("syncs", lambda v: f"{v:,}")])


def cells(*words):
    return "| " + " | ".join(str(word) for word in words) + " |"


def full(results, goals=GOALS):
    """Every row: for docs/performance.md."""
    lines = []
    for goal in [goal for goal in GOALS if goal in goals]:
        group = results["goals"].get(goal)
        if not group:
            lines += [f"**{goal}**: not measured.", ""]
            continue
        lines += [f"**{goal}**, `benches/compare --only {goal}{group.get('options', '')}`; {machine.said(group['machine'])}:", ""]
        lines += [cells("work", "beside", "goal", "figure", "spread; pairs", "", "larder: time / CPU / anonymous / written / syncs",
                        "beside it: the same"), "|---|---|---|--:|---|---|---|---|"]
        for row in group["rows"]:
            lines.append(cells(row["work"], row["rival"], row["bound"] or "–", figure(row), spread(row) or "–", met(row),
                               cost(row["ours"]), cost(row["theirs"])))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def fast(row):
    """How many times as fast larder is."""
    return row["ratio"] if row["unit"] == "× as fast" else 1 / row["ratio"]


def short(results):
    """One row for each piece of work: larder, the best peer and the floor. For README.md."""
    lines = [cells("work", "larder", "people use", "larder is", "floor of the machine", "larder takes"),
             "|---|--:|---|--:|---|--:|"]
    works = {}
    for goal in GOALS:
        for row in results["goals"].get(goal, {}).get("rows", []):
            if row["unit"].startswith("× as") and row["ratio"] is not None and row["ours"].get("seconds") is not None:
                works.setdefault((goal, row["work"]), []).append(row)
    for (_, work), rows in works.items():
        ours = seconds(rows[0]["ours"]["seconds"])
        people = [row for row in rows if not row["is_floor"]]
        floors = [row for row in rows if row["is_floor"]]
        peer = min(people, key=lambda row: (row["bound"] == "", fast(row)), default=None)
        floor = next((row for row in floors if row["bound"]), None)
        lines.append(cells(
            work, ours, f"{peer['rival']}: {seconds(peer['theirs']['seconds'])}" if peer else "–",
            f"{number(fast(peer))} × as fast" if peer else "–",
            f"{seconds(floor['theirs']['seconds'])}" if floor else "–", f"{number(floor['ratio'])} × as long" if floor else "–"))
    machines = {machine.hardware(group["machine"]) for group in results["goals"].values()}
    if not works:
        return "not measured\n"
    lines += ["", "A ratio is the median of the pairs of that rival, in which larder may have taken another time than is told here.",
              f"Medians of turns that were interleaved; {'; '.join(sorted(machines))}; warm."]
    return "\n".join(lines) + "\n"


def growth(results):
    """How each verb grows: a table of files, one of processes, and one of names alone."""
    parts = []
    if results.get("growth"):
        parts.append(growth_of_files(results["growth"]))
    if results.get("names"):
        parts.append(f"Names alone, `benches/compare names`; {by_size(results['names'])}")
    return "\n".join(parts) or "not measured\n"


def by_size(grown):
    sizes = grown["sizes"]
    lines = [f"{machine.said(grown['machine'])}. Time; anonymous memory; system calls; bytes written:", "",
             cells("verb", *[f"{size:,}" for size in sizes]), "|---|" + "--:|" * len(sizes)]
    for verb, costs in grown["verbs"].items():
        lines.append(cells(verb, *[grown_cell(costs.get(str(size))) for size in sizes]))
    return "\n".join(lines) + "\n"


def growth_of_files(grown):
    lines = [f"Files, `benches/compare million`; {by_size(grown)}".rstrip("\n")]
    processes = grown["processes"]
    lines += ["", f"Processes at once on one store of {grown['shared_names']:,} names, each with its share of the work; how "
              "many times as fast as one process:", "", cells("verb", *[f"{count}" for count in processes]),
              "|---|" + "--:|" * len(processes)]
    for verb, by_count in grown["shared"].items():
        alone = by_count["1"]["seconds"]
        lines.append(cells(verb, *[
            f"{seconds(by_count[str(count)]['seconds'])} ({alone / by_count[str(count)]['seconds']:.2f} ×)" for count in processes]))
    return "\n".join(lines) + "\n"


def grown_cell(cost):
    if not cost:
        return "–"
    calls = "–" if cost.get("calls") is None else f"{cost['calls']:,}"
    return f"{seconds(cost['seconds'])}; {cost['anon'] / 2**20:.0f} MiB; {calls}; {cost['written'] / 1e6:.1f} MB"


def write(root, results):
    """Puts the tables between their marks in the documents."""
    for document, name, text in (("README.md", "table", short(results)), ("docs/performance.md", "goals", full(results)),
                                 ("docs/performance.md", "growth", growth(results))):
        path = root / document
        begin, end = f"<!-- compare: {name} -->", f"<!-- compare: end of {name} -->"
        before = path.read_text()
        found = re.search(re.escape(begin) + ".*?" + re.escape(end), before, re.S)
        if not found:
            raise SystemExit(f"compare: {document} has no marks {begin} … {end}")
        path.write_text(before[: found.start()] + f"{begin}\n\n{text}\n{end}" + before[found.end():])
