"""TensorBoard: event files on this computer, which its own program shows.

Written by TensorBoard's own writer: it is needed to look at them anyway, and neither torch nor TensorFlow is.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Mapping
from pathlib import Path

TITLE = "TensorBoard"
BLURB = "Curves and samples as files on this computer, shown by the program tensorboard. Nothing leaves it."
NEEDS = {"tensorboard": "2.21.0"}
ENVIRONMENT = ()
PLACE = "a folder for the event files; empty: tracked/tensorboard in Easel's home"


def leaves(place: str) -> str:
    """What leaves this computer; "" where nothing does."""
    return ""


def ready(place: str) -> str:
    """Why it cannot be used now; "" where it can."""
    folder = Path(place).expanduser() if place else None
    return f"{folder} is a file, where TensorBoard's folder should be" if folder and folder.is_file() else ""


def begin(track):
    """Event files in a folder of the run's name.  A resumed run gets another file in the same folder, which TensorBoard shows as one."""
    folder = Path(track.id) if track.id else (Path(track.place).expanduser() if track.place else track.folder) / track.run
    folder.mkdir(parents=True, exist_ok=True)
    teller = Files(folder)
    if not track.id:
        table = "\n".join(f"| {name} | {_cell(value)} |" for name, value in track.config.items())
        teller.text(track.created_t, "settings", f"| setting | value |\n|---|---|\n{table}")
    return teller


class Files:
    """One event file, appended to."""

    def __init__(self, folder: Path):
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.id = str(folder)
        self.where = f"{folder} (python -m tensorboard.main --logdir {folder.parent})"
        host, socket.gethostname = socket.gethostname, lambda: "easel"  # it would write this computer's name into the file's
        try:
            self._file = EventFileWriter(str(folder))
        finally:
            socket.gethostname = host

    def numbers(self, step: int, t: float, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(step, t, [Summary.Value(tag=name, simple_value=value) for name, value in values.items()])

    def picture(self, step: int, t: float, name: str, png: bytes, caption: str) -> None:
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(io.BytesIO(png)) as opened:
            width, height = opened.size
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._add(step, t, [Summary.Value(tag=name, image=picture)])
        self.text(t, f"{name}/prompt", caption, step)

    def text(self, t: float, name: str, text: str, step: int = 0) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

        about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        said = TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]))
        self._add(step, t, [Summary.Value(tag=name, metadata=about, tensor=said)])

    def flush(self) -> None:
        self._file.flush()

    def end(self, status: str) -> None:
        self._file.close()

    def _add(self, step: int, t: float, values: list) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._file.add_event(Event(wall_time=t, step=step, summary=Summary(value=values)))


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\r", " ").replace("\n", " ")
