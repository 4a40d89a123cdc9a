# SPDX-License-Identifier: Apache-2.0
"""The page: pictures go in, and what each model finds comes out side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mmdet_mobilenext.runtime.images import IMAGE_SUFFIXES

from .compare import PictureResult, compare_models
from .folder import UploadFolder
from .limits import WebLimits
from .models import WebModel
from .render import COLUMNS, render_about, render_message, render_results, table_rows

if TYPE_CHECKING:
    import gradio

__all__ = ['build_page', 'detect', 'redraw']

TITLE = 'Object detection, side by side'
EMPTY = 'Drop one or more pictures to see what the models find in them.'
_LONGEST_NAME = 120


def detect(
    models: Sequence[WebModel],
    folder: UploadFolder,
    uploads: Sequence[dict] | None,
    chosen: Sequence[str],
    score_thr: float,
) -> tuple[list[PictureResult], list[str], str, list[list]]:
    """Run the chosen models on the uploaded pictures.

    Args:
        models (Sequence[WebModel]): Of the page.
        folder (UploadFolder): Of uploads, with the limits of the page.
        uploads (Sequence[dict], optional): Each with ``path`` and ``orig_name``; nothing in them
            is trusted.
        chosen (Sequence[str]): Names of models.
        score_thr (float): Of what is shown.

    Returns:
        tuple: Results and notes, which :func:`redraw` takes, HTML and rows of the table.
    """
    limits = folder.limits
    if not uploads or not chosen:
        message = EMPTY if not uploads else 'Choose one or more models.'
        return [], [], render_message(message), []
    notes, pictures = [], []
    left_out = len(uploads) - limits.max_pictures
    if left_out > 0:
        notes.append(
            f'{len(uploads)} pictures are more than the {limits.max_pictures} of a request: the '
            f'last {left_out} are left out.'
        )
    for upload in uploads[: limits.max_pictures]:
        name = str(upload.get('orig_name') or 'picture')[:_LONGEST_NAME]
        try:
            pictures.append((name, folder.uploaded(upload.get('path'))))
        except ValueError as error:
            notes.append(f'{name}: {error}')
    results = compare_models([m for m in models if m.name in chosen], pictures, limits)
    return results, notes, *redraw(folder.limits, results, notes, score_thr)


def redraw(
    limits: WebLimits,
    results: Sequence[PictureResult] | None,
    notes: Sequence[str] | None,
    score_thr: float,
) -> tuple[str, list[list]]:
    """Show results with another threshold, without a new inference.

    Args:
        limits (WebLimits): Of the page.
        results (Sequence[PictureResult], optional): Of :func:`detect`.
        notes (Sequence[str], optional): Of :func:`detect`.
        score_thr (float): Detections of at least this score are shown.

    Returns:
        tuple[str, list[list]]: HTML and rows of the table.
    """
    if not results and not notes:
        return render_message(EMPTY), []
    return (
        render_results(results or (), limits, score_thr, notes or ()),
        table_rows(results or (), score_thr),
    )


def _picture_input(folder: UploadFolder) -> gradio.File:
    """Gradio's file input, which takes uploads of this server alone.

    The original copies what it is given, fetches web addresses that a visitor names, and leaves an
    empty file for each picture.
    """
    import gradio

    async def take_uploaded(path: Any) -> str:
        try:
            return folder.uploaded(path)
        except ValueError as error:
            raise gradio.Error(str(error), print_exception=False) from error

    pictures = gradio.File(
        label='Pictures',
        file_count='multiple',
        file_types=[*IMAGE_SUFFIXES],
        height=180,
        elem_id='pictures',
    )
    # on the object: for each subclass Gradio writes a .pyi file beside the module
    pictures.async_move_resource_to_block_cache = take_uploaded
    pictures.preprocess = lambda files: [file.model_dump() for file in files or ()]
    return pictures


def build_page(models: Sequence[WebModel], folder: UploadFolder) -> gradio.Blocks:
    """Build the page; :func:`~mmdet_mobilenext.demo.web.server.start_server` shows it.

    Args:
        models (Sequence[WebModel]): The first two are chosen at first.
        folder (UploadFolder): Of uploads, with the limits of the page.

    Returns:
        gradio.Blocks: With a bounded queue and one inference at a time.
    """
    import gradio

    limits = folder.limits
    with gradio.Blocks(
        title=TITLE,
        analytics_enabled=False,
        delete_cache=(60, limits.keep_seconds),
    ) as page:
        gradio.Markdown(f'# {TITLE}')
        gradio.HTML(render_about(models, limits))
        with gradio.Row():
            pictures = _picture_input(folder)
            with gradio.Column():
                names = [model.name for model in models]
                chosen = gradio.CheckboxGroup(
                    names, value=names[:2], label='Models', elem_id='models'
                )
                score_thr = gradio.Slider(
                    0.05, 0.95, 0.3, step=0.05, label='Score threshold', elem_id='score-thr'
                )
                again = gradio.Button('Run again', size='sm')
        shown = gradio.HTML(render_message(EMPTY), elem_id='results')
        with gradio.Accordion('Table of detections', open=False):
            table = gradio.Dataframe(
                headers=list(COLUMNS),
                datatype=['str'] * 3 + ['number'] * 5,
                type='array',
                interactive=False,
                show_label=False,
                elem_id='table',
            )
        results = gradio.State([], time_to_live=limits.keep_seconds)
        notes = gradio.State([], time_to_live=limits.keep_seconds)
        gradio.on(
            [pictures.change, chosen.input, again.click],
            partial(detect, models, folder),
            [pictures, chosen, score_thr],
            [results, notes, shown, table],
            api_name='detect',
            concurrency_id='inference',
            concurrency_limit=1,  # a second one at the same time would slow both, and the clock
            trigger_mode='always_last',
            show_progress_on=shown,
        )
        score_thr.change(
            partial(redraw, limits),
            [results, notes, score_thr],
            [shown, table],
            api_name='redraw',
            concurrency_limit=1,
            trigger_mode='always_last',
            show_progress='hidden',
        )
    page.queue(max_size=limits.queue_size, default_concurrency_limit=1, api_open=False)
    return page
