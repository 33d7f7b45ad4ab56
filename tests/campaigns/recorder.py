"""A disk that remembers the order of what was written to it: what device mapper's log-writes does, without device mapper.

A filesystem in user space with one file, `disk`, for a loop device: every write and every flush that the filesystem on it
hands to the device arrives here. Needs Linux, root and /dev/fuse; speaks the protocol itself.
"""

import ctypes
import os
import struct
import threading

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 27, 28, 29, 34, 36, 38, 42
ENOENT, EIO, ENOSYS = 2, 5, 38
ROOT, DISK = 1, 2
MOST = 1 << 20
FLUSHED = None

libc = ctypes.CDLL(None, use_errno=True)


class Recorder:
    """Serves `backing` as the file `disk` below `directory`. `log` holds (offset, bytes) of each write, and FLUSHED."""

    def __init__(self, backing, directory):
        self.backing = os.open(backing, os.O_RDWR)
        self.size = os.fstat(self.backing).st_size
        self.log = []
        self.broken = False
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        data = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,max_read={MOST}".encode()
        if libc.mount(b"recorder", os.fsencode(directory), b"fuse", 0, data) != 0:
            raise OSError(ctypes.get_errno(), "the recorder cannot be mounted")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def position(self):
        return len(self.log)

    def serve(self):
        while True:
            try:
                request = os.read(self.device, MOST + 8192)
            except OSError:
                return  # it was unmounted
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                error, reply = 0, self.answer(opcode, node, request[40:])
            except OSError as why:
                error, reply = why.errno, b""
            try:
                os.writev(self.device, [struct.pack("<IiQ", 16 + len(reply), -error, unique), reply])
            except OSError:
                pass  # whoever asked has been interrupted

    def answer(self, opcode, node, body):
        if opcode == INIT:
            major, minor, readahead, flags = struct.unpack_from("<IIII", body)
            # Large writes, many pages at a time.
            wanted = flags & (1 << 0 | 1 << 5 | 1 << 22)
            return struct.pack("<IIIIHHIIHHII2x22x", 7, min(minor, 31), readahead, wanted, 16, 12, MOST, 1, MOST // 4096, 0, 0, 0)
        if opcode == LOOKUP:
            if body.rstrip(b"\0") != b"disk":
                raise OSError(ENOENT, "")
            return struct.pack("<QQQQII", DISK, 0, 3600, 3600, 0, 0) + self.attributes(DISK)
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self.attributes(node)
        if opcode in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 1, 0)  # nothing is cached on this side
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self.backing, size, offset)
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            if self.broken:
                raise OSError(EIO, "")
            data = body[40:40 + size]
            os.pwrite(self.backing, data, offset)
            self.log.append((offset, data))
            return struct.pack("<II", size, 0)
        if opcode == FSYNC:
            if self.broken:
                raise OSError(EIO, "")
            self.log.append(FLUSHED)
            return b""
        if opcode == STATFS:
            return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 1000, 999, 4096, 255, 4096, 0)
        if opcode in (FLUSH, RELEASE, RELEASEDIR, ACCESS, DESTROY, READDIR):
            return b""
        raise OSError(ENOSYS, "")

    def attributes(self, node):
        mode, size = (0o40755, 0) if node == ROOT else (0o100644, self.size)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def end(self):
        os.close(self.backing)
        os.close(self.device)


class Replay:
    """Makes the disks that a power cut may have left, from a log, front to back."""

    def __init__(self, log, image):
        self.log, self.image = log, image
        self.done = 0  # writes before this are on the image

    def reach(self, position):
        """Puts all that was flushed before `position` on the image; what was written since is given back."""
        flushed = max((i for i in range(self.done, position) if self.log[i] is FLUSHED), default=self.done)
        with open(self.image, "r+b") as image:
            for entry in self.log[self.done:flushed]:
                if entry is not FLUSHED:
                    image.seek(entry[0])
                    image.write(entry[1])
        self.done = flushed
        return [entry for entry in self.log[flushed:position] if entry is not FLUSHED]


def survivors(writes, how, chance):
    """Of writes that nothing vouches for, those that a drive may have done: all, none, or some, also in part."""
    if how == "none":
        return []
    if how == "all":
        return writes
    kept = []
    for offset, data in writes:
        fate = chance.random()
        if fate < 0.45:
            kept.append((offset, data))
        elif fate < 0.6:
            sectors = [i for i in range(0, len(data), 512) if chance.random() < 0.5]
            kept += [(offset + i, data[i:i + 512]) for i in sectors]
    chance.shuffle(kept)
    return kept
