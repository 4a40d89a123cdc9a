# SPDX-License-Identifier: Apache-2.0
"""Image files: copied where MMDetection reads them right, encoded anew where not, or refused.

``mmdet.datasets.XMLDataset`` reads ``<id>.jpg`` and no other name; what decodes it goes by the
content. OpenCV turns an image by its EXIF orientation, as ``LoadImageFromFile`` wants it, other
readers do not; so a turned image is written upright without it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmdet_mobilenext.datasets.checks.wording import show

from .out_folder import OutFolder
from .paths import FILE_ERRORS

__all__ = ['EXIF_CHOICES', 'PictureError', 'Placed', 'place_picture']

QUALITY = 95
"""Of JPEG files that are encoded anew, with full colour resolution."""

LONGEST_SIDE = 65500
"""Pixels that libjpeg encodes."""

EXIF_CHOICES = ('refuse', 'upright', 'stored')
_ORIENTATION = 0x0112


class PictureError(Exception):
    """A file cannot become an image of the result: (reason of the report, detail)."""


@dataclass
class Placed:
    """An image of the result.

    Attributes:
        size (tuple[int]): Width and height in pixels.
        file_name (str): Name of the file.
        channels (int): 1 or 3.
        stored_size (tuple[int], optional): Width and height of the source's pixels, if boxes
            refer to them and not to the upright image. Defaults to None.
        orientation (int): EXIF orientation of the source. Defaults to 1.
        notes (list[tuple[str, str]]): What was done: (reason of the report, detail).
    """

    size: tuple[int, int]
    file_name: str
    channels: int = 3
    stored_size: tuple[int, int] | None = None
    orientation: int = 1
    notes: list[tuple[str, str]] = field(default_factory=list)


def place_picture(
    path: Path,
    annotated: tuple[int, int] | None,
    out: OutFolder,
    dest: str,
    *,
    only_jpg_name: bool = True,
    link: bool = False,
    lossless: bool = False,
    exif: str = 'refuse',
) -> Placed:
    """Bring one image into the result.

    Args:
        path (Path): The source's file.
        annotated (tuple[int], optional): Width and height of the annotation.
        out (OutFolder): Folder of the result.
        dest (str): Where to in that folder, without extension.
        only_jpg_name (bool): Name the file ``.jpg`` whatever it holds, and keep no other format
            than JPEG; otherwise PNG may stay PNG. Defaults to True.
        link (bool): Link files that need no change instead of copying them: a hard link, or a
            symbolic one to another file system. Defaults to False.
        lossless (bool): Encode anew as PNG, not as JPEG of quality 95. Defaults to False.
        exif (str): What boxes refer to where the size does not tell: ``'upright'``,
            ``'stored'``, or ``'refuse'`` the image. Defaults to ``'refuse'``.

    Returns:
        Placed: Where it is and what was done.

    Raises:
        PictureError: It is no image, or not one that can be used; nothing was written.
        OSError: It cannot be written, or reading fails for another reason than the file; nothing
            is left of it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new('RGBA', (8, 6)).save(folder / 'a.png')
        >>> out = OutFolder(folder / 'set')
        >>> place_picture(folder / 'a.png', (8, 6), out, 'JPEGImages/b').notes
        [('image_converted', 'PNG with transparency, which is left out')]
    """
    try:
        content = path.read_bytes()
    except FILE_ERRORS as error:
        raise PictureError('image_unreadable', f'{type(error).__name__}: {error}') from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            _refuse_frames(image)
            orientation = _orientation(image)
            image.load()  # in full: a cut off file shows here
            given = (content, annotated, only_jpg_name, lossless, exif)
            placed, kind, pixels = _prepare(image, orientation, *given)
    except UnidentifiedImageError:
        detail = f'no known image format, {len(content)} bytes that start with {show(content[:12])}'
        raise PictureError('image_unreadable', detail) from None
    except PictureError:
        raise
    # Pillow's decoders raise nearly anything for damaged files.
    except Exception as error:
        raise PictureError('image_unreadable', f'{type(error).__name__}: {error}') from error
    # From here on the image is good: what fails is the machine, not to be caught with that.
    suffix = '.jpg' if only_jpg_name or kind == 'JPEG' else '.png'
    placed.file_name = f'{PurePosixPath(dest).name}{suffix}'
    if pixels is None and link:
        placed.notes.append(('image_linked', out.link(f'{dest}{suffix}', path, content)))
    else:
        out.write(f'{dest}{suffix}', content if pixels is None else _encode(pixels, kind))
    return placed


def _refuse_frames(image: Image.Image) -> None:
    frames = getattr(image, 'n_frames', 1)
    # MPO is what cameras write: a JPEG with previews behind it.
    if frames > 1 and image.format != 'MPO':
        raise PictureError('image_many_frames', f'{image.format} of {frames} frames')


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(2, 9) else 1


def _prepare(
    image: Image.Image,
    orientation: int,
    content: bytes,
    annotated: tuple[int, int] | None,
    only_jpg_name: bool,
    lossless: bool,
    exif: str,
) -> tuple[Placed, str, np.ndarray | None]:
    """The image as it will be, its format, and its pixels; None for those if it stays as it is."""
    if min(image.size) < 2:
        raise PictureError('image_too_small', '{} x {}'.format(*image.size))
    # Pillow turns TIFF itself while it loads them, in some versions.
    upright = ImageOps.exif_transpose(image) if orientation != 1 else image
    stored = upright.size if orientation < 5 else upright.size[::-1]
    frame = _annotated_frame(stored, annotated, orientation, exif)
    kind = 'JPEG' if image.format in ('JPEG', 'MPO') else image.format
    convert, what = _needed(image, content)
    keep = kind == 'JPEG' or (kind == 'PNG' and (lossless or not only_jpg_name))
    result = Placed(
        size=upright.size,
        file_name='',
        stored_size=stored if frame == 'stored' and orientation != 1 else None,
        orientation=orientation,
    )
    if annotated is None:
        result.notes.append(('size_from_file', '{} x {}'.format(*result.size)))
    if orientation != 1:
        boxes = 'boxes turned with it' if frame == 'stored' else 'boxes are upright already'
        result.notes.append(('image_turned', f'EXIF orientation {orientation}, {boxes}'))
    if keep and convert is None and orientation == 1:
        result.channels = 1 if image.mode == 'L' else 3
        return result, kind, None
    new = 'PNG' if lossless or (kind == 'PNG' and not only_jpg_name) else 'JPEG'
    if new == 'JPEG' and max(result.size) > LONGEST_SIDE:
        raise PictureError('image_too_large', '{} x {}'.format(*result.size))
    image = convert(upright) if convert else upright
    image = image if image.mode == 'L' else image.convert('RGB')
    result.channels = 1 if image.mode == 'L' else 3
    if what or kind != 'JPEG':
        result.notes.append(('image_converted', f'{kind}{what}'))
    return result, new, np.asarray(image)


def _encode(pixels: np.ndarray, kind: str) -> bytes:
    """Encode an image, with neither EXIF nor a colour profile: MMDetection looks at none."""
    options = {} if kind == 'PNG' else dict(quality=QUALITY, subsampling=0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _annotated_frame(
    stored: tuple[int, int], annotated: tuple[int, int] | None, orientation: int, exif: str
) -> str:
    """What the boxes refer to, ``'upright'`` or ``'stored'``."""
    upright = stored if orientation < 5 else stored[::-1]
    fits = [
        frame
        for frame, size in (('upright', upright), ('stored', stored))
        if annotated in (None, size)
    ]
    if not fits:
        detail = '{} x {} in the annotation, {} x {} in the file'.format(*annotated, *upright)
        raise PictureError('image_size_differs', detail)
    if orientation == 1 or len(fits) == 1:
        return fits[0]
    if exif == 'refuse':
        told = 'no annotated size' if annotated is None else 'the same size both ways'
        raise PictureError('image_turn_unclear', f'EXIF orientation {orientation}, {told}')
    return exif


def _needed(
    image: Image.Image, content: bytes
) -> tuple[Callable[[Image.Image], Image.Image] | None, str]:
    """How to make 8-bit grey or RGB of an image, None if it is; and why, in words."""
    mode = image.mode
    if mode == 'F' or (mode == 'I' and image.format != 'PNG'):
        raise PictureError('image_no_8bit', f'{image.format} of Pillow mode {mode}')
    if mode.startswith('I'):
        greatest = int(np.asarray(image).max())
        return _upper_byte, f' of 16 bits, upper 8 kept (greatest value {greatest} of 65535)'
    if 'transparency' in image.info or mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa'):
        return (lambda i: i.convert('L' if mode in ('LA', 'La') else 'RGB')), (
            ' with transparency, which is left out'
        )
    if mode == '1':
        return (lambda i: i.convert('L')), ' in black and white'
    if mode in ('L', 'RGB'):
        deep = _deep_colour(image, content)
        return (lambda i: i) if deep else None, deep
    names = {'P': 'with a palette'}
    return (lambda i: i.convert('RGB')), f' {names.get(mode, f"in {mode}")}, now RGB'


def _upper_byte(image: Image.Image) -> Image.Image:
    """The upper eight of 16 bits, as OpenCV takes them."""
    return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))


def _deep_colour(image: Image.Image, content: bytes) -> str:
    """Say if a file has more than the 8 bits that Pillow has kept of each colour."""
    deep = False
    if image.format == 'PNG':
        deep = content[24] == 16
    elif image.format == 'TIFF':
        deep = max(image.tag_v2.get(258, (8,))) > 8
    return ' of 16 bits a colour, upper 8 kept' if deep else ''
