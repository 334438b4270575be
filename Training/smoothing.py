"""Blur, resampling and correlated noise along the axes of an array, each as a product with a small matrix.

A matrix per axis serves a Gaussian, a slice profile and an interpolation alike, runs on any device, and its row norms
give the variance of filtered white noise exactly, also at the border of a patch.
"""

import torch

GAUSSIAN_REACH = 3.5  # standard deviations
COARSE_STEP = 1.2  # nodes of coarse noise per standard deviation of its correlation: 1 / 1.2


def along_axis(values: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """Multiply ``matrix`` of shape (new length, length) onto one axis of ``values``."""
    if axis == values.ndim - 1:
        return values @ matrix.T
    if axis == 0:
        return (matrix @ values.reshape(values.shape[0], -1)).reshape(-1, *values.shape[1:])
    return torch.matmul(matrix, values) if axis == values.ndim - 2 else torch.movedim(
        along_axis(torch.movedim(values, axis, 0), matrix, 0), 0, axis
    )


def gaussian_matrix(
    length: int, sigma: float, device: torch.device, nodes: torch.Tensor | None = None
) -> torch.Tensor:
    """Rows: Gaussian weights of the nodes (default: the voxels themselves) at each voxel, summing to one.

    Args:
        length: number of voxels.
        sigma: standard deviation in voxels.
        nodes: positions in voxels, shape (number of nodes,).
    """
    voxels = torch.arange(length, device=device, dtype=torch.float32)
    nodes = voxels if nodes is None else nodes
    distance = (voxels[:, None] - nodes[None, :]) / max(sigma, 1e-3)
    weights = torch.exp(-0.5 * distance**2)
    weights = torch.where(distance.abs() <= max(GAUSSIAN_REACH, 1.0 / max(sigma, 1e-3)), weights, 0.0)
    return weights / weights.sum(1, keepdim=True).clamp_min(1e-20)


def blur(values: torch.Tensor, sigmas: tuple[float, float, float]) -> torch.Tensor:
    """Gaussian blur of a (k, j, i) array; standard deviations in voxels along k, j, i. Under 0.15 an axis is left."""
    for axis, sigma in enumerate(sigmas):
        if sigma >= 0.15:
            values = along_axis(values, gaussian_matrix(values.shape[axis], sigma, values.device), axis)
    return values


def noise(
    shape: tuple[int, int, int], sigmas: tuple[float, float, float], generator: torch.Generator
) -> torch.Tensor:
    """Gaussian noise of mean 0 and standard deviation 1 in every voxel, correlated over ``sigmas`` voxels (k, j, i).

    Long correlations are drawn on few nodes and interpolated, which is what makes them quick.
    """
    device = generator.device
    matrices, drawn_shape = [], []
    for length, sigma in zip(shape, sigmas):
        if sigma < 0.2:
            matrices.append(None)
            drawn_shape.append(length)
            continue
        nodes = None
        if sigma > 2.0:
            step = sigma / COARSE_STEP
            count = int((length - 1 + 6 * sigma) / step) + 2
            nodes = torch.arange(count, device=device, dtype=torch.float32) * step - 3 * sigma
        matrix = gaussian_matrix(length, sigma, device, nodes)
        matrices.append(matrix / matrix.square().sum(1, keepdim=True).sqrt())
        drawn_shape.append(matrix.shape[1])
    values = torch.randn(drawn_shape, generator=generator, device=device)
    # The axis that grows least comes first, so that the work stays on small arrays as long as possible.
    for axis in sorted(range(3), key=lambda a: shape[a] / drawn_shape[a]):
        if matrices[axis] is not None:
            values = along_axis(values, matrices[axis], axis)
    return values


def slice_matrices(
    length: int, thickness: float, spacing: float, offset: float, nearest: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The slice profile of a scanner along one axis, and the way back to the voxels.

    Args:
        length: number of voxels along the axis.
        thickness: of a slice, in voxels: a slice is the mean over it (box profile).
        spacing: of slice centers, in voxels.
        offset: of the first slice center, as a part of the spacing, 0 to 1.
        nearest: take the nearest slice on the way back instead of interpolating linearly.

    Returns:
        (number of slices, length) averaging voxels into slices, and (length, number of slices) back; rows sum to one.
    """
    # All slices whose middle lies within the voxels: with fewer, the last one would be repeated beyond its place.
    count = max(2, int(length / spacing - offset) + 1)
    centers = (torch.arange(count, device=device, dtype=torch.float32) + offset) * spacing
    edges = torch.arange(length, device=device, dtype=torch.float32)
    low = torch.maximum(edges[None, :], centers[:, None] - thickness / 2)
    high = torch.minimum(edges[None, :] + 1, centers[:, None] + thickness / 2)
    average = (high - low).clamp_min(0)
    outside = average.sum(1) <= 0
    if outside.any():  # a slice beyond the last voxel repeats it
        average[outside] = (edges[None, :] == (length - 1)).float()
    average = average / average.sum(1, keepdim=True)

    position = ((edges + 0.5 - centers[0]) / spacing).clamp(0, count - 1)
    index = torch.arange(count, device=device, dtype=torch.float32)
    if nearest:
        back = (index[None, :] == position.round()[:, None]).float()
    else:
        back = (1 - (position[:, None] - index[None, :]).abs()).clamp_min(0)
    return average, back
