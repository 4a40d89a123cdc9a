# SPDX-License-Identifier: Apache-2.0
"""``LoadImageFromFile`` with a cache."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS

from .build import build_image_cache

__all__ = ['LoadCachedImage']


@TRANSFORMS.register_module(force=True)
class LoadCachedImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` that keeps decoded images in shared memory or on disk.

    Its results are the same: the image is a copy, that later transforms may change.

    Required and modified keys are those of ``LoadImageFromFile``.

    Args:
        *args: Positional arguments of ``LoadImageFromFile``.
        cache (dict, optional): ``backend``, ``max_bytes`` and ``directory``, see
            :class:`~mmdet_mobilenext.datasets.caching.CachedImageStore`. Defaults to None, no
            cache.
        backend_args (dict, optional): As in ``LoadImageFromFile``; with a cache only files of this
            machine's file system. Defaults to None.
        **kwargs: Any other argument of ``LoadImageFromFile``.

    Raises:
        ValueError: If the cache is to scale images down (``max_side``), which boxes would not know
            of, or images come from a remote backend.

    Example:
        >>> import os, tempfile, cv2
        >>> import numpy as np
        >>> folder = tempfile.mkdtemp()
        >>> path = os.path.join(folder, 'a.png')
        >>> _ = cv2.imwrite(path, np.full((4, 6, 3), 7, np.uint8))
        >>> load = LoadCachedImage(
        ...     cache=dict(backend='disk', max_bytes='1MB', directory=os.path.join(folder, 'cache'))
        ... )
        >>> [load(dict(img_path=path))['ori_shape'] for epoch in range(2)]
        [(4, 6), (4, 6)]
    """

    def __init__(
        self,
        *args: Any,
        cache: dict | None = None,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, backend_args=backend_args, **kwargs)
        self.cache_cfg = cache
        if (cache or {}).get('max_side') is not None:
            raise ValueError(
                f'cache.max_side of LoadCachedImage is {cache["max_side"]}, but boxes are in '
                'pixels of the original image: leave it out'
            )
        remote = self.file_client_args or (backend_args or {}).get('backend', 'local') != 'local'
        if cache is not None and remote:
            raise ValueError(
                f'a cache needs images in the local file system, but LoadCachedImage has '
                f'backend_args {self.file_client_args or backend_args}: leave out one of the two'
            )
        self.cache = build_image_cache(
            cache,
            settings=dict(color_type=self.color_type, imdecode_backend=self.imdecode_backend),
        )
        # Decodes and fails as the base class does, but leaves floats and absent files to us.
        self._decoder = LoadImageFromFile(
            color_type=self.color_type,
            imdecode_backend=self.imdecode_backend,
            backend_args=backend_args,
        )

    def transform(self, results: dict) -> dict | None:
        """Load the image from the cache, or decode it.

        Args:
            results (dict): With ``img_path``.

        Returns:
            dict | None: The same dict with ``img``, ``img_shape`` and ``ori_shape``; None if the
            image cannot be loaded and ``ignore_empty`` is set.
        """
        if self.cache is None:
            return super().transform(results)
        path = results['img_path']
        try:
            img = self.cache.get(
                path, 1, lambda: self._decoder.transform(dict(img_path=path))['img']
            )
        except Exception:
            if self.ignore_empty:
                return None
            raise
        results['img'] = img.astype(np.float32) if self.to_float32 else img.copy()
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, cache={self.cache_cfg})'
