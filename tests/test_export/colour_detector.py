# SPDX-License-Identifier: Apache-2.0
"""A detector made by hand that tells red images from blue ones, and images for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from mmdet_mobilenext.export.onnx_file import add_metadata
from mmdet_mobilenext.runtime import ModelSpec

CLASSES = ('aeroplane', 'bicycle')
SIDE = 32
XML = """<annotation><folder>VOC2007</folder><filename>{name}.png</filename>
<size><width>32</width><height>32</height><depth>3</depth></size><object><name>{label}</name>
<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>32</xmax><ymax>32</ymax></bndbox>
</object></annotation>"""


def write_detector(path: Path, trap: float = 1.0, **spec: object) -> Path:
    """Write an ONNX file: four convolutions with ReLU6, softmax, one box that is the image.

    Args:
        path (Path): File to write.
        trap (float): Factor of a third channel that nothing depends on. A large one takes the range
            of the tensor, in which int8 then loses the other two. Defaults to 1.
        **spec: Other values of the metadata.
    """
    rng = np.random.default_rng(0)
    constants: list = []
    nodes: list = []

    def constant(name: str, value: object, dtype: str = 'float32') -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=f'node_{output}', **attributes))
        return output

    def convolution(x: str, name: str, weight: np.ndarray, **attributes: object) -> str:
        bias = constant(f'{name}.bias', np.zeros(len(weight)))
        return add('Conv', [x, constant(f'{name}.weight', weight), bias], name, **attributes)

    constant('zero', 0), constant('six', 6)
    x = add('Transpose', ['images'], 'nchw', perm=[0, 3, 1, 2])
    x = add('Sub', [add('Cast', [x], 'pixels', to=TensorProto.FLOAT), constant('mean', 0)], 'x')
    # BGR to red, blue and green * trap
    weight = np.zeros((3, 3, 1, 1))
    weight[0, 2] = weight[1, 0] = 6 / 255
    weight[2, 1] = trap * 6 / 255
    x = convolution(x, 'network.backbone.conv1', weight, strides=[2, 2])
    weight = np.array([[1, -0.5, 0], [-0.5, 1, 0]])[:, :, None, None]
    x = add('Clip', [convolution(x, 'network.backbone.conv2', weight), 'zero', 'six'], 'c2')
    weight = rng.uniform(0.9, 1.1, (2, 1, 3, 3)) / 9
    x = add('Clip', [convolution(x, 'network.backbone.dw', weight, group=2), 'zero', 'six'], 'c3')
    weight = np.zeros((3, 2, 14, 14))
    weight[0, 0] = weight[1, 1] = 1 / 196
    x = convolution(x, 'network.head.cls_convs.0', weight)
    x = add('Reshape', [x, constant('shape', [-1, 1, 3], 'int64')], 'logits')
    x = add('Softmax', [x], 'softmax', axis=-1)
    ends = [constant(n, [v], 'int64') for n, v in (('start', 0), ('end', 2), ('axis', 2))]
    add('Slice', [x, *ends], 'scores')
    add('Add', [constant('box', [[[0, 0, 32, 32]]]), constant('none', 0)], 'boxes')
    shapes = dict(boxes=[1, 1, 4], scores=[1, 1, 2])
    graph = helper.make_graph(
        nodes,
        'colours',
        [helper.make_tensor_value_info('images', TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        constants,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10), path)
    values = dict(score_thr=0.01, iou_thr=0.45, max_per_img=100, batch=1, **spec)
    add_metadata(path, ModelSpec(CLASSES, (SIDE, SIDE), 'bgr', 'raw', **values))
    return path


def write_images(root: Path, train: int = 8, val: int = 6, test: int = 2) -> Path:
    """Write a VOC data set of red (aeroplane) and blue (bicycle) images."""
    rng = np.random.default_rng(0)
    folder = root / 'VOC2007'
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    for split, count in dict(train=train, val=val, test=test).items():
        names = [f'{split}{number}' for number in range(count)]
        (folder / f'ImageSets/Main/{split}.txt').write_text('\n'.join(names) + '\n')
        for number, name in enumerate(names):
            image = rng.integers(0, 60, (SIDE, SIDE, 3), np.uint8)
            image[..., 1] = rng.integers(0, 256, (SIDE, SIDE))
            image[..., 0 if number % 2 else 2] += 150
            cv2.imwrite(str(folder / f'JPEGImages/{name}.jpg'), image)
            text = XML.format(name=name, label=CLASSES[number % 2])
            (folder / f'Annotations/{name}.xml').write_text(text)
    return root
