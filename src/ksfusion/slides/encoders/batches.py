"""From patches to feature vectors, on the device of the encoder."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.nn.functional import interpolate

from ksfusion.slides.encoders.build import Encoder
from ksfusion.slides.encoders.names import PATCHES_AT_ONCE
from ksfusion.slides.stain.profiles import Profile, normalise

# On a GPU, how many groups of patches may be under way before the caller waits.
GROUPS_AHEAD = 2


class PatchEncoder:
    """Normalises and encodes patches.

    On a GPU the call returns while the work is still queued, so that the next patches can be copied meanwhile.

    On a processor each thread works alone on its own few patches, rather than all on each small step: threads that
    wait for one another at every step come to a standstill when the cores have other work, and the result would depend
    on their number.

    Parameters
    ----------
    encoder
        On ``device``.
    target
        The stain that all slides are brought to.
    device
        A PyTorch device.
    threads
        The number of threads that work on a processor.
    input_px
        The side to which patches are shrunk for the encoder, once they are normalised: bilinearly over all pixels that
        one of the smaller patch covers (antialiased). None: as they are.
    """

    def __init__(self, encoder: Encoder, target: Profile, device: str, threads: int, *, input_px: int | None = None):
        self._encoder, self._target, self._device = encoder, target, torch.device(device)
        self._input_px = input_px
        colours = torch.tensor([encoder.mean, encoder.std], dtype=torch.float32, device=device)
        mean, std = colours[:, :, None, None]  # (3, 1, 1) each
        self._scale = 1 / (255 * std)
        self._shift = -mean / std
        if self._device.type == "cpu":
            self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        else:
            self._copying = torch.cuda.Stream(self._device)
            self._pinned: list[np.ndarray] = []
            self._under_way: deque[torch.cuda.Event] = deque()

    def __call__(self, rgb: np.ndarray, profile: Profile | None) -> torch.Tensor:
        """Turn (n, px, px, 3) uint8 patches into (n, d) float16 on the device; the patches are needed no more then."""
        if self._device.type != "cpu":
            features = self._encode(self._copied(rgb), profile)
            self._under_way.append(torch.cuda.current_stream(self._device).record_event())
            if len(self._under_way) > GROUPS_AHEAD:
                self._under_way.popleft().synchronize()
            return features
        patches = torch.from_numpy(rgb).split(PATCHES_AT_ONCE)
        return torch.cat(list(self._pool.map(self._encode, patches, [profile] * len(patches))))

    def gathered(self, parts: list[torch.Tensor]) -> np.ndarray:
        """Return the features of several calls, once they are computed."""
        return torch.cat(parts).cpu().numpy()

    def pin(self, memory: np.ndarray) -> None:
        """Let a GPU copy patches from where they lie, for as long as this is open: system memory it could not reach."""
        if self._device.type == "cpu":
            return
        with torch.cuda.device(self._device):  # each thread has its own
            refused = int(torch.cuda.cudart().cudaHostRegister(memory.ctypes.data, memory.nbytes, 0))
        if not refused:  # else the copies are slower
            self._pinned.append(memory)

    def close(self) -> None:
        """End the threads, and let go of what was pinned."""
        if self._device.type == "cpu":
            self._pool.shutdown()
            return
        torch.cuda.synchronize(self._device)
        for memory in self._pinned:
            torch.cuda.cudart().cudaHostUnregister(memory.ctypes.data)
        self._pinned.clear()

    def _copied(self, rgb: np.ndarray) -> torch.Tensor:
        """Copy patches beside what the GPU computes: on the stream of the computation they would wait for it."""
        with torch.cuda.stream(self._copying):
            patches = torch.from_numpy(rgb).to(self._device, non_blocking=True)
        # Their place is used again.
        self._copying.synchronize()
        patches.record_stream(torch.cuda.current_stream(self._device))
        return patches

    def _encode(self, patches: torch.Tensor, profile: Profile | None) -> torch.Tensor:
        with torch.inference_mode():
            if profile is not None:
                patches = normalise(patches, profile, self._target)
            side = self._input_px or patches.shape[1]
            shrunk = side != patches.shape[1]
            # Plane by plane shrinking takes a third of the time; the encoder brings the small patches to its own order.
            order = torch.contiguous_format if shrunk else torch.channels_last
            planes = torch.empty((len(patches), 3, *patches.shape[1:3]), device=patches.device, memory_format=order)
            for colour in range(3):
                planes[:, colour] = patches[..., colour]
            if shrunk:
                planes = interpolate(planes, size=(side, side), mode="bilinear", antialias=True)
            planes.mul_(self._scale).add_(self._shift)
            return self._encoder(planes).half()
