"""The sliding window with everything on the GPU: the image goes there once, the blended result comes back once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import Cancelled

if TYPE_CHECKING:
    from ..windows import Corner
    from .torch_runtime import TorchRuntime


@torch.inference_mode()
def blend_on_device(
    image: np.ndarray, runtime: TorchRuntime, importance: np.ndarray, corners: Sequence[Corner], pad_value: float,
    merge: np.ndarray | None, known: Sequence[np.ndarray | None],
    progress: Callable[[int, int], None] | None, cancelled: Callable[[], bool] | None,
) -> tuple[np.ndarray, np.ndarray] | None:  # fmt: skip
    """Weighted means of the outputs of windows, and the sums of their weights; None where the GPU gave up.

    Args:
        image: float32 (d, h, w), in the network's intensities.
        runtime: whose network, device, number type and batch are used.
        importance: float32 (*roi_size), weights within a window.
        corners: of the windows in the image; they may reach beyond it.
        pad_value: what surrounds the image.
        merge: (rows, outputs) float32, see `sliding_window.sweep`.
        known: for each window its outputs (outputs,) where they are known beforehand, else None.
        progress, cancelled: as for `sliding_window.sweep`.

    Returns:
        (rows or outputs, d, h, w) and (d, h, w), both float32; zero where no window lies.
    """
    places = np.array(corners)
    before = np.maximum(-places.min(0), 0)
    after = np.maximum((places + importance.shape).max(0) - image.shape, 0)
    inside = tuple(slice(b, b + n) for b, n in zip(before, image.shape))
    done, device = 0, runtime.device
    try:
        padded = torch.full(tuple(before + image.shape + after), pad_value, device=device)
        padded[inside] = torch.from_numpy(np.ascontiguousarray(image, np.float32)).to(device)
        weights = torch.from_numpy(importance).to(device)
        rows = None if merge is None else torch.from_numpy(merge).to(device)
        sums, total = None, torch.zeros_like(padded)
        while done < len(places):
            if cancelled and cancelled():
                raise Cancelled
            batch = range(done, min(done + runtime.preferred_batch, len(places)))
            where = [tuple(slice(c, c + n) for c, n in zip(places[w] + before, importance.shape)) for w in batch]
            to_run = [n for n, w in enumerate(batch) if known[w] is None]
            outputs = runtime.on_device(torch.stack([padded[where[n]] for n in to_run])[:, None]) if to_run else []
            if outputs is None:
                if runtime.device != device:
                    return None
                continue  # with fewer windows at a time
            answers = dict(zip(to_run, outputs))
            for n, w in enumerate(batch):
                answer = answers.get(n)
                if answer is None:
                    answer = torch.from_numpy(known[w]).to(device)[:, None, None, None]
                if rows is not None:
                    answer = torch.einsum("ro,odhw->rdhw", rows, answer)
                if sums is None:
                    sums = torch.zeros((len(answer), *padded.shape), device=device)
                sums[(slice(None), *where[n])] += weights * answer
                total[where[n]] += weights
            done += len(batch)
            if progress:
                progress(done, len(places))
        sums /= total.clamp_min(torch.finfo(total.dtype).tiny)
        return sums[(slice(None), *inside)].cpu().numpy(), total[inside].cpu().numpy()
    except RuntimeError as error:
        if device == "cpu":
            raise
        reason = str(error).splitlines()[0]
    runtime.fall_back(reason)
    return None
