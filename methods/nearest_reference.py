"""The floor without geometry: paste the most similar reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realbench.method import BaseMethod, Context, MethodCard

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realbench.image import BoolImage, UInt8Image
    from realbench.scene import Task

COMPARED_SIDE = 64
"""References and target are compared at this longer side, in pixels, where small displacements do not count."""


class NearestReference(BaseMethod):
    """Pastes the reference that is most similar to the known region into the hole, unaligned."""

    card = MethodCard(
        id="nearest-reference",
        title="Nearest reference",
        summary="Pastes the reference most similar to the known region, cropped and scaled to the target's size but not aligned: a floor.",
        licence="Apache-2.0",
    )

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, tuple[str, ...]]:
        """The target with the hole cut from one reference; a note says which."""
        import numpy as np

        fitted = [fit_size(reference, task.size) for reference in task.references]
        nearest = 0
        reason = "the first one, since nothing is known of the target"
        if not task.mask.all():
            distances = [distance(image, task.target, ~task.mask) for image in fitted]
            nearest = int(np.argmin(distances))
            reason = f"mean difference from the known region {distances[nearest]:.1f} levels"
        image = np.where(task.mask[..., None], fitted[nearest], task.target)
        return image, (f"pasted reference {nearest + 1} of {len(fitted)} ({reason})",)


def fit_size(image: UInt8Image, size: tuple[int, int]) -> UInt8Image:
    """The image's largest centred part with the aspect of `size` (width, height), scaled to `size`."""
    import cv2
    import numpy as np

    width, height = size
    scale = max(width / image.shape[1], height / image.shape[0])
    part_width = min(image.shape[1], max(1, round(width / scale)))
    part_height = min(image.shape[0], max(1, round(height / scale)))
    left, top = (image.shape[1] - part_width) // 2, (image.shape[0] - part_height) // 2
    part = image[top : top + part_height, left : left + part_width]
    # Area averaging shrinks without aliasing, but would enlarge in blocks.
    resized = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.asarray(resized, dtype=np.uint8)


def distance(image: UInt8Image, target: UInt8Image, known: BoolImage) -> float:
    """Mean absolute difference over the known region at a small size, 0–255."""
    import numpy as np

    difference = np.where(known[..., None], image.astype(np.float32) - target, np.float32(0))
    return float(np.abs(_shrink(difference)).sum() / (3 * _shrink(known.astype(np.float32)).sum()))


def _shrink(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    scale = min(1.0, COMPARED_SIDE / max(height, width))
    small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)
