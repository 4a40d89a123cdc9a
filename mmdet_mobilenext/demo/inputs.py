# SPDX-License-Identifier: Apache-2.0
"""What to detect in: images, folders, patterns, videos, cameras and addresses; and output names."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from mmdet_mobilenext.runtime.images import IMAGE_SUFFIXES

from .errors import DemoError
from .video_source import VideoSource, is_stream, video_source

__all__ = ['VIDEO_SUFFIXES', 'Inputs', 'OutputNames', 'find_inputs']

VIDEO_SUFFIXES = (
    *('.3gp', '.avi', '.flv', '.gif', '.m2ts', '.m4v', '.mjpeg', '.mkv', '.mov', '.mp4', '.mpeg'),
    *('.mpg', '.mts', '.ogv', '.ts', '.webm', '.wmv'),
)


@dataclass(frozen=True)
class Inputs:
    """What was found.

    Args:
        images (list[tuple[Path, PurePath]]): Files, and the names that their pictures should get.
        videos (list[tuple[VideoSource, PurePath]]): The same of videos.
        others (int): Files in folders, and matches of patterns, that are neither, or that lie in
            the output folder.
    """

    images: list[tuple[Path, PurePath]]
    videos: list[tuple[VideoSource, PurePath]]
    others: int = 0

    def files(self) -> list[Path]:
        """All of them that are files.

        Returns:
            list[Path]: Images and videos.
        """
        videos = [Path(source.name) for source, _ in self.videos if source.kind == 'file']
        return [path for path, _ in self.images] + videos


def find_inputs(names: Sequence[str], out_dir: str | os.PathLike | None = None) -> Inputs:
    """Find images and videos. Nothing is opened.

    Args:
        names (Sequence[str]): Files, folders (with all below them), patterns with ``*``, ``?``,
            ``[...]`` or ``**``, numbers of cameras, or addresses.
        out_dir (str | os.PathLike | None): Output folder. What lies in it is no input of a folder
            or pattern that has it below: it would be drawn on again with every run. Default: None.

    Returns:
        Inputs: In the order given, folders and patterns by name; each file once.

    Raises:
        FileNotFoundError: If a name is nothing that is there, or a folder or pattern has nothing to
            detect in; with all such names.
        DemoError: If a file is neither an image nor a video by its name.

    Example:
        >>> found = find_inputs(['rtsp://10.0.0.2/live'])
        >>> [(source.name, str(name)) for source, name in found.videos]
        [('rtsp://10.0.0.2/live', '10.0.0.2_live.mp4')]
    """
    found = Inputs([], [])
    missing, seen, others = [], set(), 0
    for name in names:
        if is_stream(name):
            source = video_source(name)
            found.videos.append((source, PurePath(_stream_file(source))))
            continue
        path = Path(name)
        if path.is_dir():
            files = [(file, file.relative_to(path)) for file in sorted(_below(path))]
            output = _output_below(path, out_dir)
            known = [
                pair for pair in files if _is_known(pair[0]) and not _is_inside(pair[0], output)
            ]
            others += len(files) - len(known)
            if not known:
                missing.append(f'{name} (a folder without images and videos)')
        elif path.exists():
            known = [(path, PurePath(path.name))]
        else:
            matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
            output = _output_below(_fixed_part(path), out_dir)
            known = [
                (match, PurePath(match.name))
                for match in matches
                if _is_known(match) and not _is_inside(match, output)
            ]
            others += len(matches) - len(known)
            if not known:
                missing.append(name)
        for file, relative in known:
            if not _is_known(file):
                raise DemoError(
                    f'{file} is neither an image ({", ".join(IMAGE_SUFFIXES)}) nor a video '
                    f'({", ".join(VIDEO_SUFFIXES)}) by its name'
                )
            real = os.path.realpath(file)
            if real in seen:
                continue
            seen.add(real)
            if file.suffix.lower() in IMAGE_SUFFIXES:
                # OpenCV writes no MPO, which is a JPEG with more pictures behind it.
                is_mpo = file.suffix.lower() == '.mpo'
                found.images.append((file, relative.with_suffix('.jpg') if is_mpo else relative))
            else:
                found.videos.append((video_source(file), relative.with_suffix('.mp4')))
    if missing:
        raise FileNotFoundError(
            f'nothing to detect in: {", ".join(missing)}. Give files, folders, patterns, a camera '
            '(0, /dev/video0) or an address (rtsp://..., http://...)'
        )
    return Inputs(found.images, found.videos, others)


def _below(folder: Path) -> Iterable[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, name) for name in names)


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) and not path.is_dir()


def _fixed_part(pattern: Path) -> Path:
    """The folder in which a pattern is looked for."""
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts)
    return Path(*parts)


def _output_below(searched: Path, out_dir: str | os.PathLike | None) -> Path | None:
    """The real output folder if it lies below the folder that is searched."""
    if out_dir is None:
        return None
    out = Path(os.path.realpath(out_dir))
    return out if Path(os.path.realpath(searched)) in out.parents else None


def _is_inside(path: Path, folder: Path | None) -> bool:
    return folder is not None and folder in Path(os.path.realpath(path)).parents


def _stream_file(source: VideoSource) -> str:
    name = re.sub(r'^[^:]*://|^/dev/', '', source.name).partition('?')[0]
    return (re.sub(r'[^\w.-]+', '_', name).strip('._')[:100] or 'stream') + '.mp4'


class OutputNames:
    """Names of output files: inside one folder, each of them once, and never that of an input.

    Args:
        folder (str | os.PathLike): Output folder.
        inputs (Iterable[Path]): Files that must not be replaced.

    Example:
        >>> names = OutputNames('out', [])
        >>> [names.take(PurePath(n)).as_posix() for n in ('a.jpg', 'A.jpg', 'sub/a.jpg')]
        ['out/a.jpg', 'out/A_2.jpg', 'out/sub/a.jpg']
    """

    def __init__(self, folder: str | os.PathLike, inputs: Iterable[Path]) -> None:
        self.folder = Path(folder)
        self._root = os.path.realpath(folder)
        # Without case: some file systems know no difference.
        self._taken = {os.path.realpath(path).casefold() for path in inputs}

    def take(self, wanted: PurePath) -> Path:
        """Name a file.

        Args:
            wanted (PurePath): Name inside the folder.

        Returns:
            Path: That name, or with ``_2``, ``_3``, ... if it is taken.

        Raises:
            DemoError: If it would be outside of the folder.
        """
        number, name = 1, wanted
        while True:
            path = self.folder / name
            # The folder's real place, but not that of the file: a link is replaced, not followed.
            real = os.path.join(os.path.realpath(path.parent), path.name)
            if os.path.commonpath([self._root, real]) != self._root or '..' in name.parts:
                raise DemoError(f'{path} would be outside of {self.folder}: not written')
            if real.casefold() not in self._taken:
                self._taken.add(real.casefold())
                return path
            number += 1
            name = wanted.with_name(f'{wanted.stem}_{number}{wanted.suffix}')
