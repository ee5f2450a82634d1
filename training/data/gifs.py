"""GIFs that do not say how long a frame stays, or 10 ms at most: browsers show each for 100 ms, and so it is learnt here."""

from __future__ import annotations

SHORTEST_CS = 2  # hundredths of a second: browsers take what is shorter for "not said"
USUAL_CS = 10
_CONTROL, _EXTENSION, _IMAGE = 0xF9, 0x21, 0x2C  # GIF89a


def with_delays(data: bytes) -> bytes:
    """The GIF with a control block, which ffmpeg tells frames apart by, and a delay for each frame; one that is cut off comes back as it is."""
    out = bytearray(b"GIF89a" + data[6:13])  # the first version of the format has no control blocks
    try:
        at = _table_end(data, 13, data[10])
        out += data[13:at]
        controlled = False
        while data[at] in (_EXTENSION, _IMAGE):
            if data[at] == _IMAGE:
                if not controlled:
                    out += bytes((_EXTENSION, _CONTROL, 4, 0, USUAL_CS, 0, 0, 0))
                end = _blocks_end(data, _table_end(data, at + 10, data[at + 9]) + 1)
                out += data[at:end]
                controlled = False
            else:
                end = _blocks_end(data, at + 2)
                block = bytearray(data[at:end])
                if block[1] == _CONTROL and len(block) >= 8:
                    controlled = True
                    if int.from_bytes(block[4:6], "little") < SHORTEST_CS:
                        block[4:6] = USUAL_CS.to_bytes(2, "little")
                out += block
            at = end
    except IndexError:
        return data
    return bytes(out) + data[at:]


def _table_end(data: bytes, at: int, flags: int) -> int:
    """Where a colour table that begins at `at` ends, if flags say that there is one."""
    return at + (3 << (flags % 8 + 1) if flags & 0x80 else 0)


def _blocks_end(data: bytes, at: int) -> int:
    """Behind a chain of sub-blocks.  Raises IndexError where the data ends before it."""
    while data[at]:
        at += data[at] + 1
    return at + 1
