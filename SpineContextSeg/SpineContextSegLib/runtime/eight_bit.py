"""Does this processor gain from 8-bit weights? Asked of OpenVINO itself, which knows what it would run."""

from __future__ import annotations

import functools
import math

import numpy as np

from .openvino_runtime import SETTINGS, import_openvino

_CHANNELS, _KERNEL = 64, (3, 3, 3)
_LARGEST_ACTIVATION, _LARGEST_WEIGHT = 255, 127


@functools.cache
def has_dot_products() -> bool:
    """True on an x86 processor with 8-bit dot products: AVX-512 VNNI, AVX-VNNI or AMX.

    Without them, AVX2 and AVX-512 add pairs of products up in 16 bits, which saturate: results get worse, unpredictably
    (docs.openvino.ai/latest/pot_saturation_issue.html). A sum of the largest products shows it, on any operating system
    and in any virtual machine: 255 * 127 + 255 * 127 doesn't fit 16 bits. OpenVINO's own capabilities name INT8 on
    every x86 processor, and neither they nor numpy's tell AVX-VNNI. Other processors (ARM) count as without: there,
    8-bit convolutions of volumes haven't been measured.
    """
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(_largest_products(), "CPU", SETTINGS | {"INFERENCE_NUM_THREADS": 1})
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kernels = [info["primitiveType"].astype(str) for info in told if "primitiveType" in info]
    # As "brgconv_avx512_I8": compiled for this processor's vectors, not a plain loop over 8-bit numbers.
    if not any("avx" in kernel and kernel.endswith("_I8") for kernel in kernels):
        return False
    ones = np.full(compiled.input(0).shape, _LARGEST_ACTIVATION, np.float32)
    exact = _CHANNELS * math.prod(_KERNEL) * _LARGEST_ACTIVATION * _LARGEST_WEIGHT
    return bool(np.allclose(compiled(ones)[0], exact, rtol=1e-3))


def _largest_products():
    """A convolution like the network's, in 8 bits as NNCF writes them: rounded activations times rescaled weights."""
    from openvino import Model, opset13

    image = opset13.parameter([1, _CHANNELS, 4, 4, 4], np.float32)
    ends = np.float32(0), np.float32(_LARGEST_ACTIVATION)
    rounded = opset13.fake_quantize(image, *ends, *ends, levels=256)
    weights = opset13.constant(np.full((_CHANNELS, _CHANNELS, *_KERNEL), _LARGEST_WEIGHT, np.int8))
    rescaled = opset13.multiply(opset13.convert(weights, np.float32), np.float32(1))
    result = opset13.convolution(rounded, rescaled, [1] * 3, [0] * 3, [0] * 3, [1] * 3)
    return Model([result], [image])
