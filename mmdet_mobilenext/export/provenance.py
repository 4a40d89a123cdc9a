# SPDX-License-Identifier: Apache-2.0
"""Where an exported file comes from."""

from __future__ import annotations

import os.path as osp
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from mmengine.config import Config

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.version import __version__, installed_versions

__all__ = ['provenance']

PACKAGES = ('torch', 'onnx', 'onnxscript', 'openvino', 'nncf', 'onnxruntime', 'ncnn', 'pnnx')


def provenance(cfg: Config, config: str, checkpoint: str, meta: Mapping | None) -> dict[str, Any]:
    """What somebody who finds the file needs to make it again. Names of files, no folders.

    Args:
        cfg (Config): Config of the detector.
        config (str): Its file.
        checkpoint (str): File of the weights.
        meta (Mapping, optional): ``meta`` of the checkpoint.

    Returns:
        dict[str, Any]: ``config``, ``checkpoint``, ``checkpoint_sha256``, ``backbone``, ``epoch``
        and ``iter`` if they are known, ``exported`` (UTC) and ``versions``.
    """
    meta = meta or {}
    return dict(
        config=osp.basename(config),
        checkpoint=osp.basename(checkpoint),
        checkpoint_sha256=sha256_of(checkpoint),
        backbone=str((cfg.model.get('backbone') or {}).get('type', '')),
        **{key: int(meta[key]) for key in ('epoch', 'iter') if isinstance(meta.get(key), int)},
        exported=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        versions={'mmdet_mobilenext': __version__, **installed_versions(PACKAGES)},
    )
