"""Functions that tests run in worker processes, which look for them under the name of this module."""

import os
import signal
import time

import numpy as np

from ksfusion.core.errors import UserError
from ksfusion.slides.reading import patch_readers


def misbehave(how):
    if how == "memory":
        raise MemoryError
    if how == "user":
        raise UserError("install it")
    if how == "bug":
        raise KeyError("ours")
    if how == "exit":
        os._exit(1)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return how


def die_at_start(*_):
    os.kill(os.getpid(), signal.SIGKILL)


class Numbered:
    """Stand for a slide whose pixels are the number of the process that opened it."""

    def __init__(self, source, settings):
        time.sleep(0.2)

    def read(self, x, y, size_px, mpp):
        return np.frombuffer(os.getpid().to_bytes(3, "little"), np.uint8)

    def close(self):
        pass


make_patch_reader = patch_readers.make_patch_reader


def make_numbered_reader(*options):
    """Make the function of a reader whose slides are `Numbered`; in its own process."""
    patch_readers.open_source = Numbered
    return make_patch_reader(*options)


def fill(memory, offset, n_bytes, value):
    memory.array(offset, n_bytes)[:] = value
