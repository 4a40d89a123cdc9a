# SPDX-License-Identifier: Apache-2.0
"""Networks outside of PyTorch: exported to ONNX and run by optional runtimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmdet_mobilenext.export.onnx_file import quiet_exporter

__all__ = ['RUNTIMES', 'export_onnx', 'flat_tensors', 'left_out', 'load_runtime', 'run_checked']

RUNTIMES = {
    'onnxruntime': ('onnx', 'onnxscript', 'onnxruntime'),
    'openvino': ('onnx', 'onnxscript', 'openvino'),
}
"""Packages that each runtime needs; none is a requirement of the project."""


def left_out(runtimes: Sequence[str]) -> dict[str, str]:
    """Runtimes that cannot be used here, and why.

    Args:
        runtimes (Sequence[str]): Of :data:`RUNTIMES`.

    Returns:
        dict[str, str]: A sentence for each that is left out.

    Example:
        >>> left_out([])
        {}
    """
    found = {}
    for runtime in runtimes:
        missing = [name for name in RUNTIMES[runtime] if find_spec(name) is None]
        if missing:
            found[runtime] = (
                f'{runtime} is left out: there is no {", ".join(missing)}. '
                f'`pip install {" ".join(RUNTIMES[runtime])}`'
            )
        elif torch.cuda.is_available():
            found[runtime] = (
                f'{runtime} is left out: it is measured on the CPU alone, beside a network that '
                "is there as well. Hide the GPU with `CUDA_VISIBLE_DEVICES=''`"
            )
    return found


class _Flat(nn.Module):
    """A network whose result is a flat tuple of tensors."""

    def __init__(self, function: Callable[[Tensor], object], owner: nn.Module) -> None:
        super().__init__()
        self.owner, self.function = owner, function

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run it."""
        return tuple(flat_tensors(self.function(images)))


def flat_tensors(node: Tensor | Sequence) -> list[Tensor]:
    """All tensors in nested sequences, in order.

    Args:
        node (Tensor | Sequence): A tensor, or a sequence of such or of sequences.

    Returns:
        list[Tensor]: The tensors.

    Example:
        >>> len(flat_tensors(([torch.zeros(1)], torch.zeros(2))))
        2
    """
    if isinstance(node, Tensor):
        return [node]
    return [tensor for part in node for tensor in flat_tensors(part)]


def export_onnx(
    function: Callable[[Tensor], object], owner: nn.Module, images: Tensor, path: Path
) -> Path:
    """Export a network for one size of batch and image.

    Args:
        function (Callable): Takes images, returns tensors in nested sequences; a method of
            ``owner``, or the module itself.
        owner (nn.Module): In eval mode, in any memory format.
        images (Tensor): Example, (N, 3, H, W).
        path (Path): File to write.

    Returns:
        Path: The file.
    """
    network = _Flat(function, owner).eval()
    with torch.no_grad(), quiet_exporter():
        program = torch.onnx.export(network, (images.contiguous(),), dynamo=True, verbose=False)
    program.save(path)
    return path


def load_runtime(runtime: str, path: Path, images: Tensor) -> Callable[[], list[np.ndarray]]:
    """Load an exported network, with as many threads as PyTorch has here.

    Args:
        runtime (str): Of :data:`RUNTIMES`, with its packages there.
        path (Path): ONNX file.
        images (Tensor): (N, 3, H, W), what it is run with.

    Returns:
        Callable: Runs it once and returns its outputs.

    Raises:
        ValueError: For an unknown runtime.
    """
    threads = torch.get_num_threads()
    array = np.ascontiguousarray(images.numpy())
    if runtime == 'onnxruntime':
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # threads that wait by spinning would take the cores from the next candidate
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        session = onnxruntime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider']
        )
        feed = {session.get_inputs()[0].name: array}
        return lambda: session.run(None, feed)
    if runtime == 'openvino':
        from mmdet_mobilenext.runtime.openvino_core import shared_core

        compiled = shared_core().compile_model(
            str(path),
            'CPU',
            {
                'INFERENCE_NUM_THREADS': threads,
                'PERFORMANCE_HINT': 'LATENCY',
                # as all others here
                'INFERENCE_PRECISION_HINT': 'f32',
            },
        )
        request = compiled.create_infer_request()

        def run() -> list[np.ndarray]:
            results = request.infer([array])
            return [results[port] for port in compiled.outputs]

        return run
    raise ValueError(f'runtime must be one of {tuple(RUNTIMES)}, but received {runtime!r}')


def run_checked(
    runtime: str, path: Path, images: Tensor, expected: Sequence[Tensor]
) -> Callable[[], list[np.ndarray]]:
    """:func:`load_runtime`, after its outputs were found to be those of PyTorch.

    Args:
        runtime (str): Of :data:`RUNTIMES`.
        path (Path): ONNX file.
        images (Tensor): (N, 3, H, W), what it is run with.
        expected (Sequence[Tensor]): Outputs of the network in PyTorch.

    Returns:
        Callable: Runs it once.

    Raises:
        RuntimeError: If an output differs by more than 1e-3 of the largest value of it.
    """
    run = load_runtime(runtime, path, images)
    for number, (actual, wanted) in enumerate(zip(run(), expected, strict=True)):
        difference = float(np.abs(actual - wanted.numpy()).max())
        if not difference <= 1e-3 * max(1.0, float(wanted.abs().max())):
            raise RuntimeError(
                f'{runtime} computes another result: output {number} differs by {difference:.3g}'
            )
    return run
