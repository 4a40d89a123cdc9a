# SPDX-License-Identifier: Apache-2.0
"""Other projects' classifiers: their keys, shapes and results, written down anew.

Plain functions of PyTorch that run in order what each project's source code builds, and share
nothing with the converters. Keys and shapes of a network come from running through its layers.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from golden import make_tensor


@dataclass
class Layer:
    """A convolution and its batch norm."""

    conv: str
    norm: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    active: bool = True


@dataclass
class Block:
    """Layers in a row, with a shortcut around them or not."""

    layers: list
    shortcut: bool = False


@dataclass
class Network:
    """Blocks, average pooling and a linear layer."""

    blocks: list
    head: str
    num_classes: int = 1000
    mean: str = 'running_mean'
    var: str = 'running_var'
    counter: str | None = 'num_batches_tracked'
    linear_is_in_out: bool = False

    @property
    def channels(self):
        return self.blocks[-1].layers[-1].out_channels

    def shapes(self):
        """Shape of each key, in order."""
        shapes = {}
        for layer in (layer for block in self.blocks for layer in block.layers):
            ins = 1 if layer.depthwise else layer.in_channels
            shapes[f'{layer.conv}.weight'] = (layer.out_channels, ins, layer.kernel, layer.kernel)
            for part in ('weight', 'bias', self.mean, self.var):
                shapes[f'{layer.norm}.{part}'] = (layer.out_channels,)
            if self.counter:
                shapes[f'{layer.norm}.{self.counter}'] = ()
        matrix = (self.num_classes, self.channels)
        if self.head:
            matrix = matrix[::-1] if self.linear_is_in_out else matrix
            shapes |= {f'{self.head}.weight': matrix, f'{self.head}.bias': (self.num_classes,)}
        return shapes

    def weights(self):
        """Numbers for each key, tame enough to survive the whole network."""
        ours = {f'.{self.mean}': '.running_mean', f'.{self.var}': '.running_var'}
        weights = {}
        for key, shape in self.shapes().items():
            dot = key.rindex('.')
            weights[key] = make_tensor(key[:dot] + ours.get(key[dot:], key[dot:]), shape)
        return weights

    @torch.no_grad()
    def run(self, weights, x):
        """Logits, or features without a head."""
        for block in self.blocks:
            before = x
            for layer in block.layers:
                conv = weights[f'{layer.conv}.weight']
                groups = layer.in_channels if layer.depthwise else 1
                x = F.conv2d(x, conv, None, layer.stride, layer.kernel // 2, 1, groups)
                norm = [
                    weights[f'{layer.norm}.{p}'] for p in (self.mean, self.var, 'weight', 'bias')
                ]
                x = F.batch_norm(x, *norm, training=False, eps=1e-5)
                x = x.clamp(0, 6) if layer.active else x
            x = x + before if block.shortcut else x
        if not self.head:
            return x
        matrix = weights[f'{self.head}.weight']
        matrix = matrix if self.linear_is_in_out else matrix.t()
        return x.mean((2, 3)) @ matrix + weights[f'{self.head}.bias']


def divisible(value, divisor=8):
    new = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return new + divisor if new < 0.9 * value else new


def timm_names(stage, position, expands, flat):
    prefix = f'blocks.{stage}.{position}'
    convs = ('conv_pw', 'conv_dw', 'conv_pwl') if expands else ('conv_dw', 'conv_pw')
    return [(f'{prefix}.{conv}', f'{prefix}.bn{i + 1}') for i, conv in enumerate(convs)]


def mmpretrain_names(stage, position, expands, flat):
    prefix = f'backbone.layer{stage + 1}.{position}.conv'
    return [(f'{prefix}.{i}.conv', f'{prefix}.{i}.bn') for i in range(3 if expands else 2)]


def mmdet_names(stage, position, expands, flat):
    prefix = f'backbone.layer{stage + 1}.{position}'
    layers = ['expand_conv'] * expands + ['depthwise_conv', 'linear_conv']
    return [(f'{prefix}.{layer}.conv', f'{prefix}.{layer}.bn') for layer in layers]


def torchvision_names(stage, position, expands, flat):
    prefix, last = f'features.{flat}.conv', 2 if expands else 1
    names = [(f'{prefix}.{i}.0', f'{prefix}.{i}.1') for i in range(last)]
    return [*names, (f'{prefix}.{last}', f'{prefix}.{last + 1}')]


MOBILENETV2_LAYOUTS = {
    'timm': (timm_names, ('conv_stem', 'bn1'), ('conv_head', 'bn2'), 'classifier'),
    'mmpretrain': (
        mmpretrain_names,
        ('backbone.conv1.conv', 'backbone.conv1.bn'),
        ('backbone.conv2.conv', 'backbone.conv2.bn'),
        'head.fc',
    ),
    'mmdet': (
        mmdet_names,
        ('backbone.conv1.conv', 'backbone.conv1.bn'),
        ('backbone.conv2.conv', 'backbone.conv2.bn'),
        '',
    ),
    'torchvision': (
        torchvision_names,
        ('features.0.0', 'features.0.1'),
        ('features.18.0', 'features.18.1'),
        'classifier.1',
    ),
}


def mobilenetv2(owner, width=1.0, num_classes=1000, repeats=(1, 2, 3, 4, 3, 3, 1)):
    """MobileNetV2 (paper, table 2) under the names of a project."""
    names_of, stem, last, head = MOBILENETV2_LAYOUTS[owner]
    channels = divisible(32 * width)
    blocks = [Block([Layer(*stem, 3, channels, 3, 2)])]
    flat = 1
    for stage, (expand, outs, repeat, stride) in enumerate(
        zip(
            (1, 6, 6, 6, 6, 6, 6),
            (16, 24, 32, 64, 96, 160, 320),
            repeats,
            (1, 2, 2, 2, 1, 2, 1),
            strict=True,
        )
    ):
        outs = divisible(outs * width)
        for position in range(repeat):
            step, hidden = stride if position == 0 else 1, channels * expand
            names = names_of(stage, position, expand > 1, flat)
            layers = [Layer(*names[0], channels, hidden)] if expand > 1 else []
            layers.append(Layer(*names[-2], hidden, hidden, 3, step, depthwise=True))
            layers.append(Layer(*names[-1], hidden, outs, active=False))
            blocks.append(Block(layers, step == 1 and channels == outs))
            channels, flat = outs, flat + 1
    blocks.append(Block([Layer(*last, channels, max(1280, divisible(1280 * width)))]))
    return Network(blocks, head, num_classes)


def paddle_mobilenext(width=1.0, num_classes=1000):
    """PaddleClas' MobileNeXt, with PaddlePaddle's names and matrices."""
    channels = divisible(32 * width)
    blocks = [Block([Layer('features.0.0', 'features.0.1', 3, channels, 3, 2)])]
    settings = (
        (2, 96, 1, 2),
        (6, 144, 1, 1),
        (6, 192, 3, 2),
        (6, 288, 3, 2),
        (6, 384, 4, 1),
        (6, 576, 4, 2),
        (6, 960, 3, 1),
        (6, 1280, 1, 1),
    )
    for ratio, outs, repeat, first_stride in settings:
        outs = 1280 if outs == 1280 and width < 1 else divisible(outs * width)
        for position in range(repeat):
            stride = first_stride if position == 0 else 1
            keep = position == 0 and repeat == 1 and stride == 1
            whole = ratio == 2 or channels == outs or keep
            hidden = channels // ratio
            if hidden < outs / 6:
                hidden = divisible(math.ceil(outs / 6), 16)
            prefix, place, layers = f'features.{len(blocks)}.conv', 0, []
            # Depthwise, reduce, expand, depthwise; a ReLU6 takes a place in the sequence.
            for ins, out, kernel, step, active, wanted in (
                (channels, channels, 3, 1, True, whole),
                (channels, hidden, 1, 1, False, True),
                (hidden, outs, 1, 1, True, True),
                (outs, outs, 3, stride, False, whole or stride == 2),
            ):
                if wanted:
                    names = f'{prefix}.{place}', f'{prefix}.{place + 1}'
                    layers.append(Layer(*names, ins, out, kernel, step, kernel == 3, active))
                    place += 3 if active else 2
            blocks.append(Block(layers, whole and ratio != 2 and not keep))
            channels = outs
    return Network(
        blocks, 'classifier.1', num_classes, '_mean', '_variance', None, linear_is_in_out=True
    )
