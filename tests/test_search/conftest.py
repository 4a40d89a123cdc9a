# SPDX-License-Identifier: Apache-2.0
import torchvision_stub

torchvision_stub.import_mmpretrain()
