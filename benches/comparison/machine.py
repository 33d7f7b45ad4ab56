"""The machine that figures are of, and its page cache."""

import os
import pathlib
import platform
import shutil
import subprocess

# What hashing goes by.
FLAGS = ["sha_ni", "avx2", "avx512f", "avx512vl", "avx512bw", "vaes", "asimd", "sha2", "sha3"]


def described(directory, root):
    """What is noted with every figure."""
    processor, flags = platform.processor() or platform.machine(), set()
    for line in text("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware", "CPU part"):
            processor = value.strip()
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
    memory = next((int(line.split()[1]) for line in text("/proc/meminfo").splitlines() if line.startswith("MemTotal")), 0)
    return {
        "processor": processor,
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory * 1024,
        "filesystem": filesystem(directory),
        "kernel": platform.release(),
        "commit": commit(root),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def hardware(machine):
    """The part of it that stays the same."""
    flags = ", ".join(machine["flags"]) or "no SHA or AVX instructions"
    return (
        f"{machine['processor']} ({flags}), {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['filesystem']}, Linux {machine['kernel']}")


def said(machine):
    """All of it as a line of text."""
    return (
        f"{hardware(machine)}, commit {machine['commit']}, load "
        f"{machine['load'][0]} before and {machine.get('load_after', machine['load'][0])} after"
    )


def text(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def filesystem(directory):
    """The kind of the filesystem that a directory is on."""
    found = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True)
    kind = found.stdout.strip() or "unknown"
    if kind != "ext2/ext3":
        return kind
    device = os.stat(directory).st_dev
    for line in text("/proc/self/mountinfo").splitlines():
        words, rest = line.split(" - ")
        if words.split()[2] == f"{os.major(device)}:{os.minor(device)}":
            return rest.split()[0]
    return kind


def commit(root):
    """The commit that is measured, with a mark where it was changed."""
    def git(*words):
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True).stdout.strip()

    if not git("rev-parse", "--short", "HEAD"):
        return "unknown"
    return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain", "-uno") else "")


def refuse_without_room(directory, wanted):
    """Ends the program where the disk has not so many bytes free, and some to spare."""
    free = shutil.disk_usage(directory).free
    if free < wanted * 1.1:
        raise SystemExit(
            f"compare: this takes {wanted / 1e9:.1f} GB below {directory}, and {free / 1e9:.1f} GB are free: "
            "give --work a directory on a larger disk, or a smaller --scale")


def files(directory):
    """Every file below a directory."""
    return [os.path.join(base, name) for base, _, names in os.walk(directory) for name in names]


def forget(*directories):
    """Takes the files below some directories out of the page cache; without a word where they are dirty."""
    os.sync()
    for directory in directories:
        for path in files(directory):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
    try:
        # Entries and inodes, which only root can drop.
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("2")
    except OSError:
        pass


def warm(*directories):
    """Reads everything once."""
    for directory in directories:
        for path in files(directory):
            with open(path, "rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass
