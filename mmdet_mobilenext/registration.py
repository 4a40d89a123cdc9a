# SPDX-License-Identifier: Apache-2.0
"""What importing the package does where MMDetection is installed: check versions, register all."""

import mmcv
import mmdet
import mmengine

from .version import check_mmcv_ops, check_versions

check_versions(dict(mmcv=mmcv.__version__, mmengine=mmengine.__version__, mmdet=mmdet.__version__))
check_mmcv_ops()

from . import datasets, engine, evaluation, models, search  # noqa: E402
from .checkpoints.safe_loading import install_safe_loaders  # noqa: E402
from .config_files import config_file, register_configs  # noqa: E402

install_safe_loaders()
register_configs()

__all__ = ['config_file', 'datasets', 'engine', 'evaluation', 'models', 'search']
