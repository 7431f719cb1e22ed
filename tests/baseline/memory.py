"""Resident memory of this process, from /proc/self/status. RssAnon has no high-water mark: a forked child polls it, so the polling costs this process no CPU time."""

import os
import signal
import struct
import time


def status_bytes(key: str, pid: str = "self") -> int:
    """A size in /proc/PID/status, such as RssAnon or VmHWM, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(key + ":"):
                return 1024 * int(line.split()[1])
    raise KeyError(key)


class PeakAnon:
    """Largest RssAnon since the start or the last `take`. Make it before the big imports: the child is a copy of the process."""

    def __init__(self, every_s: float = 0.005):
        parent = os.getpid()
        ask_read, self._ask = os.pipe()
        self._answer, answer_write = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(self._ask)
            os.close(self._answer)
            try:
                self._poll(parent, ask_read, answer_write, every_s)
            finally:  # also when the parent went away between two looks: the child must never run the parent's code
                os._exit(0)
        os.close(ask_read)
        os.close(answer_write)

    @staticmethod
    def _poll(parent, ask_read, answer_write, every_s):
        os.set_blocking(ask_read, False)
        peak = 0
        while os.getppid() == parent:
            peak = max(peak, status_bytes("RssAnon", str(parent)))
            try:
                if os.read(ask_read, 1):
                    os.write(answer_write, struct.pack("q", peak))
                    peak = 0
            except BlockingIOError:
                time.sleep(every_s)

    def take(self) -> int:
        os.write(self._ask, b"?")
        return struct.unpack("q", os.read(self._answer, 8))[0]

    def stop(self):
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
